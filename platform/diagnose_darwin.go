package platform

import "golang.org/x/sys/unix"

// errBadArch is what exec says of a program for another processor.
const errBadArch = unix.EBADARCH
