//go:build !unix && !windows

package platform

import (
	"fmt"
	"strconv"
)

func signalName(s Signal) string { return "signal " + strconv.Itoa(int(s)) }

func parseSignal(name string) (Signal, error) {
	return 0, fmt.Errorf("signal %q: %w", name, ErrNotSupported)
}
