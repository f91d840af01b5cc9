package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"strings"

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
		return nil, nil, fmt.Errorf("a supervisor is commanded at %s already; end it with proctor shutdown, or name another place with --socket", path)
	}
	if err != nil {
		return nil, nil, err
	}
	return l, func() {}, nil
}

func dialLocal(ctx context.Context, path string) (net.Conn, error) {
	return winio.DialPipeContext(ctx, path)
}

// peerOf is the supervisor's own user: the pipe lets in nobody else but those who
// may do the same.
func peerOf(net.Conn) (peer, error) { return peer{known: true, local: true}, nil }
