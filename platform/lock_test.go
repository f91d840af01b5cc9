package platform

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOnlyOneHoldsALockAndTheOthersAreToldWho(t *testing.T) {
	dir, err := os.MkdirTemp("", "lock")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "made", "lock")
	release, err := LockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var held *LockedError
	if _, err := LockFile(path); !errors.As(err, &held) || held.PID != os.Getpid() || held.Path != path {
		t.Error(err)
	}
	release()
	if release, err = LockFile(path); err != nil {
		t.Fatal(err)
	}
	release()
}
