//go:build linux && !amd64 && !arm64

package platform

import (
	"fmt"
	"runtime"
)

func filterCalls(string) error {
	return fmt.Errorf("profiles of system calls are for amd64 and arm64, and this is %s", runtime.GOARCH)
}
