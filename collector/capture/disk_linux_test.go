package capture

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// smallDisk is a file system with room for few bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk cannot be mounted (that needs root): %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// notices gathers what a store says.
type notices struct {
	mu  sync.Mutex
	all []Notice
}

func (n *notices) add(one Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, one)
}

func (n *notices) last() (Notice, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.all) == 0 {
		return Notice{}, 0
	}
	return n.all[len(n.all)-1], len(n.all)
}

func TestAFullDiskIsNotInTheWayAndEveryGapIsMarked(t *testing.T) {
	dir := smallDisk(t, "1m")
	s, _ := open(t)
	log := filepath.Join(dir, "logs", "web.log")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 900<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	const count = 200_000 // some 20 MB, of which less than 5 find room
	var told notices
	r := s.Begin("web", 1, Settings{Path: log, MaxFiles: 1000, Compress: None, Together: true, Notify: told.add})
	if err := start(t, r, "lines", "200000", "40", "0").Wait(); err != nil { // it does not notice
		t.Fatal(err)
	}
	if e := finish(t, r); e.Stored {
		t.Error("it is said to be stored")
	}
	if n, _ := told.last(); n.Err == nil || !strings.Contains(n.Err.Error(), "no space") {
		t.Errorf("told %+v", n)
	}
	// It heals by itself, as soon as there is room.
	if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size=100m"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "word that it can be stored again", func() bool {
		n, count := told.last()
		return count > 1 && n.Err == nil && n.Gap.Lines > 0
	})
	r = s.Begin("web", 2, Settings{Path: log, MaxFiles: 1000, Compress: None, Together: true})
	finish(t, r)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	gaps := check(t, content(t, log), count)
	if n, _ := told.last(); n.Gap.Lines != gaps || gaps == 0 {
		t.Errorf("%d lines are missing, told %+v", gaps, n)
	}
}

func TestALosslessWriterWaitsForAFullDisk(t *testing.T) {
	dir := smallDisk(t, "1m")
	s, _ := open(t)
	log := filepath.Join(dir, "logs", "web.log")
	const count = 100_000
	var told notices
	r := s.Begin("web", 1, Settings{Path: log, MaxFiles: 1000, Compress: None, Together: true, Lossless: true, Notify: told.add})
	cmd := start(t, r, "lines", "100000", "40", "0")
	eventually(t, "word about the disk", func() bool { _, n := told.last(); return n > 0 })
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
		t.Fatal("the writer did not wait")
	default:
	}
	if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size=100m"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	finish(t, r)
	if gaps := check(t, content(t, log), count); gaps != 0 {
		t.Errorf("%d lines are missing", gaps)
	}
}

func TestADirectoryThatCannotBeWrittenHeals(t *testing.T) {
	s, log := open(t)
	dir := filepath.Dir(log)
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file in its place stops root, too
		t.Fatal(err)
	}
	var told notices
	r := s.Begin("web", 1, Settings{Path: log, Notify: told.add})
	if err := start(t, r, "lines", "1000", "40", "0").Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "word", func() bool { n, _ := told.last(); return n.Err != nil })
	os.Remove(dir)
	eventually(t, "word that it heals", func() bool { n, _ := told.last(); return n.Err == nil })
	finish(t, r)
	if gaps := check(t, content(t, log), 1000); gaps != 0 {
		t.Errorf("%d lines are missing", gaps)
	}
}
