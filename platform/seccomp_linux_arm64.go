package platform

import "golang.org/x/sys/unix"

const (
	architecture   = unix.AUDIT_ARCH_AARCH64
	foreignNumbers = 0x8000_0000 // and above: none
)

// The calls that only this architecture has.
var administrativeHere, ordinaryHere []uint32
