//go:build unix

package toml_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/proctord/proctor/config/toml"
)

// Opening a FIFO that nobody writes to would wait for ever.
func TestAFIFOIsNotOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := toml.ReadFile(path); err == nil || err.Error() != path+": it is a named pipe, not a file" {
		t.Errorf("%v", err)
	}
}
