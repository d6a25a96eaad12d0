package ledger

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"pilotlight/agent/ledger/internal/store"
	"pilotlight/agent/presence"
)

// ErrClosed is what all calls answer once the ledger, or the feed, has ended.
var ErrClosed = errors.New("the ledger has ended")

// ErrNewer and ErrHeld are why Open may refuse a store.
var (
	ErrNewer = store.ErrNewer
	ErrHeld  = store.ErrHeld
)

// ErrInvalid is why an observation is not taken.
var ErrInvalid = errors.New("not an observation")

// ErrFull is why something is not taken though it is well formed.
var ErrFull = errors.New("the ledger is full")

// What the ledger holds at most. Memory is bounded by these.
const (
	MaxDevices      = 4096
	MaxPresentities = 16384
	maxSources      = 32 // observations of one subject
	maxStandings    = 16 // publications of one presentity, beside her own word
	historyLength   = 64 // events of one device
)

// forgetAfter is how long a device or a person that nobody tells of is kept.
const forgetAfter = 7 * 24 * time.Hour

// forgetGrace keeps all that was restored until its sources had time to speak again.
const forgetGrace = time.Hour

// Config is what Open needs.
type Config struct {
	Path   string                 // the store's file
	Domain string                 // the branch's: presentities are user@domain
	Commit time.Duration          // the dial: how long polled state may wait for the disk; 0: 10 s
	Static []presence.Observation // what the configuration says: always live, never stored
	Log    *slog.Logger
	Drill  Drill
}

// Drill breaks promises on purpose, so that the power-cut drill can show that
// it would notice. Both are false in any other use.
type Drill struct {
	NoSync      bool // nothing is synced
	AnswerEarly bool // answers do not wait for the disk
}

// Ledger owns all presence state.
type Ledger struct {
	cfg    Config
	log    *slog.Logger
	id     string
	epoch  uint64
	opened time.Time
	newest time.Time // when the store was last written to, by then

	trusted  func() (ok bool, why string) // whether the wall clock may be believed; nil: it may
	believed bool                         // it is
	doubted  bool                         // it was not, since the start
	ahead    time.Duration                // of the clock at the start, what was restored is dated
	off      time.Duration                // by how much the wall clock was set since the start, as far as the disk knows

	inbox   *inbox
	running atomic.Bool

	*state
	*keeper
	mirror      mirror
	feeds       map[*Feed[presence.Document]]struct{}
	deviceFeeds map[*Feed[presence.Device]]struct{}
}

// Open opens the store, or makes one, and loads the last known state: what is
// restored is not live until it is told again. It starts no goroutine.
func Open(cfg Config) (*Ledger, error) {
	if cfg.Commit <= 0 {
		cfg.Commit = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	disk, err := store.Open(store.Options{Path: cfg.Path, Check: checkRecord, Log: cfg.Log, NoSync: cfg.Drill.NoSync})
	if err != nil {
		return nil, err
	}
	l := newLedger(cfg, disk)
	if err := l.load(disk); err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	return l, nil
}

func newLedger(cfg Config, disk disk) *Ledger {
	now := time.Now()
	l := &Ledger{
		cfg: cfg, log: cfg.Log, id: disk.ID(), epoch: disk.Epoch(), opened: now, newest: disk.Newest(),
		inbox:       newInbox(),
		state:       newState(cfg.Domain),
		keeper:      newKeeper(disk, cfg),
		feeds:       map[*Feed[presence.Document]]struct{}{},
		deviceFeeds: map[*Feed[presence.Device]]struct{}{},
	}
	l.mirror.drawers = map[string]map[string][]byte{}
	return l
}

// ID is the random name of this store.
func (l *Ledger) ID() string { return l.id }

// Epoch grows by one at each Open.
func (l *Ledger) Epoch() uint64 { return l.epoch }

// Run owns the state until ctx is done; then it writes what has gathered and
// closes the store. It may be called once.
func (l *Ledger) Run(ctx context.Context) error {
	if !l.running.CompareAndSwap(false, true) {
		return errors.New("ledger: Run called twice")
	}
	filed := make(chan error, 1)
	go func() { filed <- l.file() }()
	alarm, flush, doubt := stoppedTimer(), stoppedTimer(), time.NewTicker(doubtEvery)
	defer doubt.Stop()
	if l.consider(time.Now()) {
		doubt.Stop()
	}
	var ops []op
	for ctx.Err() == nil {
		l.stepped(time.Now())
		l.settle(time.Now())
		l.save(time.Now())
		setTimer(alarm, l.alarms.next())
		setTimer(flush, l.flushAt())
		select {
		case <-ctx.Done():
		case <-l.inbox.ready:
			ops = l.inbox.take(ops)
			for _, op := range ops {
				op(time.Now(), nil)
			}
		case done := <-l.done:
			l.committed(done)
		case <-alarm.C:
			l.ring(time.Now())
		case <-flush.C:
		case <-doubt.C:
			if l.consider(time.Now()) {
				doubt.Stop()
			}
		}
	}
	alarm.Stop()
	flush.Stop()
	l.inbox.close()
	l.endFeeds()
	l.stepped(time.Now())
	l.saveRepeats()
	return errors.Join(ctx.Err(), l.finish(l.wall()), <-filed)
}

// Close lets go of a ledger that never ran; Run closes its own.
func (l *Ledger) Close() error {
	if !l.running.CompareAndSwap(false, true) {
		return nil
	}
	l.inbox.close()
	return l.disk.Close()
}

// Ping is a round trip through the owner: proof that it works.
func (l *Ledger) Ping(ctx context.Context) error { return l.do(ctx, func(time.Time) {}) }

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// setTimer sets t to go off at a time; the zero time stops it.
func setTimer(t *time.Timer, at time.Time) {
	if at.IsZero() {
		t.Stop()
		return
	}
	t.Reset(time.Until(at))
}
