package config

import (
	"net/url"
	"strconv"
	"time"
)

// An Activity is what a collector has to yield to count as working: one that runs,
// passes its probes and yields nothing is degraded. Source set means that there
// is one.
type Activity struct {
	// Source is where that is counted.
	Source ActivitySource

	// URL is a page with Prometheus metrics that the collector serves, and Metric
	// the counter on it, all its series taken together; for ActivityMetrics.
	URL    string
	Metric string

	// MaxSilence is how long it may yield nothing, and MinPerMinute how much it has
	// to yield in a minute. Zero: that is not looked at.
	MaxSilence   time.Duration
	MinPerMinute int

	// RestartOnSilence has one that does not end, which counts as a crash.
	RestartOnSilence bool
}

// ActivitySource says where the activity of a collector is counted.
type ActivitySource string

// The sources, in the words of the configuration file.
const (
	ActivityStdout  ActivitySource = "stdout"  // the lines that it writes, on either stream
	ActivityNotify  ActivitySource = "notify"  // the first number in its STATUS (sd_notify)
	ActivityMetrics ActivitySource = "metrics" // a counter on a page that it serves
)

func (f *findings) activity(key func(parts ...string) string, c Collector) {
	a := c.Activity
	at := func(part string) string { return key("activity", part) }
	if a == (Activity{}) {
		return
	}
	oneOf(f, at("source"), a.Source, "a source of activity", ActivityStdout, ActivityNotify, ActivityMetrics)
	f.time(at("max_silence_seconds"), a.MaxSilence)
	if a.MinPerMinute < 0 {
		f.add(at("min_per_minute"), strconv.Itoa(a.MinPerMinute), strconv.Itoa(a.MinPerMinute)+" is negative", "use a whole number from 1 on")
	}
	switch {
	case a.Source == "":
		f.add(at("source"), "", "it is not said where the activity is counted", `write source = "stdout", "notify" or "metrics"`)
	case a.MaxSilence == 0 && a.MinPerMinute == 0:
		f.add(at("source"), string(a.Source), "it is not said how much is too little", "set max_silence_seconds or min_per_minute", at("max_silence_seconds"), at("min_per_minute"))
	case a.Source == ActivityStdout && c.Output.Target == OutputInherit:
		f.add(at("source"), string(a.Source), `with output.target = "inherit" nobody reads what it writes`, "use another target, or another source", key("output", "target"))
	case a.Source == ActivityMetrics:
		f.metrics(at, a)
	case a.URL != "" || a.Metric != "":
		f.add(at("url"), a.URL, `is for source = "metrics"`, "remove it, or set that", at("source"))
	}
}

func (f *findings) metrics(at func(string) string, a Activity) {
	if u, err := url.Parse(a.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		f.add(at("url"), a.URL, quote(a.URL)+" is not the URL of a page", `write url = "http://127.0.0.1:9100/metrics"`)
	}
	if a.Metric == "" {
		f.add(at("metric"), "", "it is not said which counter", `write metric = "node_scrape_collector_success"`)
	}
}
