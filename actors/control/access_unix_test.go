//go:build unix

package control_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/actors/control"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform/platformtest"
)

// The test binary impersonates a client of another user.
const dialKey = "CONTROL_TEST_DIAL"

// And a supervisor that is started with its socket open already.
const activatedKey = "CONTROL_TEST_ACTIVATED"

// serveActivated serves until its standard input is closed.
func serveActivated() {
	server, err := control.Open(config.Control{})
	if err != nil {
		fmt.Println(err)
		return
	}
	host := platformtest.New(nil)
	sup, err := actors.New(config.Config{}, actors.WithHost(host))
	if err != nil {
		fmt.Println(err)
		return
	}
	server.Serve(sup)
	_, _ = io.Copy(io.Discard, os.Stdin)
	_, _, _ = server.Close(), sup.Close(), host.Close()
}

func TestASocketThatWhoeverStartedItHasOpenedIsServed(t *testing.T) {
	path := filepath.Join(anybody(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, self)
	cmd.Env = append(os.Environ(), activatedKey+"=1", "LISTEN_FDS=1", "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{socket} // descriptor 3
	var said strings.Builder
	cmd.Stdout = &said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = socket.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, err := control.Dial(ctx, path) // the socket is there before anybody serves it
	if err == nil {
		defer client.Close()
		_, err = client.Info(ctx)
	}
	if err != nil {
		t.Error(err)
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil || said.Len() > 0 {
		t.Errorf("%v, %s", err, said.String())
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the socket belongs to whoever opened it: %v", err)
	}
}

func TestMain(m *testing.M) {
	if path := os.Getenv(dialKey); path != "" {
		impersonate(path)
		os.Exit(0)
	}
	if os.Getenv(activatedKey) != "" {
		serveActivated()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// impersonate tries a command of each role, and says what came of it.
func impersonate(path string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := control.Dial(ctx, path)
	if err != nil {
		fmt.Println("dial:", outcome(err))
		return
	}
	_, err = client.List(ctx)
	fmt.Println("list:", outcome(err))
	fmt.Println("reset:", outcome(client.Reset(ctx, "web-1")))
	_, err = client.Start(ctx, "own", "", &config.Collector{BinaryPath: "/bin/sh"})
	fmt.Println("start:", outcome(err))
	_, err = client.Events(ctx)
	fmt.Println("events:", outcome(err))
	for _, err := range client.Logs(ctx, nil, capture.Query{}) {
		fmt.Println("logs:", outcome(err)) // there are none in this test, which only who may look is told
	}
}

func outcome(err error) string {
	var e *messages.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e):
		return e.Kind.Code()
	}
	return err.Error()
}

// anybody is a directory that every user can look into.
func anybody(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "proctor-control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// as is what another user's client hears.
func as(t *testing.T, uid uint32, dir, socket string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "client") // Go keeps the original where nobody else may look
	if err := os.WriteFile(binary, data, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), dialKey+"="+socket, "GORACE=atexit_sleep_ms=0")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestAnotherUserMayDoWhatHisRoleSaysAndNothingElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	const stranger = 65534
	me := fmt.Sprintf("uid:%d", stranger)
	for name, test := range map[string]struct {
		mode  string
		roles config.Roles
		want  string
	}{
		"the socket keeps him out":  {"0600", config.Roles{Admin: []string{me}}, "dial: PERMISSION_DENIED"},
		"nobody is anything":        {"0666", config.Roles{}, "list: PERMISSION_DENIED reset: PERMISSION_DENIED start: PERMISSION_DENIED events: PERMISSION_DENIED logs: PERMISSION_DENIED"},
		"somebody else is":          {"0666", config.Roles{Admin: []string{"uid:12345", "cert:65534", "user:" + me}}, "list: PERMISSION_DENIED reset: PERMISSION_DENIED start: PERMISSION_DENIED events: PERMISSION_DENIED logs: PERMISSION_DENIED"},
		"a viewer looks":            {"0666", config.Roles{Viewer: []string{me}}, "list: ok reset: PERMISSION_DENIED start: PERMISSION_DENIED events: ok logs: INVALID_STATE"},
		"an operator works":         {"0666", config.Roles{Operator: []string{me}}, "list: ok reset: ok start: PERMISSION_DENIED events: ok logs: INVALID_STATE"},
		"an administrator may all":  {"0666", config.Roles{Admin: []string{me}}, "list: ok reset: ok start: ok events: ok logs: INVALID_STATE"},
		"the highest role is taken": {"0666", config.Roles{Viewer: []string{me}, Operator: []string{me}}, "list: ok reset: ok start: PERMISSION_DENIED events: ok logs: INVALID_STATE"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := anybody(t)
			socket := filepath.Join(dir, "s")
			sup, _, _ := serve(t, config.Control{Socket: socket, SocketMode: test.mode, Roles: test.roles})
			got := strings.Join(strings.Fields(as(t, stranger, dir, socket)), " ")
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("he hears %q, want %q", got, test.want)
			}
			if test.mode == "0600" {
				return
			}
			// Every denial and every change is told, with whose it was.
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			events, err := sup.EventsSince(ctx, messages.Since{Seq: 1})
			if err != nil {
				t.Fatal(err)
			}
			if err := sup.Reset(messages.WithOrigin(ctx, messages.Origin{By: "the end"}), "web-1"); err != nil {
				t.Fatal(err)
			}
			denied, done := 0, 0
			for e := range events {
				if e.Origin.By == "the end" {
					break
				}
				if a, ok := e.Fact.(messages.Audited); ok {
					if !strings.HasPrefix(e.Origin.By, "uid 65534") || e.Origin.Correlation == "" {
						t.Errorf("%+v comes from %+v", a, e.Origin)
					}
					if a.Denied {
						denied++
					} else {
						done++
					}
				}
			}
			if want := strings.Count(test.want, "PERMISSION_DENIED"); denied != want {
				t.Errorf("%d denials are told, want %d", denied, want)
			}
			if changes := strings.Count(test.want, "reset: ok") + strings.Count(test.want, "start: ok"); done != changes {
				t.Errorf("%d changes are told, want %d", done, changes)
			}
		})
	}
}
