//go:build unix

package control_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/actors/control"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform/platformtest"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// a supervisor, with a server in front of it and a client.
func serve(t *testing.T, c config.Control) (*actors.Supervisor, *control.Server, *control.Client) {
	t.Helper()
	if c.Socket == "" {
		c.Socket = filepath.Join(t.TempDir(), "s")
	}
	server, err := control.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	host := platformtest.New(nil)
	sup, err := actors.New(config.Config{Collectors: map[string]config.Collector{"web-1": {BinaryPath: "/bin/web"}}}, actors.WithHost(host))
	if err != nil {
		t.Fatal(err)
	}
	server.Serve(sup)
	client, err := control.Dial(t.Context(), server.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		_ = sup.Close()
		_ = server.Close()
		_ = host.Close()
	})
	return sup, server, client
}

func TestACommandOverTheSocketIsTheSameAsOneToTheSupervisor(t *testing.T) {
	sup, _, client := serve(t, config.Control{})
	for name, backend := range map[string]actors.Commands{"embedded": sup.Commands, "remote": client.Commands} {
		status, err := backend.Status(t.Context(), "web-1")
		if err != nil || status.ID != "web-1" || status.Type != "web" || status.State != messages.Stopped {
			t.Errorf("%s: %+v, %v", name, status, err)
		}
		list, err := backend.List(t.Context())
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
		_, err = backend.Status(t.Context(), "nobody")
		var e *messages.Error
		if !errors.Is(err, messages.ProcessNotFound) || !errors.As(err, &e) || e.ID != "nobody" || e.Op != "status" {
			t.Errorf("%s: %v", name, err)
		}
		if _, err = backend.Start(t.Context(), "../../x", "web", nil); !errors.Is(err, messages.InvalidConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASecondServerAtASocketIsRefusedWithTheOwnersPidAndAStaleOneIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := control.Open(config.Control{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	_, err = control.Open(config.Control{Socket: path})
	if err == nil || !strings.Contains(err.Error(), "its pid is") {
		t.Errorf("%v", err)
	}
	_ = first.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	// What a killed supervisor leaves: a socket that nobody listens at.
	leave(t, path)
	second, err := control.Open(config.Control{Socket: path, SocketMode: "0660"})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info, err)
	}
	_ = second.Close()
	// Something else is not.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Open(config.Control{Socket: path}); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("%v", err)
	}
	if _, err := control.Open(config.Control{Socket: filepath.Join(t.TempDir(), strings.Repeat("x", 120))}); err == nil || !strings.Contains(err.Error(), "PROCTOR_SOCKET") {
		t.Errorf("%v", err)
	}
}

func TestWhereNobodyListensThereIsNoSupervisor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := control.Dial(t.Context(), path); !errors.Is(err, actors.ErrNoSupervisor) {
		t.Errorf("%v", err)
	}
	leave(t, path)
	if _, err := control.Dial(t.Context(), path); !errors.Is(err, actors.ErrNoSupervisor) {
		t.Errorf("%v", err)
	}
	_, server, client := serve(t, config.Control{})
	_ = server.Close()
	if _, err := client.List(t.Context()); !errors.Is(err, actors.ErrNoSupervisor) {
		t.Errorf("%v", err)
	}
}

func TestTheMetricsAreWellFormed(t *testing.T) {
	_, server, _ := serve(t, config.Control{MetricsListen: "127.0.0.1:0"})
	base := "http://" + server.MetricsListen().String()
	get := func(method, path string) *http.Response {
		q, _ := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Body.Close() })
		return r
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if r := get("GET", path); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	if r := get("POST", "/metrics"); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("%s", r.Status)
	}
	if r := get("POST", "/proctor.v1.ProctorService/Shutdown"); r.StatusCode != http.StatusNotFound {
		t.Errorf("%s", r.Status)
	}
	problems, err := promlint.New(get("GET", "/metrics").Body).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestEventsComeOverTheSocketInOrder(t *testing.T) {
	_, _, client := serve(t, config.Control{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	events, err := client.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const n = 10
	go func() {
		for range n {
			_ = client.Reset(ctx, "web-1")
		}
		_, _ = client.Shutdown(ctx, time.Second)
	}()
	last := uint64(0)
	for e := range events {
		if last != 0 && e.Seq != last+1 {
			t.Errorf("event %d follows %d", e.Seq, last)
		}
		last = e.Seq
		if _, ok := e.Fact.(messages.ShuttingDown); ok {
			return
		}
	}
	t.Error("the shutdown was not told")
}
