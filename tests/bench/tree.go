//go:build linux

package main

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/config"
	"golang.org/x/sys/unix"
)

// tree measures what groups and their order cost: beside the same collectors
// without them, in turns.
func tree() (rows []row) {
	var flat, deep []float64
	for range *rounds {
		_, took, end := supervise("", sleepers(*n), nil)
		end()
		flat = append(flat, took.Seconds())
		_, took, end = supervise("", levels(sleepers(*n), 4), nil)
		end()
		deep = append(deep, took.Seconds())
		runtime.GC()
	}
	f, d := median(flat), median(deep)
	rows = append(rows, row{fmt.Sprintf("%d started in a tree of 4 levels, beside flat ones", *n), seconds(f), seconds(d), fmt.Sprintf("%.2f", d/f), "1.3", d > 1.3*f})

	var apart, together []float64
	for range *rounds {
		apart = append(apart, stopAndStart())
		together = append(together, oneForAll())
		runtime.GC()
	}
	a, t := median(apart), median(together)
	return append(rows, row{fmt.Sprintf("one_for_all of %d, beside a stop and a start of them", *n), seconds(a), seconds(t), fmt.Sprintf("%.2f", t/a), "1.5", t > 1.5*a})
}

// levels puts the collectors into a tree: four groups, each with four, and so on.
func levels(cfg config.Config, deep int) config.Config {
	cfg.Groups = map[string]config.Group{}
	var leaves []string
	var grow func(parent string, left int)
	grow = func(parent string, left int) {
		for i := range 4 {
			name := parent + strconv.Itoa(i)
			cfg.Groups["g"+name] = config.Group{MaxRestarts: 1 << 30}
			if parent != "" {
				g := cfg.Groups["g"+name]
				g.Parent = "g" + parent
				cfg.Groups["g"+name] = g
			}
			if left > 1 {
				grow(name, left-1)
			} else {
				leaves = append(leaves, "g"+name)
			}
		}
	}
	grow("", deep)
	i := 0
	for id, c := range cfg.Collectors {
		c.Group = leaves[i%len(leaves)]
		cfg.Collectors[id] = c
		i++
	}
	return cfg
}

func group() (*actors.Supervisor, func()) {
	cfg := sleepers(*n)
	cfg.Groups = map[string]config.Group{"g": {Strategy: config.OneForAll, MaxRestarts: 1 << 30}}
	for id, c := range cfg.Collectors {
		c.Group = "g"
		cfg.Collectors[id] = c
	}
	sup, _, end := supervise("", cfg, nil)
	return sup, end
}

func stopAndStart() float64 {
	sup, end := group()
	defer end()
	ctx := context.Background()
	begin := time.Now()
	_, err := sup.Stop(ctx, "@g", 0)
	must(err)
	_, err = sup.Start(ctx, "@g", "", nil)
	must(err)
	return time.Since(begin).Seconds()
}

// oneForAll has one of them end, and waits until the last one is there again.
func oneForAll() float64 {
	sup, end := group()
	defer end()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	last := "c" + strconv.Itoa(*n-1)
	before, err := sup.Status(ctx, last)
	must(err)
	first, err := sup.Status(ctx, "c0")
	must(err)
	events, err := sup.Events(ctx)
	must(err)
	begin := time.Now()
	must(unix.Kill(first.PID, unix.SIGKILL))
	for e := range events {
		if e.ID == last {
			if s, err := sup.Status(ctx, last); err == nil && s.PID != 0 && s.PID != before.PID && s.State.String() == "running" {
				break
			}
		}
	}
	return time.Since(begin).Seconds()
}
