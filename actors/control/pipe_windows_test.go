package control_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/actors/control"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform/platformtest"
)

func TestCommandsComeThroughANamedPipe(t *testing.T) {
	name := fmt.Sprintf(`\\.\pipe\proctor-test-%d`, os.Getpid())
	if _, err := control.Dial(t.Context(), name); !errors.Is(err, actors.ErrNoSupervisor) {
		t.Errorf("nobody is there: %v", err)
	}
	server, err := control.Open(config.Control{Socket: name})
	if err != nil {
		t.Fatal(err)
	}
	host := platformtest.New(nil)
	sup, err := actors.New(config.Config{Collectors: map[string]config.Collector{"web-1": {BinaryPath: `C:\web.exe`}}}, actors.WithHost(host))
	if err != nil {
		t.Fatal(err)
	}
	server.Serve(sup)
	defer func() { _, _, _ = server.Close(), sup.Close(), host.Close() }()
	client, err := control.Dial(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if pid, err := client.Start(t.Context(), "web-1", "", nil); err != nil || pid == 0 {
		t.Errorf("%d, %v", pid, err)
	}
	if s, err := client.Status(t.Context(), "web-1"); err != nil || s.State != messages.Running {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := client.Status(t.Context(), "nobody"); !errors.Is(err, messages.ProcessNotFound) {
		t.Error(err)
	}
	if _, err := control.Open(config.Control{Socket: name}); err == nil {
		t.Error("two supervisors are commanded at one pipe")
	}
}
