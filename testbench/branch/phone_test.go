package branch

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestEveryFamilyServesItsOwnFormOfThePages(t *testing.T) {
	b := start(t, Options{Phones: len(models)})
	g := newPages(t)
	for _, p := range b.Phones() {
		m := b.byName[p.Name].model
		if m.family == mpp {
			continue
		}
		d := g.must(t, p, "/DeviceInformationX")
		if d["HostName"] != p.Name || d["phoneDN"] != p.Number || d["modelNumber"] != p.Model {
			t.Errorf("%s: device information %v", p.Model, d)
		}
		n := g.must(t, p, "/NetworkConfigurationX")
		if active, _ := m.words(); n["CallManager1"] != "192.0.2.11  "+active || n["IPAddress"] != p.Address {
			t.Errorf("%s: call manager %q, address %q", p.Model, n["CallManager1"], n["IPAddress"])
		}
		s := g.must(t, p, "/StreamingStatisticsX?1")
		status := "StreamStatus"
		if p.Model == "CP-7940G" {
			status = "RowStatus"
		}
		if s[status] != "Not Ready" || s["RemoteAddr"] != "0.0.0.0/0" || s["MOSLQK"] != "N/A" {
			t.Errorf("%s: an idle stream: %v", p.Model, s)
		}
	}
	french := g.must(t, byModel(t, b, "CP-7940G"), "/NetworkConfigurationX")
	if french["UserLocale"] != "Français_France" || french["DHCPEnabled"] != " OUI" || french["webAccess"] == "" {
		t.Errorf("a French 7940: %v", french)
	}
}

func TestTheFrenchPageIsLatin1UnderAUTF8Header(t *testing.T) {
	b := start(t, Options{Phones: len(models)})
	p := byModel(t, b, "CP-7940G")
	g := newPages(t)
	resp, err := g.client.Get(fmt.Sprintf("http://%s:%d/NetworkConfigurationX", p.Address, p.WebPort))
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if !strings.Contains(string(body), `encoding="iso-8859-1"`) || !strings.Contains(string(body), "Fran\xe7ais") {
		t.Errorf("the prolog and the bytes are to be latin-1: %.120q", body)
	}
	if ct := resp.Header.Get("Content-Type"); ct != `text/xml; charset="utf-8"` {
		t.Errorf("Content-Type %q", ct)
	}
	if s := resp.Header.Get("Server"); s != "Allegro-Software-RomPager/4.34" || !resp.Close {
		t.Errorf("Server %q, close %v", s, resp.Close)
	}
}

func TestStreamsTellOfACallAsPhonesDo(t *testing.T) {
	b := start(t, Options{Phones: 12, Speed: 40}) // 50 packets take 25 ms
	g := newPages(t)
	p, q := b.Phones()[0], b.Phones()[1]
	stream := func(p Phone, n int) map[string]string {
		return g.must(t, p, fmt.Sprintf("/StreamingStatisticsX?%d", n))
	}
	count := func(p Phone, name string) int {
		n, err := strconv.Atoi(stream(p, 1)[name])
		must(t, err)
		return n
	}
	grows := func(p Phone, name string) bool {
		before := count(p, name)
		time.Sleep(50 * time.Millisecond) // the time that 100 packets take
		return count(p, name) > before
	}
	must(t, b.Call(p.Name, q.Name))
	if s := stream(p, 1); s["StreamStatus"] != "Not Ready" {
		t.Errorf("ringing shows no stream, got %v", s)
	}
	must(t, b.Answer(q.Name))
	if s := stream(p, 1); s["StreamStatus"] != "Active" || !strings.HasPrefix(s["RemoteAddr"], q.Address+"/") {
		t.Errorf("in a call: %v", s)
	}
	if !grows(p, "SenderPackets") || !grows(q, "RcvrPackets") {
		t.Error("the counters stand still in a call")
	}
	must(t, b.Hold(p.Name))
	if s := stream(p, 1); s["StreamStatus"] != "Not Ready" {
		t.Errorf("the holding side has no stream, got %v", s)
	}
	if s := stream(q, 1); s["StreamStatus"] != "Active" || grows(q, "SenderPackets") || !grows(q, "RcvrPackets") {
		t.Errorf("the held side hears music and sends nothing: %v", s)
	}
	must(t, b.Resume(p.Name))
	must(t, b.Hangup(q.Name))
	if s := stream(p, 1); s["StreamStatus"] != "Not Ready" || grows(p, "RcvrPackets") {
		t.Errorf("after the call: %v", s)
	}
}

