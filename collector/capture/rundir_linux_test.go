package capture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheDirectoryOfFIFOsIsTheSameEachTimeAndNobodyElses(t *testing.T) {
	state := t.TempDir()
	dir := RunDir(state)
	if again := RunDir(state); again != dir {
		t.Errorf("%s, then %s", dir, again)
	}
	if strings.HasPrefix(dir, state) {
		t.Skip("there is no file system in memory to have it in")
	}
	defer os.Remove(dir)
	if other := RunDir(t.TempDir()); other == dir {
		t.Error("two state directories share it")
	} else {
		defer os.Remove(other)
	}
	for name, spoil := range map[string]func() error{
		"others may write there": func() error { return os.Chmod(dir, 0o777) },
		"it is a link": func() error {
			return errorsOf(os.Remove(dir), os.Symlink(state, dir))
		},
		"it is a file": func() error { return errorsOf(os.Remove(dir), os.WriteFile(dir, nil, 0o700)) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if now := RunDir(state); now == dir {
			t.Errorf("it is used though %s", name)
		}
	}
	// A store that is closed leaves nothing there.
	_ = os.Remove(dir)
	dir = RunDir(state)
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		left, _ := filepath.Glob(filepath.Join(dir, "*"))
		t.Errorf("left: %v, %v", left, err)
	}
}

func errorsOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}
