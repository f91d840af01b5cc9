package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"strings"
	"time"

	"github.com/Microsoft/go-winio"
	"github.com/proctord/proctor/config"
	"golang.org/x/sys/windows"
)

func platformAddress() string { return `\\.\pipe\proctor` }

// listenLocal opens the named pipe at path. Its security descriptor lets in the
// supervisor's own user, administrators and the system, and nobody from another
// host: who gets in is admin. A second one with the name is refused by the system.
func listenLocal(path string, c config.Control) (net.Listener, func(), error) {
	if !strings.HasPrefix(strings.ToLower(path), `\\.\pipe\`) {
		return nil, nil, fmt.Errorf(`%s is no name of a pipe; write \\.\pipe\NAME`, path)
	}
	if c.SocketGroup != "" || c.SocketMode != "" {
		return nil, nil, errors.New("control.socket_mode and control.socket_group have no meaning for a named pipe; remove them")
	}
	if pid, there := owner(path); there {
		return nil, nil, inUse(path, pid)
	}
	me, err := user.Current()
	if err != nil {
		return nil, nil, err
	}
	l, err := winio.ListenPipe(path, &winio.PipeConfig{
		// Protected: not for the network; for SYSTEM, administrators and ourselves.
		SecurityDescriptor: "D:P(D;;GA;;;NU)(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;" + me.Uid + ")",
		InputBufferSize:    64 << 10,
		OutputBufferSize:   64 << 10,
	})
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return nil, nil, inUse(path, 0) // one that came at the same time, or that we may not ask
	}
	if err != nil {
		return nil, nil, err
	}
	return l, func() {}, nil
}

// owner looks whether somebody serves the pipe already, and who.
func owner(path string) (pid uint32, there bool) {
	patience := 200 * time.Millisecond
	conn, err := winio.DialPipe(path, &patience)
	if err != nil {
		return 0, errors.Is(err, winio.ErrTimeout) // it is there, and busy
	}
	defer conn.Close()
	if f, ok := conn.(interface{ Fd() uintptr }); ok {
		_ = windows.GetNamedPipeServerProcessId(windows.Handle(f.Fd()), &pid)
	}
	return pid, true
}

func inUse(path string, pid uint32) error {
	whose := ""
	if pid != 0 {
		whose = fmt.Sprintf("; its pid is %d", pid)
	}
	return fmt.Errorf("a supervisor is commanded at %s already%s; end it with proctor shutdown, or name another place with --socket", path, whose)
}

func dialLocal(ctx context.Context, path string) (net.Conn, error) {
	return winio.DialPipeContext(ctx, path)
}

// peerOf is the supervisor's own user: the pipe lets in nobody else but those who
// may do the same.
func peerOf(net.Conn) (peer, error) { return peer{known: true, local: true}, nil }
