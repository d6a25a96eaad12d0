package event

import (
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WatcherInfoType is the content type of RFC 3858 §3.
const WatcherInfoType = "application/watcherinfo+xml"

const nsWatcherInfo = "urn:ietf:params:xml:ns:watcherinfo"

// WatcherInfo is a document of RFC 3858 §3.
type WatcherInfo struct {
	Version uint32
	Full    bool
	Lists   []WatcherList
}

// WatcherList is who watches one resource by one event package.
type WatcherList struct {
	Resource, Package string
	Watchers          []Watcher
}

// Watcher is one subscription, or the wish for one (RFC 3858 §3).
type Watcher struct {
	ID          string // the same over the subscription's life, and no other's (WI-07)
	Status      WatcherStatus
	Event       WatcherEvent // why the status is what it is
	URI         string
	DisplayName string
	Expiration  time.Duration // what is left of the subscription; 0: not told
	Subscribed  time.Duration // for how long it has been there; 0: not told
}

// WatcherStatus is a state of RFC 3857 §4.7.1.
type WatcherStatus string

// The states. Waiting: the subscription expired before anybody decided of it.
const (
	WatcherPending    WatcherStatus = "pending"
	WatcherActive     WatcherStatus = "active"
	WatcherWaiting    WatcherStatus = "waiting"
	WatcherTerminated WatcherStatus = "terminated"
)

// WatcherEvent is what brought the state about (RFC 3857 §4.7.1).
type WatcherEvent string

// The events.
const (
	EventSubscribe   WatcherEvent = "subscribe"
	EventApproved    WatcherEvent = "approved"
	EventDeactivated WatcherEvent = "deactivated"
	EventProbation   WatcherEvent = "probation"
	EventRejected    WatcherEvent = "rejected"
	EventTimeout     WatcherEvent = "timeout"
	EventGiveup      WatcherEvent = "giveup"
	EventNoResource  WatcherEvent = "noresource"
)

var (
	watcherStatuses = []WatcherStatus{WatcherPending, WatcherActive, WatcherWaiting, WatcherTerminated}
	watcherEvents   = []WatcherEvent{EventSubscribe, EventApproved, EventDeactivated, EventProbation, EventRejected, EventTimeout, EventGiveup, EventNoResource}
)

// RenderWatcherInfo writes a document about one resource, whose watchers subscribe
// to one event package: all of them, or those that changed (WI-04). A watcher
// without one of RFC 3858's words for status and event is a fault of the caller,
// and is left out.
func RenderWatcherInfo(resource, pkg string, version uint32, full bool, watchers []Watcher) []byte {
	m := &markup{make([]byte, 0, 256+256*len(watchers))}
	m.raw(xmlDeclaration + `<watcherinfo xmlns="` + nsWatcherInfo + `"`)
	m.number("version", uint64(version))
	state := "partial"
	if full {
		state = "full"
	}
	m.attr("state", state)
	m.raw("><watcher-list")
	m.attr("resource", resource)
	m.attr("package", pkg)
	m.raw(">")
	for _, w := range watchers {
		if w.sound() {
			m.watcher(w)
		}
	}
	m.raw("</watcher-list></watcherinfo>")
	return m.b
}

func (w Watcher) sound() bool {
	return slices.Contains(watcherStatuses, w.Status) && slices.Contains(watcherEvents, w.Event)
}

func (m *markup) watcher(w Watcher) {
	m.raw("<watcher")
	m.attr("id", w.ID)
	m.attr("status", string(w.Status))
	m.attr("event", string(w.Event))
	m.option("display-name", w.DisplayName)
	if s := w.Expiration / time.Second; s > 0 {
		m.number("expiration", uint64(s))
	}
	if s := w.Subscribed / time.Second; s > 0 {
		m.number("duration-subscribed", uint64(s))
	}
	m.raw(">")
	m.text(w.URI)
	m.raw("</watcher>")
}

// maxWatchers bounds a document: nobody at a branch is watched by more.
const maxWatchers = 2000

// ParseWatcherInfo reads a document. Elements that it does not know are left out
// (RFC 3858 §3); so is a watcher without an id, which could not be told from
// others. A status or an event that is none is refused.
func ParseWatcherInfo(b []byte) (WatcherInfo, error) {
	var p watcherParser
	if err := walk(b, "watcherinfo", []string{nsWatcherInfo}, p.start, p.end); err != nil {
		return WatcherInfo{}, fmt.Errorf("watcherinfo: %w", err)
	}
	return p.doc, nil
}

type watcherParser struct {
	doc   WatcherInfo
	count int
	list  bool // the path is inside a list
	known bool // the watcher that is being read has an id
}

func (p *watcherParser) start(path []string, e xml.StartElement) error {
	ours := e.Name.Space == nsWatcherInfo
	switch {
	case len(path) == 1:
		return p.root(e)
	case len(path) == 2:
		if p.list = ours && e.Name.Local == "watcher-list"; !p.list {
			return nil
		}
		if p.count++; p.count > maxWatchers {
			return errors.New("too many lists")
		}
		p.doc.Lists = append(p.doc.Lists, WatcherList{Resource: strings.TrimSpace(attr(e, "resource")), Package: attr(e, "package")})
	case len(path) == 3 && p.list && ours && e.Name.Local == "watcher":
		return p.watcher(e)
	}
	return nil
}

func (p *watcherParser) root(e xml.StartElement) error {
	var err error
	if p.doc.Version, err = version(attr(e, "version")); err != nil {
		return err
	}
	p.doc.Full, err = fullOrPartial(attr(e, "state"))
	return err
}

func version(s string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("version %.20q", s)
	}
	return uint32(n), nil
}

func fullOrPartial(s string) (full bool, err error) {
	if s != "full" && s != "partial" {
		return false, fmt.Errorf("document state %.20q", s)
	}
	return s == "full", nil
}

func (p *watcherParser) watcher(e xml.StartElement) error {
	w := Watcher{ID: attr(e, "id"), Status: WatcherStatus(attr(e, "status")), Event: WatcherEvent(attr(e, "event")), DisplayName: attr(e, "display-name"),
		Expiration: seconds(attr(e, "expiration")), Subscribed: seconds(attr(e, "duration-subscribed"))}
	if p.known = w.ID != ""; !p.known {
		return nil
	}
	if !w.sound() {
		return fmt.Errorf("watcher with status %.20q, event %.20q", w.Status, w.Event)
	}
	if p.count++; p.count > maxWatchers {
		return errors.New("too many watchers")
	}
	list := &p.doc.Lists[len(p.doc.Lists)-1]
	list.Watchers = append(list.Watchers, w)
	return nil
}

// seconds is a number of them; 0 where it is none. Numbers beyond 2^32-1 count as that.
func seconds(s string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return time.Duration(min(n, 1<<32-1)) * time.Second
}

func (p *watcherParser) end(path []string, text string) {
	if len(path) == 3 && p.known {
		list := &p.doc.Lists[len(p.doc.Lists)-1]
		list.Watchers[len(list.Watchers)-1].URI = text
		p.known = false
	}
}
