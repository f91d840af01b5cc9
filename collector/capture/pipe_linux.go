package capture

import "golang.org/x/sys/unix"

// widen gives a process that writes much a larger buffer. It may be refused.
func (p *pipe) widen() {
	if !p.wide {
		p.wide = true
		_, _ = unix.FcntlInt(uintptr(p.fd), unix.F_SETPIPE_SZ, wideBuffer)
	}
}
