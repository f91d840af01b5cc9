package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/grpchealth"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/platform"
	"pgregory.net/rapid"
)

// The test binary impersonates the programs of exec probes.
func TestMain(m *testing.M) {
	switch os.Getenv("PROBE_TEST_CHILD") {
	case "":
		os.Exit(m.Run())
	case "well":
		os.Exit(0)
	case "ill":
		os.Exit(3)
	case "hangs":
		time.Sleep(time.Hour)
	}
}

func newProber(t *testing.T) *Prober {
	host, err := platform.New(platform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(host)
}

// patient has time enough for any machine; hasty shows that it gives up.
func patient(p config.Probe) config.Probe {
	p = p.WithDefaults()
	p.Timeout = 30 * time.Second
	return p
}

func hasty(p config.Probe) config.Probe {
	p = p.WithDefaults()
	p.Timeout = 100 * time.Millisecond
	return p
}

func wantAnswer(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("the answer is %v, want %q", err, want)
	}
}

func TestHTTP(t *testing.T) {
	mux := http.NewServeMux()
	answer := func(path string, handle http.HandlerFunc) { mux.HandleFunc(path, handle) }
	answer("/well", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	answer("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/well", http.StatusFound) })
	answer("/ill", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	answer("/circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/circle", http.StatusFound) })
	answer("/hangs", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	answer("/endless", func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 1<<16)
		for r.Context().Err() == nil {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	answer("/cut", func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = c.Write([]byte("HTTP/1.1 200 O"))
			_ = c.Close()
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	p := newProber(t)
	for path, want := range map[string]string{
		"/well": "", "/moved": "", "/endless": "", "/ill": "503 Service Unavailable", "/circle": "more than 10 redirects", "/cut": "EOF",
	} {
		wantAnswer(t, p.Ask(t.Context(), patient(config.Probe{HTTP: server.URL + path}), platform.Spec{}), want)
	}
	wantAnswer(t, p.Ask(t.Context(), hasty(config.Probe{HTTP: server.URL + "/hangs"}), platform.Spec{}), "no answer within 100ms")
}

func TestTCPAndUnixSockets(t *testing.T) {
	p := newProber(t)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "probe") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	overTCP, overUnix := patient(config.Probe{TCP: tcp.Addr().String()}), patient(config.Probe{Unix: path})
	wantAnswer(t, p.Ask(t.Context(), overTCP, platform.Spec{}), "")
	wantAnswer(t, p.Ask(t.Context(), overUnix, platform.Spec{}), "")
	_, _ = tcp.Close(), unix.Close()
	wantAnswer(t, p.Ask(t.Context(), overTCP, platform.Spec{}), "refused")
	wantAnswer(t, p.Ask(t.Context(), overUnix, platform.Spec{}), path)
}

func TestGRPC(t *testing.T) {
	health := grpchealth.NewStaticChecker("db.v1.Store")
	mux := http.NewServeMux()
	mux.Handle(grpchealth.NewHandler(health))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	address := server.Listener.Addr().String()
	p := newProber(t)
	ask := func(target string) error {
		return p.Ask(t.Context(), patient(config.Probe{GRPC: target}), platform.Spec{})
	}
	wantAnswer(t, ask(address), "")
	wantAnswer(t, ask(address+"/db.v1.Store"), "")
	wantAnswer(t, ask(address+"/db.v1.Other"), "not_found")
	health.SetStatus("db.v1.Store", grpchealth.StatusNotServing)
	wantAnswer(t, ask(address+"/db.v1.Store"), "not SERVING")
}

func TestExec(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := newProber(t)
	spec := func(child string) platform.Spec {
		return platform.Spec{Label: "web", Env: append(os.Environ(), "PROBE_TEST_CHILD="+child, "GORACE=atexit_sleep_ms=0")}
	}
	probe := config.Probe{Exec: []string{self}}
	wantAnswer(t, p.Ask(t.Context(), patient(probe), spec("well")), "")
	wantAnswer(t, p.Ask(t.Context(), patient(probe), spec("ill")), "ended with exit code 3")
	wantAnswer(t, p.Ask(t.Context(), hasty(probe), spec("hangs")), "no answer within 100ms")
	wantAnswer(t, p.Ask(t.Context(), patient(config.Probe{Exec: []string{filepath.Join(t.TempDir(), "nowhere")}}), spec("well")), "nowhere")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantAnswer(t, p.Ask(ctx, patient(probe), spec("hangs")), "signal SIGKILL")
}

// The meaning of the thresholds, as Kubernetes documents it: the verdict changes
// with as many answers in a row, and never before.
func TestTheVerdictChangesWithAsManyAnswersInARow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		probe := config.Probe{FailureThreshold: rapid.IntRange(1, 4).Draw(t, "failures"), SuccessThreshold: rapid.IntRange(1, 4).Draw(t, "successes")}
		answers := rapid.SliceOf(rapid.Bool()).Draw(t, "answers")
		var tally Tally
		verdict := "unknown"
		for i, well := range answers {
			var answer error
			if !well {
				answer = errors.New("ill")
			}
			row := 1
			for row <= i && answers[i-row] == well {
				row++
			}
			before := verdict
			if well && row >= probe.SuccessThreshold {
				verdict = "passing"
			} else if !well && row >= probe.FailureThreshold {
				verdict = "failing"
			}
			changed := tally.Hear(probe, answer)
			got := map[[2]bool]string{{false, false}: "unknown", {true, false}: "passing", {false, true}: "failing"}[[2]bool{tally.Passing(), tally.Failing()}]
			if got != verdict || changed != (before != verdict) {
				t.Fatalf("after %v it is %s (changed: %v), want %s", answers[:i+1], got, changed, verdict)
			}
			if want := fmt.Sprintf("failed %d times in a row: ill", row); !well && row > 1 && tally.Failure() != want {
				t.Fatalf("%q, want %q", tally.Failure(), want)
			}
		}
	})
}

func TestAnExecProbeHasNoPartInWhatTheProcessSaysOfItself(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := newProber(t)
	spec := platform.Spec{Label: "web", Env: append(os.Environ(), "PROBE_TEST_CHILD=well"), ExtraFD: 3, Extra: func() (*os.File, error) {
		t.Error("it is given the descriptor on which the process says that it is ready")
		return os.Open(os.DevNull)
	}}
	wantAnswer(t, p.Ask(t.Context(), patient(config.Probe{Exec: []string{self}}), spec), "")
}
