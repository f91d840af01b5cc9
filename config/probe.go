package config

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Probe asks a collector whether it is well. One of the five ways to ask is
// set; with none there is no probe. The words mean what they mean to Kubernetes.
type Probe struct {
	Exec []string // a program and its arguments, well if it exits with 0; it runs as the collector does
	HTTP string   // a URL that is answered with a status from 200 to 399
	TCP  string   // host:port that accepts a connection
	GRPC string   // host:port, or host:port/service, that the gRPC health service says is serving
	Unix string   // a Unix socket that accepts a connection

	InitialDelay time.Duration // before the first one. Zero: none
	Period       time.Duration // from one to the next. Zero: 10 s
	Timeout      time.Duration // of one. Zero: 1 s

	FailureThreshold int // failures in a row after which it is not well. Zero: 3
	SuccessThreshold int // successes in a row after which it is again. Zero: 1
}

// The defaults of a Probe.
const (
	DefaultProbePeriod      = 10 * time.Second
	DefaultProbeTimeout     = time.Second
	DefaultFailureThreshold = 3
	DefaultSuccessThreshold = 1
)

// Set reports whether there is a probe.
func (p Probe) Set() bool { return len(p.ways()) > 0 }

// ways are the keys of the ways to ask that are set.
func (p Probe) ways() (keys []string) {
	for _, way := range []struct {
		key string
		set bool
	}{{"exec", p.Exec != nil}, {"http", p.HTTP != ""}, {"tcp", p.TCP != ""}, {"grpc", p.GRPC != ""}, {"unix", p.Unix != ""}} {
		if way.set {
			keys = append(keys, way.key)
		}
	}
	return keys
}

// WithDefaults fills in what is zero.
func (p Probe) WithDefaults() Probe {
	fill(&p.Period, DefaultProbePeriod)
	fill(&p.Timeout, DefaultProbeTimeout)
	fill(&p.FailureThreshold, DefaultFailureThreshold)
	fill(&p.SuccessThreshold, DefaultSuccessThreshold)
	return p
}

// probe checks a probe at key. Once says that one success of it is enough.
func (f *findings) probe(key func(parts ...string) string, p Probe, once bool) {
	ways := p.ways()
	switch {
	case len(ways) > 1:
		f.add(key(ways[1]), "", "a probe asks in one way: "+strings.Join(ways, " and ")+" are set", "remove all but one", key(ways[0]))
	case len(ways) == 0:
		if untouched := (Probe{}); p.InitialDelay != untouched.InitialDelay || p.Period != 0 || p.Timeout != 0 || p.FailureThreshold != 0 || p.SuccessThreshold != 0 {
			f.add(key(), "", "the probe has nothing to ask", `set one of exec, http, tcp, grpc and unix, as in tcp = "127.0.0.1:5432"`)
		}
	}
	if p.Exec != nil {
		f.command(key("exec"), "exec", p.Exec)
	}
	if p.HTTP != "" {
		if u, err := url.Parse(p.HTTP); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			f.add(key("http"), p.HTTP, quote(p.HTTP)+" is not a URL of http or https", `write one like "http://127.0.0.1:8080/healthz"`)
		}
	}
	f.hostPort(key("tcp"), p.TCP)
	address, _, _ := strings.Cut(p.GRPC, "/")
	f.hostPort(key("grpc"), address)
	f.noNUL(key("unix"), p.Unix)
	f.time(key("initial_delay_seconds"), p.InitialDelay)
	f.time(key("period_seconds"), p.Period)
	f.time(key("timeout_seconds"), p.Timeout)
	f.threshold(key("failure_threshold"), p.FailureThreshold)
	f.threshold(key("success_threshold"), p.SuccessThreshold)
	if once && p.SuccessThreshold > 1 {
		f.add(key("success_threshold"), strconv.Itoa(p.SuccessThreshold), "here one success is enough", "use 1, or leave it out")
	}
}

func (f *findings) threshold(key string, n int) {
	if n < 0 {
		f.add(key, strconv.Itoa(n), fmt.Sprintf("%d is negative", n), "use a whole number from 1 on")
	}
}

func (f *findings) hostPort(key, address string) {
	if address == "" {
		return
	}
	host, port, err := net.SplitHostPort(address)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || portErr != nil || n == 0 {
		f.add(key, address, quote(address)+" is not host:port", `write one like "127.0.0.1:5432"`)
	}
}
