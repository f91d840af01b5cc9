package control

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/messages"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsHandler serves /metrics, /livez and /readyz, to be read only.
func metricsHandler(b actors.Backend) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collected{backend: b})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: 4, Timeout: 2 * healthTime,
	}))
	probe := func(well func(messages.SupervisorInfo) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			info, err := wellness(r.Context(), b)
			fault := well(info)
			if err != nil {
				fault = "the supervisor does not answer: " + text(err.Error())
			}
			if fault != "" {
				http.Error(w, fault, http.StatusServiceUnavailable)
				return
			}
			_, _ = fmt.Fprintln(w, "ok")
		}
	}
	mux.Handle("GET /livez", probe(func(messages.SupervisorInfo) string { return "" }))
	mux.Handle("GET /readyz", probe(func(info messages.SupervisorInfo) string {
		if info.Closing {
			return "the supervisor is shutting down"
		}
		return ""
	}))
	return mux
}

var (
	perCollector = []string{"collector", "type"}

	upDesc         = prometheus.NewDesc("proctor_collector_up", "Whether the collector runs.", perCollector, nil)
	stateDesc      = prometheus.NewDesc("proctor_collector_state", "1 for the state that the collector is in, 0 for the others.", append(perCollector[:2:2], "state"), nil)
	startsDesc     = prometheus.NewDesc("proctor_collector_starts_total", "Processes that were started.", perCollector, nil)
	restartsDesc   = prometheus.NewDesc("proctor_collector_restarts_total", "Automatic restarts.", perCollector, nil)
	exitsDesc      = prometheus.NewDesc("proctor_collector_exits_total", "Ends of processes, by their kind.", append(perCollector[:2:2], "kind"), nil)
	forcedDesc     = prometheus.NewDesc("proctor_collector_forced_stops_total", "Ends that had to be forced.", perCollector, nil)
	startedDesc    = prometheus.NewDesc("proctor_collector_start_time_seconds", "When the process was started, since 1970; 0 where there is none.", perCollector, nil)
	uptimeDesc     = prometheus.NewDesc("proctor_collector_uptime_seconds", "How long ago the process was started; 0 where there is none.", perCollector, nil)
	startTookDesc  = prometheus.NewDesc("proctor_collector_last_start_duration_seconds", "How long the last start took, from the order to the exec.", perCollector, nil)
	collectorsDesc = prometheus.NewDesc("proctor_collectors", "Collectors in each state.", []string{"state"}, nil)
	commandsDesc   = prometheus.NewDesc("proctor_commands_total", "Commands that were answered, by how it went.", []string{"operation", "result"}, nil)
	mailboxDesc    = prometheus.NewDesc("proctor_mailbox_messages", "Messages that wait for the supervisor's actor.", nil, nil)
	spawnsDesc     = prometheus.NewDesc("proctor_spawn_duration_seconds", "How long starts took, from the order to the exec.", nil, nil)
	eventsDesc     = prometheus.NewDesc("proctor_events_total", "Events of this life of the supervisor.", nil, nil)
	answerDesc     = prometheus.NewDesc("proctor_supervisor_answer_duration_seconds", "How long the supervisor's actor took to answer for these metrics.", nil, nil)
	beganDesc      = prometheus.NewDesc("proctor_supervisor_start_time_seconds", "When the supervisor was started, since 1970.", nil, nil)
)

// collected asks the supervisor whenever somebody reads the metrics: they cost
// nothing in between.
type collected struct{ backend actors.Backend }

func (c *collected) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		upDesc, stateDesc, startsDesc, restartsDesc, exitsDesc, forcedDesc, startedDesc, uptimeDesc, startTookDesc,
		collectorsDesc, commandsDesc, mailboxDesc, spawnsDesc, eventsDesc, answerDesc, beganDesc,
	} {
		ch <- d
	}
	for _, d := range usageDescs {
		ch <- d
	}
}

func (c *collected) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), healthTime) //nolint:forbidigo // the registry has no caller's context to pass on
	defer cancel()
	asked := time.Now()
	commands := actors.Commands{Backend: c.backend}
	info, err := commands.Info(ctx)
	took := time.Since(asked)
	var list []messages.Status
	if err == nil {
		list, err = commands.List(ctx)
	}
	if err != nil {
		ch <- prometheus.NewInvalidMetric(answerDesc, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for _, s := range list {
		own := []string{s.ID, s.Type}
		with := func(label string) []string { return []string{s.ID, s.Type, label} }
		gauge(upDesc, truth(s.State == messages.Running), own...)
		for state := range messages.State(messages.NumStates) {
			gauge(stateDesc, truth(s.State == state), with(state.String())...)
		}
		counter(startsDesc, s.Totals.Starts, own...)
		counter(restartsDesc, s.Totals.Restarts, own...)
		for kind, n := range map[string]uint64{
			"clean": s.Totals.Clean, "failure": s.Totals.Failures, "signal": s.Totals.Signals,
			"spawn_failure": s.Totals.SpawnFailures, "fault": s.Totals.Faults, "unhealthy": s.Totals.Unhealthy,
		} {
			counter(exitsDesc, n, with(kind)...)
		}
		counter(forcedDesc, s.Totals.Forced, own...)
		gauge(startedDesc, sinceEpoch(s.StartedAt), own...)
		gauge(uptimeDesc, s.Uptime.Seconds(), own...)
		gauge(startTookDesc, s.Totals.LastStart.Seconds(), own...)
	}
	if used, err := commands.Usage(ctx, true, false); err == nil { // what else there is, is worth more than nothing
		collectUsage(ch, list, used)
	}
	for state, n := range info.States {
		gauge(collectorsDesc, float64(n), messages.State(state).String())
	}
	for op, results := range info.Commands {
		for result, n := range results {
			counter(commandsDesc, n, op, strings.ToLower(result))
		}
	}
	gauge(mailboxDesc, float64(info.Mailbox))
	buckets, below := map[float64]uint64{}, uint64(0)
	for i, bound := range messages.Buckets {
		below += info.Spawns.Counts[i]
		buckets[bound.Seconds()] = below
	}
	ch <- prometheus.MustNewConstHistogram(spawnsDesc, info.Spawns.Count, info.Spawns.Sum.Seconds(), buckets)
	counter(eventsDesc, info.LastEvent)
	gauge(answerDesc, took.Seconds())
	gauge(beganDesc, sinceEpoch(info.StartedAt))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func sinceEpoch(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}
