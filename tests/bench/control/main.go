//go:build linux

// Control measures what commands from outside cost: over the socket, and as
// whole processes of the command line. Where there is something to compare with,
// both are measured in the same run, in turn:
//
//	go run ./tests/bench/control
//
// Limits that are missed are marked, and the exit code is 1 then.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"connectrpc.com/connect"
	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/actors/control"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform/platformtest"
	"google.golang.org/protobuf/types/known/emptypb"
)

var (
	n       = flag.Int("n", 1000, "collectors")
	calls   = flag.Int("calls", 3000, "calls of each kind")
	rounds  = flag.Int("rounds", 5, "rounds of what takes long")
	seconds = flag.Int("seconds", 5, "how long to watch followers")
)

// followKey makes this program one that follows events at the socket it names.
const followKey = "PROCTOR_BENCH_FOLLOW"

type row struct {
	what, beside, ours, ratio, limit string
	missed                           bool
}

func main() {
	flag.Parse()
	if socket := os.Getenv(followKey); socket != "" {
		follow(socket)
		return
	}
	dir, err := os.MkdirTemp("", "proctor-bench")
	must(err)
	var rows []row
	for _, measure := range []func(dir string) []row{overTheSocket, followers, processes, restarts} {
		rows = append(rows, measure(dir)...)
	}
	must(os.RemoveAll(dir))
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "measured\tbeside\tproctor\tratio\tlimit\t")
	missed := false
	for _, r := range rows {
		mark := ""
		if r.missed {
			mark, missed = "MISSED", true
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.what, r.beside, r.ours, r.ratio, r.limit, mark)
	}
	must(w.Flush())
	if missed {
		os.Exit(1)
	}
}

// serve is a supervisor of n collectors that exist in memory only, with a server
// in front of it.
func serve(dir string) (sup *actors.Supervisor, socket string, stop func()) {
	cfg := config.Config{Collectors: map[string]config.Collector{}}
	for i := range *n {
		cfg.Collectors["web-"+strconv.Itoa(i)] = config.Collector{BinaryPath: "/bin/web", Autostart: true}
	}
	host := platformtest.New(nil)
	sup, err := actors.New(cfg, actors.WithHost(host))
	must(err)
	server, err := control.Open(config.Control{Socket: filepath.Join(dir, "s")})
	must(err)
	server.Serve(sup)
	return sup, server.Address(), func() {
		must(server.Close())
		must(sup.Close())
		must(host.Close())
	}
}

// bare is a server of one empty call, and its client.
func bare(dir string) (call func() error, stop func()) {
	mux := http.NewServeMux()
	mux.Handle("/bare/Call", connect.NewUnaryHandlerSimple("/bare/Call", func(context.Context, *emptypb.Empty) (*emptypb.Empty, error) { return &emptypb.Empty{}, nil }))
	l, err := net.Listen("unix", filepath.Join(dir, "bare"))
	must(err)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	client := connect.NewClient[emptypb.Empty, emptypb.Empty](&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", l.Addr().String())
		},
	}}, "http://bare/bare/Call")
	return func() error {
		_, err := client.CallUnary(context.Background(), connect.NewRequest(&emptypb.Empty{}))
		return err
	}, func() { must(server.Close()) }
}

func overTheSocket(dir string) []row {
	_, socket, stop := serve(dir)
	defer stop()
	empty, stopBare := bare(dir)
	defer stopBare()
	ctx := context.Background()
	client, err := control.Dial(ctx, socket)
	must(err)
	defer client.Close()
	timed := func(call func() error) time.Duration {
		begin := time.Now()
		must(call())
		return time.Since(begin)
	}
	var bares, statuses, lists []time.Duration
	for range *calls {
		bares = append(bares, timed(empty))
		statuses = append(statuses, timed(func() error { _, err := client.Status(ctx, "web-1"); return err }))
	}
	for range *calls / 20 {
		lists = append(lists, timed(func() error { _, err := client.List(ctx); return err }))
	}
	b, s, l := median(bares), median(statuses), median(lists)
	return []row{
		{"status of one over the socket, median", b.String(), s.String(), fmt.Sprintf("%.2f", float64(s)/float64(b)), "3", s > 3*b},
		{fmt.Sprintf("list of %d, median", *n), "", l.String(), "", "5 ms", l > 5*time.Millisecond},
	}
}

