package sip

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// visit is what was told of a visitor.
type visit struct {
	Visitor
	over bool
}

// host collects what an endpoint tells of its visitors.
func host(e *Endpoint) chan visit {
	told := make(chan visit, 100)
	e.Visits(func(v Visitor, over bool) { told <- visit{v, over} })
	return told
}

func nextVisit(t *testing.T, told chan visit) visit {
	t.Helper()
	select {
	case v := <-told:
		return v
	case <-time.After(wait):
		t.Fatal("nothing is told")
		return visit{}
	}
}

// TestVisitorsAreToldOf: that they came, where each request wants to be answered in
// its dialogs, and that they left.
func TestVisitorsAreToldOf(t *testing.T) {
	e, _ := atRest(t, Config{})
	told, too := host(e), host(e)
	run(t, e)
	p := dialFrom(t, e, "127.0.0.7")
	from := netip.MustParseAddr("127.0.0.7")
	came := nextVisit(t, told)
	if came.over || came.Hop != "" || came.Transport != "tcp" || came.Remote.String() != p.conn.LocalAddr().String() || came.Local != e.Addr("tcp") {
		t.Errorf("%+v", came)
	}
	for _, c := range []struct {
		name   string
		fields []string
		hop    string // "": nothing is told of it
	}{
		{"a contact", []string{"Contact: <sip:a@127.0.0.7:5080;transport=tcp>;expires=60"}, "sip:a@127.0.0.7:5080;transport=tcp"},
		{"the same", []string{"Contact: <sip:a@127.0.0.7:5080;transport=tcp>;expires=60"}, "sip:a@127.0.0.7:5080;transport=tcp"},
		{"none", nil, ""},
		{"two", []string{"Contact: <sip:a@127.0.0.7>, <sip:b@127.0.0.7>"}, ""},
		{"all", []string{"Contact: *"}, ""},
		{"of a proxy", []string{"Contact: <sip:a@127.0.0.7>", "Record-Route: <sip:Proxy.example.com:5062;transport=TCP;lr;ftag=1>, <sip:other>"}, "route sip proxy.example.com 5062 tcp"},
		{"of the proxy again", []string{"Contact: <sip:b@127.0.0.7>", "Record-Route: <sip:proxy.example.com:5062;transport=tcp;lr;ftag=2>"}, "route sip proxy.example.com 5062 tcp"},
	} {
		before := time.Now()
		p.ask(text("OPTIONS", "sip:b@example.com", c.fields...))
		if c.hop == "" {
			continue
		}
		got := nextVisit(t, told)
		if got.over || got.Hop != c.hop || got.Remote != came.Remote || got.Shown.Before(before) {
			t.Errorf("%s: %+v", c.name, got)
		}
		if all := e.Visitors(from); len(all) != 1 || all[0] != got.Visitor {
			t.Errorf("%s: %+v", c.name, all)
		}
	}
	p.send(text("OPTIONS", "sip:b@example.com", "Contact: <sip:x@127.0.0.7>", "From:")) // refused, and no word of anybody
	p.receive()
	p.conn.Close()
	if left := nextVisit(t, told); !left.over || left.Remote != came.Remote {
		t.Errorf("%+v", left)
	}
	if all := e.Visitors(from); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	if len(told) != 0 || len(too) != 6 {
		t.Errorf("%d and %d more are told", len(told), len(too))
	}
}

// TestWhoIsNoVisitor: whom we called, and who has not shaken hands.
func TestWhoIsNoVisitor(t *testing.T) {
	a := newAuthority(t)
	cfg := a.files()
	a.write(cfg, ofLocalhost)
	e, _ := atRest(t, Config{Listen: loopbackTLS, TLS: cfg})
	told := host(e)
	run(t, e)
	far := farTCP(t, "127.0.0.1:0", always(200))
	do(t, e, &Request{Method: "OPTIONS", URI: "sip:a@example.com", Target: "sip:" + far.addr + ";transport=tcp"})
	half, err := net.Dial("tcp", e.Addr("tls").String())
	if err != nil {
		t.Fatal(err)
	}
	half.Close()
	p := a.mustDial(e)
	if v := nextVisit(t, told); v.Transport != "tls" || v.Remote.String() != p.conn.LocalAddr().String() || v.Local != e.Addr("tls") {
		t.Errorf("%+v", v)
	}
	if all := e.Visitors(netip.MustParseAddr("127.0.0.1")); len(all) != 1 {
		t.Errorf("%+v", all)
	}
}

// TestARetiredDialogSendsNothingMore: what looks for its way when another takes the
// dialog's place never leaves.
func TestARetiredDialogSendsNothingMore(t *testing.T) {
	e, _ := atRest(t, Config{})
	run(t, e)
	far := farTCP(t, "127.0.0.1:0", always(200))
	d := &Dialog{Target: "sip:a@" + far.addr + ";transport=tcp", From: "<sip:b@example.com>;tag=1", To: "<sip:a@example.com>;tag=2", CallID: "retired"}
	d.Retire()
	done := make(chan Answer, 1)
	e.Send(d, InDialog{Method: "NOTIFY", CSeq: 1, Event: "presence", SubscriptionState: "active"}, func(a Answer) { done <- a })
	if a := <-done; a.Err == nil {
		t.Errorf("answered %d", a.Status)
	}
	if e.Stats().Sent[Tally{"NOTIFY", "2xx"}] != 0 {
		t.Errorf("%+v", e.Stats())
	}
}
