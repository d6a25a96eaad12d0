package panel

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/agent/schedule"
)

// newMetrics makes the handler of /metrics, with a registry of its own. The
// numbers are taken when somebody asks: nothing is counted twice.
func newMetrics(p *Panel) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&meter{p: p},
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
}

// meter reads the rooms that count.
type meter struct{ p *Panel }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pilotlight_"+name, help, labels, nil)
}

// The names of the contract.
var (
	descBuild         = desc("build_info", "What runs; always 1.", "version", "commit", "goversion")
	descPhones        = desc("phones", "Phones by state.", "state")
	descCauses        = desc("phone_causes", "Phones by cause: why they are dark, or that they are fine.", "cause")
	descPresentities  = desc("presentities", "Presentities by availability and freshness.", "availability", "freshness")
	descPolls         = desc("polls_total", "Polls by driver and outcome.", "driver", "outcome")
	descPollTime      = desc("poll_duration_seconds", "How long polls took.", "driver")
	descSubscriptions = desc("subscriptions", "SIP subscriptions by event package.", "package")
	descUnreachable   = desc("subscriptions_unreachable", "SIP subscriptions whose watcher's connection is gone, and that were told nothing since.")
	descNotified      = desc("notifications_total", "NOTIFYs by what became of them.", "outcome")
	descRefused       = desc("sip_requests_refused_total", "SIP requests that were refused, by method and class of the answer.", "method", "class")
	descDropped       = desc("sip_dropped_total", "What came by SIP and was thrown away without an answer, by reason.", "reason")
	descPublications  = desc("publications", "Publications that the compositor holds.")
	descNotifyTime    = desc("change_to_notify_seconds", "From an observation to its NOTIFY on the wire.")
	descConnected     = desc("uplink_connected", "1 while the uplink is connected.", "uplink")
	descPending       = desc("uplink_pending", "Documents that the far side has not acknowledged.", "uplink")
	descCommits       = desc("store_commits_total", "Commits of the store.")
	descBytes         = desc("store_bytes_written_total", "Bytes that the store handed to the operating system.")
	descFileSize      = desc("store_file_bytes", "Size of the store's file.")
	descViewers       = desc("panel_viewers", "Event streams that are open.")
	descDriverUp      = desc("driver_up", "1 while the driver runs.", "driver")
	descRestarts      = desc("driver_restarts_total", "How often the driver was started again.", "driver")
	descClock         = desc("clock_trusted", "1 while wall time is believed.")
)

// Packages and outcomes that are shown before the first of them was counted.
var (
	packages = []string{"dialog", "message-summary", "presence", "presence.winfo"}
	outcomes = []string{"ok", "error", "refused", "timeout"}
)

// Describe names nothing: what is there depends on what is configured.
func (m *meter) Describe(chan<- *prometheus.Desc) {}

// Collect takes the numbers.
func (m *meter) Collect(out chan<- prometheus.Metric) {
	b := m.p.deps.Build
	gauge(out, descBuild, 1, b.Version, b.Commit, b.Go)
	gauge(out, descViewers, float64(len(m.p.viewers)))
	trusted, _ := m.p.deps.Clock.Trusted()
	gauge(out, descClock, b2f(trusted))
	m.presence(out)
	m.polls(out)
	m.notifier(out)
	m.store(out)
	m.uplinks(out)
	m.drivers(out)
}

