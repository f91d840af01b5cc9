//go:build unix && !linux

package cli_test

import (
	"fmt"
	"os"
)

// The scripts about limits are for Linux: what counts against one, and what it
// is called, differs from system to system.
func limited([]string) {
	fmt.Fprintln(os.Stderr, "limited: for Linux only")
	os.Exit(2)
}

func stranger() string { return "65534" }
