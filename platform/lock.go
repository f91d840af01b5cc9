package platform

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A LockedError says that another program, or this one, holds a lock.
type LockedError struct {
	Path string
	PID  int // of the program that holds it; 0: it is not known
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return e.Path + " is held by another program"
	}
	return fmt.Sprintf("%s is held by the program with pid %d", e.Path, e.PID)
}

// LockFile makes a file that nobody else can lock until release is called, or
// this program has ended, however that was. It holds this program's pid, and stays
// when it is released: to remove it would be a race with the next owner. The error
// is a *LockedError where somebody holds it. On a file system that has no locks
// everybody gets one.
func LockFile(path string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	held, err := lock(f)
	if held {
		text := make([]byte, 32)
		n, _ := f.ReadAt(text, 0)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text[:n])))
		err = &LockedError{Path: path, PID: pid}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
