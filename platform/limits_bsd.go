//go:build darwin || freebsd

package platform

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// unmetHere are the limits that this system does not have, and those of a process
// that it may not be given.
func unmetHere(spec *Spec) (missing []string) {
	l := &spec.Limits
	missing = unmet(append(l.ofTree(), setting{"oom score adjust", l.OOMScoreAdjust != 0}, setting{"cpu affinity", len(l.CPUs) > 0}), ErrNotSupported.Error())
	missing = append(missing, unmetOfGroups(spec.Within)...)
	if l.Nice < 0 && os.Geteuid() != 0 {
		missing = append(missing, "nice: only root may have less than 0")
	}
	if os.Geteuid() == 0 && spec.As.User == "" {
		return missing
	}
	within := func(name string, is bool, resource int, n int64) {
		var r unix.Rlimit
		if is && unix.Getrlimit(resource, &r) == nil && uint64(max(n, 0)) > uint64(r.Max) {
			missing = append(missing, fmt.Sprintf("%s: only root may have more than %d", name, r.Max))
		}
	}
	within("open files", l.OpenFiles != 0, unix.RLIMIT_NOFILE, int64(l.OpenFiles))
	within("core", l.Core != 0, unix.RLIMIT_CORE, l.Core)
	return missing
}

func unmetOfGroups(within []Group) (missing []string) {
	for _, g := range within {
		for _, m := range unmet(g.Limits.ofTree(), ErrNotSupported.Error()) {
			missing = append(missing, ofGroup+g.Name+": "+m)
		}
	}
	return missing
}

// limitsOf says which limits of a spec cannot be had. The error is that they have to be.
func limitsOf(spec *Spec) (missing []string, err error) {
	missing = unmetHere(spec)
	lacking := spec.Limits.Required && len(missing) > len(unmetOfGroups(spec.Within))
	for _, g := range spec.Within {
		lacking = lacking || g.Limits.Required && anySet(g.Limits.ofTree())
	}
	if lacking {
		return nil, &SpawnError{Path: spec.Path, Why: "limits that are required cannot be had: " + strings.Join(missing, "; "), Err: ErrNotSupported}
	}
	unconfined, err := confinementOf(spec)
	return append(missing, unconfined...), err
}

// renice sets the priority of a process group. It is that of all that is started
// in it from then on.
func renice(group, nice int) []string {
	if err := unix.Setpriority(unix.PRIO_PGRP, group, nice); err != nil {
		return []string{"nice: " + err.Error()}
	}
	return nil
}

func (p *process) Limit(l Limits, within []Group, done func(unmet []string, err error)) {
	missing, err := p.limit(&l, within)
	go done(missing, err) // not from here: the caller may hold what done wants
}

// limit changes the only limit that this system lets others change.
func (p *process) limit(l *Limits, within []Group) (missing []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != running {
		return nil, ErrNotRunning
	}
	missing = unmet(append(l.ofTree(), setting{"oom score adjust", l.OOMScoreAdjust != 0}, setting{"cpu affinity", len(l.CPUs) > 0}), ErrNotSupported.Error())
	const later = "this system changes it only for a process that is started"
	missing = append(missing, unmet([]setting{{"open files", l.OpenFiles != p.limits.OpenFiles}, {"core", l.Core != p.limits.Core}}, later)...)
	if l.Required && len(missing) > 0 {
		return nil, missingLive(p.label, missing)
	}
	if l.Nice != p.limits.Nice {
		failed := renice(p.pid, l.Nice)
		if l.Required && len(failed) > 0 {
			return nil, missingLive(p.label, failed)
		}
		missing = append(missing, failed...)
	}
	p.limits.Nice = l.Nice
	return append(missing, unmetOfGroups(within)...), nil
}