func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(out chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func histogram(out chan<- prometheus.Metric, d *prometheus.Desc, count uint64, sum time.Duration, bounds []float64, counts []uint64, labels ...string) {
	buckets := make(map[float64]uint64, len(bounds))
	for i, upper := range bounds {
		buckets[upper] = 0
		if i < len(counts) {
			buckets[upper] = counts[i]
		}
	}
	out <- prometheus.MustNewConstHistogram(d, count, sum.Seconds(), buckets, labels...)
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// presence counts phones and presentities. Every state is there, with 0 where
// none is in it: a graph that begins with the first fault misses it.
func (m *meter) presence(out chan<- prometheus.Metric) {
	snap := m.p.keeper.snap.Load()
	phones := map[presence.DeviceState]int{}
	causes := map[presence.Cause]int{}
	for _, it := range snap.phones {
		phones[it.device.State]++
		causes[cmp.Or(it.device.Cause, presence.CauseNotKnown)]++
	}
	for _, state := range presence.DeviceStates {
		gauge(out, descPhones, float64(phones[state]), string(state))
	}
	for _, cause := range presence.Causes {
		gauge(out, descCauses, float64(causes[cause]), string(cause))
	}
	type kind struct {
		presence.Availability
		presence.Freshness
	}
	docs := map[kind]int{}
	for _, it := range snap.docs {
		docs[kind{it.doc.Availability, it.doc.Freshness}]++
	}
	for _, word := range presence.Availabilities {
		for _, fresh := range []presence.Freshness{presence.Live, presence.LastKnown, presence.NeverSeen} {
			gauge(out, descPresentities, float64(docs[kind{word, fresh}]), string(word), string(fresh))
		}
	}
}

func (m *meter) polls(out chan<- prometheus.Metric) {
	for _, q := range m.p.deps.Pollers {
		st := q.Stats()
		for _, outcome := range outcomes {
			counter(out, descPolls, float64(st.Outcomes[outcome]), st.Name, outcome)
		}
		for outcome, n := range st.Outcomes {
			if !slices.Contains(outcomes, outcome) {
				counter(out, descPolls, float64(n), st.Name, outcome)
			}
		}
		histogram(out, descPollTime, st.Count, st.Sum, schedule.Buckets, st.Counts, st.Name)
	}
}

func (m *meter) notifier(out chan<- prometheus.Metric) {
	st := NotifyStats{Bounds: schedule.Buckets}
	if m.p.deps.Notify != nil {
		st = m.p.deps.Notify()
	}
	for _, name := range packages {
		gauge(out, descSubscriptions, float64(st.Subscriptions[name]), name)
	}
	for name, n := range st.Subscriptions {
		if !slices.Contains(packages, name) {
			gauge(out, descSubscriptions, float64(n), name)
		}
	}
	gauge(out, descUnreachable, float64(st.Unreachable))
	counter(out, descNotified, float64(st.Answered), "ok")
	counter(out, descNotified, float64(st.Failed), "failed")
	for _, method := range []string{"SUBSCRIBE", "PUBLISH", "MESSAGE"} { // there before the first is refused
		if what := (Refused{method, "4xx"}); st.Refused[what] == 0 {
			counter(out, descRefused, 0, what.Method, what.Class)
		}
	}
	for what, n := range st.Refused {
		if n > 0 {
			counter(out, descRefused, float64(n), what.Method, what.Class)
		}
	}
	for reason, n := range st.Dropped {
		counter(out, descDropped, float64(n), reason)
	}
	histogram(out, descNotifyTime, st.Count, st.Sum, st.Bounds, st.Counts)
}

func (m *meter) store(out chan<- prometheus.Metric) {
	st := m.p.deps.Heart.Stats()
	gauge(out, descPublications, float64(st.Publications))
	counter(out, descCommits, float64(st.Commits))
	counter(out, descBytes, float64(st.BytesWritten))
	gauge(out, descFileSize, float64(st.FileSize))
}

func (m *meter) uplinks(out chan<- prometheus.Metric) {
	if m.p.deps.Uplinks == nil {
		return
	}
	for _, u := range m.p.deps.Uplinks.All() {
		gauge(out, descConnected, b2f(u.Mode == relay.Connected), u.Name)
		gauge(out, descPending, float64(u.Pending), u.Name)
	}
}

func (m *meter) drivers(out chan<- prometheus.Metric) {
	if m.p.deps.Drivers == nil {
		return
	}
	for _, d := range m.p.deps.Drivers.Statuses() {
		gauge(out, descDriverUp, b2f(d.Err == nil), d.Name)
		counter(out, descRestarts, float64(d.Restarts), d.Name)
	}
}
