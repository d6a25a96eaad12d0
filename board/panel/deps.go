package panel

import (
	"context"
	"io"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/errand"
	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/agent/schedule"
	"pilotlight/agent/supervise"
)

// Feed is what the panel reads from the ledger: the latest value of each
// subject that changed, beginning with the present state.
type Feed[T any] interface {
	Next(ctx context.Context) (T, error)
	TryNext() (T, bool)
	Close()
}

// Heart is what the panel needs of the ledger.
type Heart interface {
	Follow(ctx context.Context, sel presence.Selector) (Feed[presence.Document], error)
	FollowDevices(ctx context.Context) (Feed[presence.Device], error)
	Documents(ctx context.Context, sel presence.Selector) ([]presence.Document, error)
	Devices(ctx context.Context) ([]presence.Device, error)
	Publish(ctx context.Context, p presence.Publication) (presence.ETag, time.Duration, error)
	History(ctx context.Context, device string) ([]Change, error)
	Backup(ctx context.Context, w io.Writer) error
	Ping(ctx context.Context) error
	Stats() StoreStats
	ID() string
	Epoch() uint64
}

// Change is one entry of a phone's history.
type Change struct {
	At       time.Time
	From, To presence.DeviceState
	Why      string
}

// StoreStats is what the panel shows of the store.
type StoreStats struct {
	Commits      uint64
	BytesWritten uint64
	FileSize     int64
	Publications int
	Pending      int    // records that wait for the disk
	LastError    string // why the disk does not write, or ""
	SetAside     string // the bad file that was moved away at start, if one was
	SetAsideWhy  string
}

// NotifyStats is what the notifier counts. Counts holds, for each upper bound
// in seconds, how many changes took at most that long to reach the wire.
type NotifyStats struct {
	Subscriptions map[string]int // by event package
	Unreachable   int            // of them, those whose stream is gone
	Answered      uint64         // NOTIFYs that their watcher took
	Failed        uint64         // NOTIFYs that were refused, or not answered
	Refused       map[Refused]uint64
	Dropped       map[string]uint64 // what was thrown away unanswered, by reason
	Bounds        []float64
	Counts        []uint64
	Count         uint64
	Sum           time.Duration
}

// Refused is the kind of a request that was refused: its method, and the class of
// the answer, such as "4xx".
type Refused struct{ Method, Class string }

// Uplinks, Poller, Drivers, Clock and Desk are the narrow sides of other rooms.
type (
	// Uplinks tells how each uplink is.
	Uplinks interface {
		All() []relay.Status
		Follow() (next func(context.Context) ([]relay.Status, error), done func())
	}
	// Poller is a queue of polls that counts.
	Poller interface{ Stats() schedule.Stats }
	// Drivers tells how each driver is.
	Drivers interface{ Statuses() []supervise.Status }
	// Clock dates what is shown, and knows whether that can be believed.
	Clock interface {
		Trusted() (bool, string)
		Wall(t time.Time) time.Time
	}
	// Desk takes questions that a driver answers now.
	Desk interface {
		Ask(ctx context.Context, e errand.Errand) (errand.Reply, error)
	}
)

// Deps is what the panel is connected to. Uplinks, Pollers, Drivers, Notify and
// Healthy may be missing.
type Deps struct {
	Heart   Heart
	Book    *access.Book
	Clock   Clock
	Desk    Desk
	Uplinks Uplinks
	Pollers []Poller
	Drivers Drivers
	Notify  func() NotifyStats
	// Who may watch whom, and who does now; both may be nil.
	Watchers *access.Watchers
	Watching func(context.Context, presence.Presentity) ([]Watching, error)
	Post     *relay.Post                 // instant messages; may be nil
	Reaches  func(domain string) bool    // a peer has that domain's people; may be nil
	Healthy  func(context.Context) error // more that /readyz must wait for
	Build    Build
	Branch   Branch
	DataDir  string // holds admin.sock and the certificate made here
}

// Watching is one watcher of a presentity, over all its subscriptions.
type Watching struct {
	Watcher  presence.Presentity
	Pending  bool // nobody has decided yet
	Since    time.Time
	Packages []string
}

// Build says what runs.
type Build struct{ Version, Commit, Go string }

// Branch says where.
type Branch struct{ ID, Name, Domain string }

// FromLedger makes a heart of the ledger, whose feeds are of its own types.
func FromLedger(l *ledger.Ledger) Heart { return heart{l} }

type heart struct{ *ledger.Ledger }

func (h heart) Follow(ctx context.Context, sel presence.Selector) (Feed[presence.Document], error) {
	return h.Ledger.Follow(ctx, sel)
}

func (h heart) FollowDevices(ctx context.Context) (Feed[presence.Device], error) {
	return h.Ledger.FollowDevices(ctx)
}

func (h heart) History(ctx context.Context, device string) ([]Change, error) {
	events, err := h.Ledger.History(ctx, device)
	list := make([]Change, len(events))
	for i, e := range events {
		list[i] = Change(e)
	}
	return list, err
}

func (h heart) Stats() StoreStats {
	st := h.Ledger.Stats()
	return StoreStats{
		Commits: st.Commits, BytesWritten: st.BytesWritten, FileSize: st.FileSize, Publications: st.Publications,
		Pending: st.Pending, LastError: st.LastError, SetAside: st.SetAside, SetAsideWhy: st.SetAsideWhy,
	}
}
