//go:build darwin || freebsd || windows

package platform

import "strings"

// limitsOf says which limits of a spec this system does not have, and what confines: all of them.
func limitsOf(spec *Spec) (missing []string, err error) {
	missing = unmet(append(spec.Limits.ofTree(), spec.Limits.ofProcess()...), ErrNotSupported.Error())
	if spec.Limits.Required && len(missing) > 0 {
		return nil, &SpawnError{Path: spec.Path, Why: "limits that are required cannot be had: " + strings.Join(missing, "; "), Err: ErrNotSupported}
	}
	unconfined, err := confinementOf(spec)
	return append(missing, unconfined...), err
}
