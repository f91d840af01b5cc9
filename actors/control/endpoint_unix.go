//go:build unix

package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/platform"
	"golang.org/x/sys/unix"
)

// platformAddress is in /run for root, and in the user's own runtime directory
// for others.
func platformAddress() string {
	uid := os.Geteuid()
	switch {
	case uid == 0 && runtime.GOOS == "linux":
		return "/run/proctor/proctor.sock"
	case uid == 0:
		return "/var/run/proctor/proctor.sock"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "proctor", "proctor.sock")
	}
	return filepath.Join(os.TempDir(), "proctor-"+strconv.Itoa(uid), "proctor.sock")
}

// maxPath is how long the path of a socket can be: the system has a field of a
// fixed size for it, with a NUL at its end.
var maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// listenLocal opens the socket at path. A socket that nobody listens at any more
// is replaced; who listens holds a lock, so that of two who start at once only one
// does.
func listenLocal(path string, c config.Control) (_ net.Listener, release func(), err error) {
	if passed, err := activation.Listeners(); err != nil {
		return nil, nil, fmt.Errorf("the sockets that this program was started with cannot be used: %w", err)
	} else if len(passed) > 0 {
		return activated(passed)
	}
	if len(path) > maxPath {
		return nil, nil, fmt.Errorf("the path of the socket is %d bytes long, and the system allows %d: %s; name a shorter one with --socket or PROCTOR_SOCKET", len(path), maxPath, path)
	}
	if err := makeRuntimeDir(filepath.Dir(path)); err != nil {
		return nil, nil, err
	}
	unlock, err := platform.LockFile(path + ".lock")
	var held *platform.LockedError
	if errors.As(err, &held) {
		pid := "unknown"
		if held.PID != 0 {
			pid = strconv.Itoa(held.PID)
		}
		return nil, nil, fmt.Errorf("a supervisor is commanded at %s already, its pid is %s; end it with proctor shutdown, or name another place with --socket", path, pid)
	} else if err != nil {
		return nil, nil, fmt.Errorf("the lock beside the socket cannot be had: %w; name another place with --socket", err)
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, nil, err
	case info.Mode()&os.ModeSocket == 0:
		return nil, nil, fmt.Errorf("%s is there already, and is no socket; remove it, or name another place with --socket", path)
	default: // whoever listened has gone, or the lock would be his
		if err := os.Remove(path); err != nil {
			return nil, nil, err
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	l.SetUnlinkOnClose(false) // release does, while the lock is held
	// Until this is done somebody may connect whom the mode keeps out. He is told
	// that he may do nothing, by his user id.
	err = os.Chmod(path, c.Mode())
	if err == nil && c.SocketGroup != "" {
		var gid int
		if gid, err = groupID(c.SocketGroup); err == nil {
			err = os.Chown(path, -1, gid)
		}
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(path)
		return nil, nil, fmt.Errorf("the socket's mode and group cannot be set: %w", err)
	}
	made, _ := os.Lstat(path)
	return l, func() {
		if now, err := os.Lstat(path); err == nil && os.SameFile(made, now) {
			_ = os.Remove(path)
		}
		unlock()
	}, nil
}

// activated is the socket that whoever started this program has opened for it.
func activated(passed []net.Listener) (net.Listener, func(), error) {
	if len(passed) != 1 || passed[0] == nil || passed[0].Addr().Network() != "unix" {
		for _, l := range passed {
			if l != nil {
				_ = l.Close()
			}
		}
		return nil, nil, errors.New("this program was started with sockets (LISTEN_FDS) that are not one listening Unix socket; ListenStream= needs one path")
	}
	passed[0].(*net.UnixListener).SetUnlinkOnClose(false)
	return passed[0], func() {}, nil
}

// makeRuntimeDir makes the directory of the socket, if need be, for its owner
// alone; root's may be entered by others, as the socket's mode is what counts.
func makeRuntimeDir(dir string) error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("the directory of the socket cannot be made: %w; name another place with --socket", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if info.Mode().Perm()&0o022 != 0 && info.Mode()&os.ModeSticky == 0 || owner != 0 && int(owner) != os.Geteuid() {
		return fmt.Errorf("others may replace the socket in %s: it belongs to uid %d and has mode %v; name another place with --socket", dir, owner, info.Mode().Perm())
	}
	return nil
}

func groupID(name string) (int, error) {
	if gid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(gid), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("control.socket_group: %w", err)
	}
	return strconv.Atoi(g.Gid)
}

func dialLocal(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// peerOf is who is at the other end, from the kernel.
func peerOf(conn net.Conn) (peer, error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return peer{}, errors.New("it is no Unix socket")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var p peer
	if cerr := raw.Control(func(fd uintptr) { p.uid, err = peerUID(int(fd)) }); cerr != nil {
		return peer{}, cerr
	}
	p.known = err == nil
	return p, err
}
