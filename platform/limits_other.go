//go:build darwin || freebsd || windows

package platform

import "strings"

// limitsOf says which limits of a spec this system does not have: all of them.
func limitsOf(spec *Spec) (missing []string, err error) {
	missing = unmetHere(&spec.Limits, spec.Within)
	if spec.Limits.Required && len(missing) > 0 {
		return nil, &SpawnError{Path: spec.Path, Why: "limits that are required cannot be had: " + strings.Join(missing, "; "), Err: ErrNotSupported}
	}
	return missing, nil
}

// unmetHere are all limits.
func unmetHere(l *Limits, within []Group) (missing []string) {
	missing = unmet(append(l.ofTree(), l.ofProcess()...), ErrNotSupported.Error())
	for _, g := range within {
		for _, m := range unmet(g.Limits.ofTree(), ErrNotSupported.Error()) {
			missing = append(missing, "of group "+g.Name+": "+m)
		}
	}
	return missing
}

func (p *process) Limit(l Limits, within []Group, done func(unmet []string, err error)) {
	missing := unmetHere(&l, within)
	if l.Required && len(missing) > 0 {
		go done(nil, missingLive(p.label, missing)) // not from here: the caller may hold what done wants
		return
	}
	go done(missing, nil)
}
