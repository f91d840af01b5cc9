//go:build unix

package control_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/actors/control"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/platform/platformtest"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// everything is what a process uses on a system that tells all.
var everything = platform.Usage{
	Known: platform.HasOOMKills<<1 - 1, Source: "cgroup v2", UserTime: 1500 * time.Millisecond, SystemTime: 250 * time.Millisecond, Throttled: time.Second,
	Memory: 100 << 20, MemoryPeak: 120 << 20, MemoryLimit: 200 << 20, Swap: 1 << 20, Processes: 2, Tasks: 7, TasksLimit: 50,
	ReadBytes: 4096, WriteBytes: 8192, ReadOps: 1, WriteOps: 2, Descriptors: 12, VoluntarySwitches: 30, InvoluntarySwitches: 4,
	CPUPressure:    platform.Pressure{Some10: 1.5, Some60: 0.5, Full10: 0.25, Full60: 0.125, Some: 2 * time.Second, Full: time.Second},
	MemoryPressure: platform.Pressure{Some: 3 * time.Second}, IOPressure: platform.Pressure{Full: 4 * time.Second}, OOMKills: 1,
}

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
	host := platformtest.New(func(platform.Spec, int) platformtest.Program {
		return platformtest.Program{Usage: func(time.Duration) platform.Usage { return everything }}
	})
	sup, err := actors.New(config.Config{
		Collectors: map[string]config.Collector{"web-1": {BinaryPath: "/bin/web", Group: "all"}}, Groups: map[string]config.Group{"all": {}},
	}, actors.WithHost(host))
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
	_, server, client := serve(t, config.Control{MetricsListen: "127.0.0.1:0"})
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
	if _, err := client.Start(t.Context(), "web-1", "", nil); err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(get("GET", "/metrics").Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`proctor_collector_info{collector="web-1",group="all",type="web"} 1`,
		`proctor_collector_cpu_seconds_total{collector="web-1",mode="user",type="web"} 1.5`,
		`proctor_collector_memory_bytes{collector="web-1",type="web"} 1.048576e+08`,
		`proctor_collector_tasks{collector="web-1",type="web"} 7`,
		`proctor_collector_open_descriptors{collector="web-1",type="web"} 12`,
		`proctor_collector_context_switches_total{collector="web-1",kind="voluntary",type="web"} 30`,
		`proctor_collector_pressure_seconds_total{collector="web-1",resource="cpu",share="some",type="web"} 2`,
		`proctor_collector_oom_kills_total{collector="web-1",type="web"} 1`,
		`proctor_group_memory_bytes{group="all"} 1.048576e+08`,
	} {
		if !strings.Contains(string(page), line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
	problems, err := promlint.New(bytes.NewReader(page)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestWhatACollectorUsesComesOverTheSocketAsItIs(t *testing.T) {
	sup, _, client := serve(t, config.Control{})
	if _, err := client.Start(t.Context(), "web-1", "", nil); err != nil {
		t.Fatal(err)
	}
	here, err := sup.Usage(t.Context(), true, false)
	if err != nil {
		t.Fatal(err)
	}
	there, err := client.Usage(t.Context(), true, false, "@all")
	if err != nil {
		t.Fatal(err)
	}
	for _, reply := range []*messages.UsageReply{&here, &there} {
		reply.Collectors[0].Usage.At, reply.Groups[0].Usage.At = time.Time{}, time.Time{}
		reply.Collectors[0].Usage.CPUOver, reply.Groups[0].Usage.CPUOver = 0, 0
	}
	if !reflect.DeepEqual(here, there) || here.Collectors[0].Usage.Descriptors != everything.Descriptors || here.Groups[0].Measured != 1 {
		t.Errorf("here %+v\nthere %+v", here, there)
	}
	if _, err := client.Usage(t.Context(), true, true, strings.Repeat("x", 1000)); !errors.Is(err, messages.InvalidConfig) {
		t.Errorf("%v", err)
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