func followers(dir string) []row {
	sup, socket, stop := serve(dir)
	defer stop()
	ctx := messages.WithOrigin(context.Background(), messages.Origin{By: "bench"})
	// churn makes a thousand events a second, and returns what that costs.
	churn := func() time.Duration {
		before := cpu()
		ticks := time.NewTicker(10 * time.Millisecond)
		defer ticks.Stop()
		for range *seconds * 100 {
			for range 10 {
				must(sup.Reset(ctx, "web-1"))
			}
			<-ticks.C
		}
		return cpu() - before
	}
	alone := churn()
	self, err := os.Executable()
	must(err)
	child := exec.Command(self)
	child.Env = append(os.Environ(), followKey+"="+socket)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	must(err)
	must(child.Start())
	_, err = out.Read(make([]byte, 1)) // all of them follow
	must(err)
	followed := churn()
	must(child.Process.Kill())
	_ = child.Wait()
	share := 100 * float64(followed-alone) / float64(time.Duration(*seconds)*time.Second)
	return []row{{"100 followers of 1,000 events a second", "", fmt.Sprintf("%.1f %% of a core", share), "", "10 %", share > 10}}
}

func follow(socket string) {
	ctx := context.Background()
	for range 100 {
		client, err := control.Dial(ctx, socket)
		must(err)
		events, err := client.Events(ctx)
		must(err)
		go func() {
			for range events {
			}
		}()
	}
	_, _ = os.Stdout.WriteString("x")
	select {}
}

// program is the program itself, with n collectors that sleep.
func program(dir string) (proctor func(args ...string) time.Duration, stop func()) {
	binary := filepath.Join(dir, "proctor")
	out, err := exec.Command("go", "build", "-o", binary, "./cmd/proctor").CombinedOutput()
	if err != nil {
		must(fmt.Errorf("%w: %s", err, out))
	}
	var file strings.Builder
	file.WriteString("output.target = \"discard\"\n")
	for i := range *n {
		fmt.Fprintf(&file, "[collectors.web-%d]\nbinary_path = \"/bin/sleep\"\nargs = [\"3600\"]\n", i)
	}
	must(os.WriteFile(filepath.Join(dir, "proctor.toml"), []byte(file.String()), 0o600))
	env := append(os.Environ(), "PROCTOR_SOCKET="+filepath.Join(dir, "real"), "PROCTOR_STATE_DIR="+filepath.Join(dir, "state"))
	run := exec.Command(binary, "run", "-c", filepath.Join(dir, "proctor.toml"), "--log-level", "error")
	run.Env, run.Stderr = env, os.Stderr
	must(run.Start())
	proctor = func(args ...string) time.Duration {
		c := exec.Command(binary, args...)
		c.Env, c.Stderr = env, os.Stderr
		begin := time.Now()
		must(c.Run())
		return time.Since(begin)
	}
	for i := 0; ; i++ {
		c := exec.Command(binary, "wait", "--all", "--for", "running", "--timeout", "60s")
		c.Env = env
		if c.Run() == nil {
			break
		}
		if i == 1000 {
			must(fmt.Errorf("it does not come up"))
		}
	}
	return proctor, func() {
		_ = run.Process.Signal(syscall.SIGTERM)
		_ = run.Wait()
	}
}

func processes(dir string) []row {
	all := *n
	*n = 10
	defer func() { *n = all }()
	proctor, stop := program(dir)
	defer stop()
	var versions, statuses []time.Duration
	for range 10 * *rounds {
		versions = append(versions, proctor("version"))
		statuses = append(statuses, proctor("status"))
	}
	v, s := median(versions), median(statuses)
	return []row{{"proctor status beside proctor version", v.String(), s.String(), "+" + (s - v).String(), "+25 ms", s-v > 25*time.Millisecond}}
}

func restarts(dir string) []row {
	proctor, stop := program(dir)
	defer stop()
	var spawns, ours []time.Duration
	for range *rounds {
		spawns = append(spawns, spawn(*n))
		ours = append(ours, proctor("restart", "--all", "-q"))
	}
	b, o := median(spawns), median(ours)
	return []row{{fmt.Sprintf("restart --all of %d, beside their bare spawns", *n), b.String(), o.String(), fmt.Sprintf("%.2f", float64(o)/float64(b)), "2", o > 2*b}}
}

// spawn starts processes one after the other, as fast as that can be done.
func spawn(n int) time.Duration {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(err)
	defer null.Close()
	begin := time.Now()
	var pids []int
	for range n {
		pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "3600"}, &syscall.ProcAttr{
			Env: os.Environ(), Files: []uintptr{null.Fd(), null.Fd(), null.Fd()},
		})
		must(err)
		pids = append(pids, pid)
	}
	took := time.Since(begin)
	var all sync.WaitGroup
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		all.Go(func() { _, _ = syscall.Wait4(pid, nil, 0, nil) })
	}
	all.Wait()
	return took
}

func cpu() time.Duration {
	var u syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func must(err error) {
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
}
