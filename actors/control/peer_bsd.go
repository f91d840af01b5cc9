//go:build darwin || freebsd

package control

import "golang.org/x/sys/unix"

func peerUID(fd int) (uint32, error) {
	const solLocal = 0 // SOL_LOCAL
	cred, err := unix.GetsockoptXucred(fd, solLocal, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
