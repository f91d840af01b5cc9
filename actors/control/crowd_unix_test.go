//go:build unix

package control_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/actors/control"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform/platformtest"
)

var crowdTime = flag.Duration("crowd", 2*time.Second, "how long a hundred clients give commands")

// A hundred clients give whatever commands they like. Each gets one answer to
// each, and the events tell the same story: every change that was answered is an
// event, by the correlation id that the client has given it, with that result.
func TestAHundredClientsAtOnceAreAnsweredAsTheEventsTell(t *testing.T) {
	const clients, collectors = 100, 10
	cfg := config.Config{Collectors: map[string]config.Collector{}}
	for i := range collectors {
		cfg.Collectors[fmt.Sprintf("web-%d", i)] = config.Collector{BinaryPath: "/bin/web"}
	}
	host := platformtest.New(nil)
	sup, err := actors.New(cfg, actors.WithHost(host))
	if err != nil {
		t.Fatal(err)
	}
	server, err := control.Open(config.Control{Socket: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	server.Serve(sup)
	defer func() { _, _, _ = server.Close(), sup.Close(), host.Close() }()

	// What the events tell: by correlation id, how it went.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := sup.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	followed := make(chan error, 1)
	go func() {
		for e := range events {
			switch f := e.Fact.(type) {
			case messages.Audited:
				if _, twice := told[e.Origin.Correlation]; twice {
					followed <- fmt.Errorf("%s was answered twice", e.Origin.Correlation)
					return
				}
				told[e.Origin.Correlation] = "ok"
				if f.Err != nil {
					told[e.Origin.Correlation] = f.Err.Kind.Code()
				}
			case messages.Lost:
				followed <- fmt.Errorf("%d events were lost", f.Count)
				return
			case messages.ShuttingDown:
				followed <- nil
				return
			}
		}
	}()

	var mu sync.Mutex // between the clients
	answered := map[string]string{}
	var all sync.WaitGroup
	end := time.Now().Add(*crowdTime)
	for n := range clients {
		all.Go(func() {
			client, err := control.Dial(t.Context(), server.Address())
			if err != nil {
				t.Error(err)
				return
			}
			defer client.Close()
			random := rand.New(rand.NewPCG(uint64(n), 1))
			for i := 0; time.Now().Before(end); i++ {
				id := fmt.Sprintf("web-%d", random.IntN(collectors+1)) // one of them is not known
				name := fmt.Sprintf("%d/%d", n, i)
				ctx := messages.WithOrigin(t.Context(), messages.Origin{Correlation: name})
				changes := true
				switch random.IntN(9) {
				case 0:
					_, err = client.Start(ctx, id, "", nil)
				case 1:
					_, err = client.Stop(ctx, id, 0)
				case 2:
					_, err = client.Kill(ctx, id)
				case 3:
					_, err = client.Restart(ctx, id, 0)
				case 4:
					err = client.Pause(ctx, id)
				case 5:
					err = client.Resume(ctx, id)
				case 6:
					err = client.Signal(ctx, id, "SIGUSR1", false)
				case 7:
					err = client.Reset(ctx, id)
				default:
					changes = false
					_, err = client.List(ctx)
				}
				result := "ok"
				var e *messages.Error
				if errors.As(err, &e) {
					result = e.Kind.Code()
				} else if err != nil {
					t.Error(err)
				}
				if changes {
					mu.Lock()
					answered[name] = result
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	if _, err := sup.Shutdown(t.Context(), 0); err != nil {
		t.Error(err)
	}
	if err := <-followed; err != nil {
		t.Fatal(err)
	}
	if len(answered) < clients || len(told) != len(answered) {
		t.Errorf("%d answers, %d are told", len(answered), len(told))
	}
	for name, result := range answered {
		if told[name] != result {
			t.Errorf("%s was answered %q, and is told as %q", name, result, told[name])
		}
	}
	for _, s := range mustList(t, sup) {
		if host.Most(s.ID) > 1 {
			t.Errorf("%s had %d processes at once", s.ID, host.Most(s.ID))
		}
	}
}

func mustList(t *testing.T, sup *actors.Supervisor) []messages.Status {
	list, err := sup.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}