func TestVideoPhonesHaveASecondStreamAndOnlyTogether(t *testing.T) {
	b := start(t, Options{Phones: len(models)})
	g := newPages(t)
	p, q, plain := byModel(t, b, "CP-8845"), byModel(t, b, "CP-8865"), byModel(t, b, "CP-8841")
	picture := func(p Phone) string {
		for n := 2; n <= 3; n++ { // the third beside the audio of a second call
			if s := g.must(t, p, fmt.Sprintf("/StreamingStatisticsX?%d", n)); strings.HasSuffix(s["LocalAddr"], "/20502") {
				return s["StreamStatus"]
			}
		}
		return "Not Ready"
	}
	must(t, b.Call(p.Name, plain.Name))
	must(t, b.Answer(plain.Name))
	if s := picture(p); s != "Not Ready" {
		t.Errorf("with a phone without camera: %s", s)
	}
	must(t, b.Hangup(p.Name))
	must(t, b.Call(p.Name, q.Name))
	must(t, b.Answer(q.Name))
	if picture(p) != "Active" || picture(q) != "Active" {
		t.Error("two video phones show no picture")
	}
}

func TestAPageIsAStreamWithoutACallAndEnds(t *testing.T) {
	b := start(t, Options{Phones: 2, Speed: 100})
	g := newPages(t)
	p := b.Phones()[0]
	must(t, b.Page(p.Name))
	s := g.must(t, p, "/StreamingStatisticsX?1")
	if s["StreamStatus"] != "Active" || s["RemoteAddr"] != pageGroup || b.Truth()[p.Name].Doing != Idle {
		t.Errorf("a page: %v", s)
	}
	eventually(t, "the page ends", func() bool { return !b.Truth()[p.Name].Paged })
}

func TestTheRegistrationMovesThroughTheListOfCallManagers(t *testing.T) {
	b := start(t, Options{Phones: 2})
	g := newPages(t)
	p := b.Phones()[0]
	list := func() [3]string {
		n := g.must(t, p, "/NetworkConfigurationX")
		return [3]string{n["CallManager1"], n["CallManager2"], n["CallManager3"]}
	}
	must(t, b.ToSRST())
	if got, want := list(), [3]string{"192.0.2.11", "198.51.100.11", "203.0.113.1 SRST  Active"}; got != want {
		t.Errorf("on SRST: %q, want %q", got, want)
	}
	must(t, b.Unregister(p.Name))
	if got, want := list(), [3]string{"192.0.2.11", "198.51.100.11", "203.0.113.1 SRST"}; got != want {
		t.Errorf("nowhere: %q, want %q", got, want)
	}
	if err := b.Call(p.Name, b.Phones()[1].Name); err == nil {
		t.Error("an unregistered phone made a call")
	}
	must(t, b.Register())
	if got, want := list(), [3]string{"192.0.2.11  Active", "198.51.100.11  Standby", "203.0.113.1 SRST"}; got != want {
		t.Errorf("back: %q, want %q", got, want)
	}
}

func TestAnUnansweredCallLeavesAMessage(t *testing.T) {
	b := start(t, Options{Phones: 8})
	g := newPages(t)
	p, q := byModel(t, b, "CP-8841"), byModel(t, b, "CP-7841")
	must(t, b.Call(p.Name, q.Name))
	must(t, b.Hangup(p.Name))
	if w := g.must(t, q, "/DeviceInformationX")["MessageWaiting"]; w != " OUI" {
		t.Errorf("message waiting on a French phone: %q", w)
	}
	if w := g.must(t, p, "/DeviceInformationX")["MessageWaiting"]; w != "No" {
		t.Errorf("and on the caller's: %q", w)
	}
}

