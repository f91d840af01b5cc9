//go:build !linux && !darwin && !freebsd && !windows

package platform

import (
	"fmt"
	"runtime"
)

func newHost(Options) (Host, error) {
	return nil, fmt.Errorf("supervising processes on %s: %w", runtime.GOOS, ErrNotSupported)
}
