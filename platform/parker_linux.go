package platform

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A threadParker waits in the kernel instead of in Go's scheduler, which wakes a
// goroutine that is tied to a thread by way of another thread: that makes the
// replacement of a crashed process take half as long again.
type threadParker struct {
	released atomic.Uint32
}

const (
	futexWaitPrivate = 0 | 128
	futexWakePrivate = 1 | 128
)

func (p *threadParker) park() {
	for !p.released.CompareAndSwap(1, 0) {
		// Goes to sleep only if the value is still 0.
		unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&p.released)), futexWaitPrivate, 0, 0, 0, 0)
	}
}

func (p *threadParker) release() {
	p.released.Store(1)
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&p.released)), futexWakePrivate, 1, 0, 0, 0)
}
