//go:build unix

package control_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/proctord/proctor/actors/control"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

var connections = flag.Int("connections", 600, "how many connect and do nothing")

const service = "http://proctor/proctor.v1.ProctorService/"

// plain is an HTTP client of the socket that knows nothing of the protocol.
func plain(t *testing.T, s *control.Server) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.Address())
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

func TestBadRequestsAreAnsweredWithErrorsAndTheSupervisorDoesNotNotice(t *testing.T) {
	sup, server, client := serve(t, config.Control{})
	if _, err := sup.Start(t.Context(), "web-1", "", nil); err != nil {
		t.Fatal(err)
	}
	before, err := sup.Status(t.Context(), "web-1")
	if err != nil {
		t.Fatal(err)
	}
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	for name, test := range map[string]struct {
		path, kind, body string
		header           http.Header
		status           int
		want             string
	}{
		"a method that there is not":  {path: "Explode", body: "{}", status: 404},
		"no JSON":                     {path: "GetStatus", body: "{", status: 400, want: "invalid_argument"},
		"a field that there is not":   {path: "GetStatus", body: `{"id":"web-1","colour":"red"}`, status: 200}, // one of a later version
		"a field of another type":     {path: "GetStatus", body: `{"id":{}}`, status: 400, want: "invalid_argument"},
		"a field that is missing":     {path: "GetStatus", body: `{}`, status: 404, want: "PROCESS_NOT_FOUND"},
		"an id out of the tree":       {path: "GetStatus", body: `{"id":"../../x"}`, status: 404, want: "PROCESS_NOT_FOUND"},
		"a start out of the tree":     {path: "StartCollector", body: `{"id":"../../x","type":"x"}`, status: 400, want: "INVALID_CONFIG"},
		"an id of 10 kB":              {path: "StartCollector", body: fmt.Sprintf(`{"id":%q,"type":"x"}`, strings.Repeat("x", 10_000)), status: 400, want: "INVALID_CONFIG"},
		"an id that is not UTF-8":     {path: "GetStatus", body: "{\"id\":\"\xff\xfe\"}", status: 400, want: "invalid_argument"},
		"JSON 10,000 levels deep":     {path: "GetStatus", body: deep, status: 404, want: "PROCESS_NOT_FOUND"}, /* in a field of a later version */
		"64 MB":                       {path: "GetStatus", body: `{"id":"` + strings.Repeat("x", 64<<20) + `"}`, status: 429, want: "resource_exhausted"},
		"100,000 bytes of header":     {path: "GetStatus", body: `{"id":"web-1"}`, header: http.Header{"X-Long": {strings.Repeat("x", 100_000)}}, status: 431},
		"another kind of content":     {path: "GetStatus", body: "id: web-1", kind: "application/yaml", status: 415},
		"a signal that there is not":  {path: "SignalCollector", body: `{"id":"web-1","signal":"SIGNONE"}`, status: 400, want: "INVALID_CONFIG"},
		"a configuration that cannot": {path: "StartCollector", body: `{"id":"new","config":{"env":{"A=B":"x"}}}`, status: 400, want: "INVALID_CONFIG"},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, service+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			q.Header = test.header.Clone()
			if q.Header == nil {
				q.Header = http.Header{}
			}
			q.Header.Set("Content-Type", "application/json")
			if test.kind != "" {
				q.Header.Set("Content-Type", test.kind)
			}
			r, err := plain(t, server).Do(q)
			if err != nil {
				if test.status == 429 || test.status == 431 {
					return // it was cut off while it still sent
				}
				t.Fatal(err)
			}
			defer r.Body.Close()
			body, _ := io.ReadAll(r.Body)
			if r.StatusCode != test.status || !bytes.Contains(body, []byte(test.want)) {
				t.Errorf("%s: %s, want %d with %s", r.Status, body, test.status, test.want)
			}
			if len(body) > 8<<10 {
				t.Errorf("the answer has %d bytes", len(body))
			}
		})
	}
	if after, err := client.Status(t.Context(), "web-1"); err != nil || after.PID != before.PID || after.State != messages.Running {
		t.Errorf("%+v, %v", after, err)
	}
}

func TestThoseWhoOnlyConnectOrStopHalfwayKeepNobodyOut(t *testing.T) {
	_, server, client := serve(t, config.Control{})
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			_ = c.Close()
		}
	}()
	connect := func(say string) net.Conn {
		c, err := net.Dial("unix", server.Address())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
		_, _ = io.WriteString(c, say)
		return c
	}
	first := connect("")
	for i := range *connections { // more than have a place
		switch i % 3 {
		case 0:
			connect("")
		case 1: // a header that goes on for ever
			connect("POST /proctor.v1.ProctorService/GetStatus HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		case 2: // half a request
			connect("POST /proctor.v1.ProctorService/GetStatus HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		}
		if i%100 == 0 {
			if _, err := client.List(t.Context()); err != nil {
				t.Fatalf("after %d others: %v", i, err)
			}
		}
	}
	_ = first.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the first of them still has its place: %v", err)
	}
}

func TestAFollowerThatNeverReadsCostsBoundedMemoryAndSlowsNobody(t *testing.T) {
	sup, server, client := serve(t, config.Control{})
	c, err := net.Dial("unix", server.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := "\x00\x00\x00\x00\x02{}" // an enveloped message of Connect's
	_, _ = fmt.Fprintf(c, "POST /proctor.v1.ProctorService/WatchEvents HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if _, err := sup.Start(t.Context(), "web-1", "", nil); err != nil {
		t.Fatal(err)
	}
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	churn := func(n int) {
		for range n {
			if _, err := client.Restart(t.Context(), "web-1", 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	churn(3000) // the supervisor's ring, and the follower's queue, are full
	before := used()
	churn(3000)
	if after := used(); after > before+4<<20 {
		t.Errorf("memory went from %d to %d bytes", before, after)
	}
}

func TestACallerThatWentAwayIsNotWaitedForAndWhatHeBeganGoesOn(t *testing.T) {
	_, _, client := serve(t, config.Control{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Start(ctx, "web-1", "", nil); err == nil {
		t.Error("there was an answer")
	}
	if _, err := client.List(t.Context()); err != nil {
		t.Error(err)
	}
}
