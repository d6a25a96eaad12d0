package simple

import (
	"time"

	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/pidf"
)

// eventPackage is an event package as the notifier knows it (RFC 6665 §5.4): a
// name, the types it can tell, and how a body is made. The machine of
// subscriptions knows no package.
type eventPackage struct {
	name    string
	types   []string      // the default first
	expires time.Duration // where a SUBSCRIBE names none
	lists   bool          // resource lists are served, too, by the view
	// view is what all see who ask the same question; it is rendered once.
	view func(question) []byte
	// tell, in its place, is what one subscription is told after what it was told
	// before: in full after a SUBSCRIBE. It is false where there is nothing new.
	tell func(q question, before *event.Told, full bool) ([]byte, bool)
	// stamp writes a version into a view, where the package counts its documents.
	stamp func(view []byte, version uint32) []byte
}

// question is what a body is to tell.
type question struct {
	of      *watched
	entity  string // the presentity as the watcher named it
	kind    string // the content type
	dialect pidf.Dialect
	polite  bool // to look like somebody who is offline
	now     time.Time
	access  Access
}

// packages are those that are served (RFC 3856, 4235, 3842, 3857).
var packages = []*eventPackage{
	{name: "presence", types: pidf.ContentTypes, expires: time.Hour, lists: true, view: viewPresence},
	{name: "dialog", types: []string{event.DialogInfoType}, expires: time.Hour, lists: true, view: viewDialogs, tell: tellDialogs, stamp: stampDialogs},
	{name: "message-summary", types: []string{event.SummaryType}, expires: time.Hour, view: viewMessages},
	{name: "presence.winfo", types: []string{event.WatcherInfoType}, expires: time.Hour, tell: tellWatchers},
}

func packageOf(name string) *eventPackage {
	for _, p := range packages {
		if p.name == name {
			return p
		}
	}
	return nil
}
