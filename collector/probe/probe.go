// Package probe asks a collector how it is, in the ways that a configuration can
// name, and counts the answers as Kubernetes does. It knows no actor: whoever
// asks decides when, and what an answer means.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/platform"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A Prober asks. Its methods may be called from any goroutine.
type Prober struct {
	host   platform.Host
	client *http.Client
	grpc   *http.Client
	dialer net.Dialer
}

// maxRedirects is how many redirects an HTTP probe follows.
const maxRedirects = 10

// New returns a prober that has the programs of exec probes started by host.
func New(host platform.Host) *Prober {
	p := &Prober{host: host}
	// A connection that is used again would tell of the one that answered then.
	transport := &http.Transport{DisableKeepAlives: true, DialContext: p.dialer.DialContext, MaxResponseHeaderBytes: 64 << 10}
	p.client = &http.Client{Transport: transport, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		return nil
	}}
	cleartext := transport.Clone()
	cleartext.Protocols = new(http.Protocols)
	cleartext.Protocols.SetUnencryptedHTTP2(true)
	p.grpc = &http.Client{Transport: cleartext}
	return p
}

// Ask asks once, and returns nil if the answer is that all is well. It blocks
// until there is an answer or probe.Timeout has passed. Spec is how the
// collector's own process is started: an exec probe runs in the same place, with
// the same environment. The defaults of probe must be filled in.
func (p *Prober) Ask(ctx context.Context, probe config.Probe, spec platform.Spec) error {
	ctx, cancel := context.WithTimeout(ctx, probe.Timeout)
	defer cancel()
	err := p.ask(ctx, probe, spec)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", probe.Timeout)
	}
	return err
}

func (p *Prober) ask(ctx context.Context, probe config.Probe, spec platform.Spec) error {
	switch {
	case probe.Exec != nil:
		return p.exec(ctx, probe.Exec, spec)
	case probe.HTTP != "":
		return p.http(ctx, probe.HTTP)
	case probe.TCP != "":
		return p.dial(ctx, "tcp", probe.TCP)
	case probe.GRPC != "":
		return p.health(ctx, probe.GRPC)
	default:
		return p.dial(ctx, "unix", probe.Unix)
	}
}

func (p *Prober) dial(ctx context.Context, network, address string) error {
	c, err := p.dialer.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return c.Close()
}

func (p *Prober) http(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "proctor")
	answer, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() // however long it is: it is not read
	if answer.StatusCode < 200 || answer.StatusCode > 399 {
		return fmt.Errorf("%s answered %s", url, answer.Status)
	}
	return nil
}

// serving is grpc.health.v1.HealthCheckResponse.SERVING.
const serving = 1

// health asks the standard gRPC health service. Its messages have one field
// each, of which the well-known wrappers have the same encoding.
func (p *Prober) health(ctx context.Context, target string) error {
	address, service, _ := strings.Cut(target, "/")
	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.Int32Value](p.grpc, "http://"+address+"/grpc.health.v1.Health/Check",
		connect.WithGRPC(), connect.WithReadMaxBytes(1<<10))
	answer, err := client.CallUnary(ctx, connect.NewRequest(wrapperspb.String(service)))
	if err != nil {
		return err
	}
	if status := answer.Msg.GetValue(); status != serving {
		return fmt.Errorf("%s says status %d, not SERVING", target, status)
	}
	return nil
}

// exec runs a program to its end, and ends it, with all that it started, when
// there is no more time.
func (p *Prober) exec(ctx context.Context, command []string, spec platform.Spec) error {
	spec.Label += "@probe" // which no collector is called
	spec.Find, spec.Path, spec.Args = nil, command[0], command[1:]
	spec.KeepFDs, spec.Confinement.SHA256 = nil, "" // these are of the process itself
	spec.Stdout, spec.Stderr, spec.Output = nil, nil, nil
	spec.Extra, spec.ExtraFD = nil, 0        // on which a process says that it is ready: a probe must not
	notices := make(chan platform.Notice, 4) // there are three at most
	process := p.host.Start(spec, func(n platform.Notice) { notices <- n })
	var ended *platform.Exit
	gaveUp := ctx.Done()
	for {
		select {
		case n := <-notices:
			switch n.Kind {
			case platform.SpawnFailed:
				return n.Err
			case platform.Exited:
				ended = &n.Exit
				process.Kill() // what it left behind
			case platform.Emptied:
				return exitError(command[0], ended)
			}
		case <-gaveUp:
			gaveUp = nil
			process.Kill()
		}
	}
}

func exitError(program string, e *platform.Exit) error {
	switch {
	case e == nil:
		return errors.New(program + " is gone")
	case e.Success():
		return nil
	case e.Signal != 0:
		return fmt.Errorf("%s ended with signal %s", program, e.Signal.Name())
	}
	return fmt.Errorf("%s ended with exit code %d", program, e.Code)
}

// A Tally counts the answers to one probe. Its zero value has heard none.
type Tally struct {
	successes, failures int // in a row
	passing, failing    bool
	last                error
}

// Hear counts one answer, and reports whether the verdict is another one now.
func (t *Tally) Hear(probe config.Probe, answer error) (changed bool) {
	before := *t
	t.last = answer
	if answer == nil {
		t.successes, t.failures = t.successes+1, 0
		if t.successes >= probe.SuccessThreshold {
			t.passing, t.failing = true, false
		}
	} else {
		t.successes, t.failures = 0, t.failures+1
		if t.failures >= probe.FailureThreshold {
			t.passing, t.failing = false, true
		}
	}
	return t.passing != before.passing || t.failing != before.failing
}

// Passing reports whether enough answers in a row were good.
func (t *Tally) Passing() bool { return t.passing }

// Failing reports whether enough answers in a row were bad.
func (t *Tally) Failing() bool { return t.failing }

// Failure says in words how often it failed in a row, and how the last time.
func (t *Tally) Failure() string {
	times := "once"
	if t.failures != 1 {
		times = fmt.Sprintf("%d times in a row", t.failures)
	}
	return fmt.Sprintf("failed %s: %v", times, t.last)
}