func TestAnUnpluggedPhoneIsSilentAndComesBack(t *testing.T) {
	b := start(t, Options{Phones: 2, Speed: 20})
	g := newPages(t)
	p := b.Phones()[0]
	g.must(t, p, "/DeviceInformationX") // leaves a connection open
	must(t, b.Unplug(p.Name))
	if _, err := g.get(p, "/DeviceInformationX"); !isTimeout(err) {
		t.Errorf("on the open connection: %v, want a timeout", err)
	}
	if _, err := newPages(t).get(p, "/DeviceInformationX"); !isTimeout(err) {
		t.Errorf("on a new connection: %v, want a timeout: a reset means a live host", err)
	}
	if got := b.Truth()[p.Name].Word(); got != "unpowered" {
		t.Errorf("truth: %s", got)
	}
	if err := b.Unplug(p.Name); err == nil {
		t.Error("unplugged twice")
	}
	must(t, b.WebDisabled(p.Name, true))
	if _, err := newPages(t).get(p, "/DeviceInformationX"); !isTimeout(err) {
		t.Errorf("with its web access off as well: %v, want a timeout", err)
	}
	must(t, b.WebDisabled(p.Name, false))
	must(t, b.Plug(p.Name))
	if got := b.Truth()[p.Name]; !got.Booting || got.Word() != "unreachable" {
		t.Errorf("truth while it boots: %+v", got)
	}
	eventually(t, "the phone is back", func() bool {
		_, err := g.get(p, "/DeviceInformationX")
		return err == nil
	})
}

func TestAFrozenPhoneAcceptsAndNeverAnswers(t *testing.T) {
	b := start(t, Options{Phones: 8})
	p := byModel(t, b, "CP-8841")
	must(t, b.Freeze(p.Name))
	c, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", p.Address, p.WebPort), time.Second)
	must(t, err)
	defer c.Close()
	fmt.Fprintf(c, "GET /DeviceInformationX HTTP/1.1\r\nHost: x\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("it answered: %v", err)
	}
	must(t, b.Thaw(p.Name))
	newPages(t).must(t, p, "/DeviceInformationX")
}

func TestAPhoneWithWebAccessOffRefuses(t *testing.T) {
	b := start(t, Options{Phones: 2})
	g := newPages(t)
	p := b.Phones()[0]
	g.must(t, p, "/DeviceInformationX")
	must(t, b.WebDisabled(p.Name, true))
	if _, err := newPages(t).get(p, "/DeviceInformationX"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want connection refused", err)
	}
	if _, err := g.get(p, "/DeviceInformationX"); err == nil {
		t.Error("an old connection still answers")
	}
	must(t, b.WebDisabled(p.Name, false))
	newPages(t).must(t, p, "/DeviceInformationX")
}

func TestCloseDoesNotWaitForAFrozenPhonesClients(t *testing.T) {
	b, err := Start(t.Context(), Options{Phones: 2})
	must(t, err)
	p := b.Phones()[0]
	must(t, b.Freeze(p.Name))
	g := newPages(t)
	g.client.Timeout = time.Minute
	done := make(chan error, 1)
	go func() {
		_, err := g.get(p, "/DeviceInformationX")
		done <- err
	}()
	eventually(t, "the request is there", func() bool {
		l, err := b.Load(p.Name)
		return err == nil && l.Requests == 1 && l.Peak == 1
	})
	b.Close()
	if err := <-done; err == nil {
		t.Error("a frozen phone answered when it was closed")
	}
}

func TestTheMultiplatformPhoneTellsItsCallInStatusXML(t *testing.T) {
	b := start(t, Options{Phones: 8})
	p := byModel(t, b, "CP-8851-3PCC")
	must(t, b.Call(b.Phones()[0].Name, p.Name))
	resp, err := newPages(t).client.Get(fmt.Sprintf("http://%s:%d/status.xml", p.Address, p.WebPort))
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	var doc struct {
		States []struct {
			Group string `xml:"group,attr"`
			Text  string `xml:",chardata"`
		} `xml:"Call_State"`
		Name string `xml:"Product_Name"`
	}
	must(t, xml.NewDecoder(resp.Body).Decode(&doc))
	if len(doc.States) != 4 || doc.States[0].Text != "Ringing" || doc.States[0].Group != "Info/Line_1_Call_1_Status" || doc.Name != p.Model {
		t.Errorf("%+v", doc)
	}
}
