package ledger

import "maps"

// Stats is what the ledger holds and did since Open.
type Stats struct {
	Devices      int
	Presentities int
	Feeds        int
	Publications int
	DrawerBytes  int
	Refused      map[string]uint64 // what was not taken, by reason

	Commits      uint64
	BytesWritten uint64 // pages handed to the operating system
	FileSize     int64
	Pending      int    // records that wait for the disk
	LastError    string // why the disk does not write, or "" while it does
	SetAside     string // the file that was found broken at Open, if any
	SetAsideWhy  string
}

// tell takes over what the store did. The file goroutine calls it.
func (k *keeper) tell(err error) {
	st := k.disk.Stats()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.report.Commits, k.report.BytesWritten, k.report.FileSize = st.Commits, st.Bytes, st.FileSize
	k.report.SetAside, k.report.SetAsideWhy = st.SetAside, st.Why
	if k.report.LastError = ""; err != nil {
		k.report.LastError = err.Error()
	}
}

// count takes over what the owner holds. The owner calls it.
func (l *Ledger) count() {
	waits := len(l.next.records)
	if l.inFlight != nil {
		waits += len(l.inFlight.records)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Devices, l.report.Presentities, l.report.Feeds = len(l.devices), l.shown, len(l.feeds)+len(l.deviceFeeds)
	l.report.Publications, l.report.Pending = l.standings, waits
	if l.refusals != l.toldRefusals {
		l.report.Refused = maps.Clone(l.refused)
		l.toldRefusals = l.refusals
	}
}

// Stats never waits for the owner or the disk.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	st := l.report
	st.Refused = maps.Clone(st.Refused)
	l.mu.Unlock()
	st.DrawerBytes = l.mirror.size()
	return st
}

// refuse counts what is not taken.
func (s *state) refuse(reason string) {
	s.refused[reason]++
	s.refusals++
}
