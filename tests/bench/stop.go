//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/platform"
	"golang.org/x/sys/unix"
)

// family is a tree of five processes: four that do nothing, and their parent.
var family = []string{"/bin/sh", "-c", strings.Repeat(idler+" & ", familySize-1) + "wait"}

const (
	familySize = 5
	idler      = "sleep 3601"
)

// stops measures how long it takes until nothing is left of n trees, all of them
// killed at once, beside a loop that kills their groups and reaps what was in them:
// without cgroups and, where there are some, with a cgroup a tree, in turns.
func stops(modes []string) (rows []row) {
	theirs, ours := make([][]float64, len(modes)), make([][]float64, len(modes))
	for range *rounds {
		for i, groups := range modes {
			theirs[i] = append(theirs[i], bareStop(groups).Seconds())
			ours[i] = append(ours[i], stop(groups).Seconds())
			runtime.GC()
		}
	}
	for i, groups := range modes {
		b, o := median(theirs[i]), median(ours[i])
		rows = append(rows, row{
			what: with(groups, fmt.Sprintf("%d trees of %d processes stopped", *n, familySize)), bare: seconds(b), ours: seconds(o),
			ratio: fmt.Sprintf("%.2f", o/b), limit: "2", missed: o > 2*b,
		})
	}
	return rows
}

// bareStop is the loop. It is a subreaper, as whoever wants to know that nothing is
// left has to be.
func bareStop(groups string) time.Duration {
	must(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	defer func() { must(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)) }()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(err)
	var pids []int
	var leaves []string
	for i := range *n {
		sys := &syscall.SysProcAttr{Setsid: true}
		group := -1
		if groups != "" {
			leaf := groups + "/" + strconv.Itoa(i)
			must(os.Mkdir(leaf, 0o755))
			group, err = unix.Open(leaf, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			must(err)
			sys.UseCgroupFD, sys.CgroupFD = true, group
			leaves = append(leaves, leaf)
		}
		pid, err := syscall.ForkExec(family[0], family, &syscall.ProcAttr{
			Env: os.Environ(), Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}, Sys: sys,
		})
		must(err)
		if group >= 0 {
			must(unix.Close(group))
		}
		pids = append(pids, pid)
	}
	settle()
	began := time.Now()
	for _, pid := range pids {
		must(unix.Kill(-pid, unix.SIGKILL))
	}
	for reaped := 0; reaped < *n*familySize; {
		if _, err := unix.Wait4(-1, nil, unix.WALL, nil); err == nil {
			reaped++
		} else if err != unix.EINTR {
			must(err)
		}
	}
	for _, leaf := range leaves {
		must(unix.Rmdir(leaf))
	}
	took := time.Since(began)
	must(null.Close())
	return took
}

// stop is what a host needs for the same.
func stop(groups string) time.Duration {
	o := platform.Options{CgroupParent: groups}
	if groups == "" {
		o.CgroupParent = platform.NoCgroup
	}
	h, err := platform.New(o)
	must(err)
	spec := platform.Spec{Label: "family", Path: family[0], Args: family[1:], Env: os.Environ()}
	emptied := make(chan struct{}, *n)
	processes := make([]platform.Process, *n)
	for i := range processes {
		processes[i] = h.Start(spec, func(n platform.Notice) {
			switch n.Kind {
			case platform.SpawnFailed:
				panic(n.Err)
			case platform.Emptied:
				emptied <- struct{}{}
			}
		})
	}
	settle()
	began := time.Now()
	for _, p := range processes {
		p.Kill()
	}
	for range processes {
		<-emptied
	}
	took := time.Since(began)
	must(h.Close())
	return took
}

// settle waits until all families are complete: what is killed before it is
// executed has less to be undone.
func settle() {
	want := strings.ReplaceAll(idler, " ", "\x00") + "\x00"
	for {
		complete := 0
		all, err := os.ReadDir("/proc")
		must(err)
		for _, p := range all {
			if text, err := os.ReadFile("/proc/" + p.Name() + "/cmdline"); err == nil && string(text) == want {
				complete++
			}
		}
		time.Sleep(200 * time.Millisecond)
		if complete == *n*(familySize-1) {
			return
		}
	}
}

// bound measures what it costs to start processes as somebody else who may gain no
// privileges, which is the default, beside those who may, in turns.
func bound() []row {
	const among = 200
	if os.Geteuid() != 0 {
		return nil
	}
	as := func(gain config.Switch) float64 {
		cfg := sleepers(among)
		for id, c := range cfg.Collectors {
			c.User, c.NoNewPrivileges = "nobody", gain
			cfg.Collectors[id] = c
		}
		_, took, end := supervise("", cfg, nil)
		end()
		return took.Seconds()
	}
	var free, kept []float64
	for range *rounds {
		free, kept = append(free, as(config.Off)), append(kept, as(config.Unsaid))
	}
	f, k := median(free), median(kept)
	return []row{{fmt.Sprintf("%d started as nobody without new privileges, beside with them", among), seconds(f), seconds(k), fmt.Sprintf("%.2f", k/f), "1.3", k > 1.3*f}}
}
