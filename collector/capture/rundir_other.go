//go:build !linux

package capture

import "path/filepath"

// RunDir is a good place for the FIFOs of the store that belongs to a state
// directory: the same one each time, so that a program finds what one before it
// has left.
func RunDir(stateDir string) string { return filepath.Join(stateDir, "run") }
