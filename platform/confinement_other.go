//go:build darwin || freebsd || windows

package platform

import "strings"

// confinementOf says what of a spec this system does not have: all of it.
func confinementOf(spec *Spec) (missing []string, err error) {
	c := &spec.Confinement
	asked := c.asked()
	missing = unmet(asked[:], ErrNotSupported.Error())
	never := []setting{{"root directory", c.Root != ""}, {"sha256", c.SHA256 != ""}, {"kept descriptors", len(spec.KeepFDs) > 0}, {"secrets", len(spec.Secrets) > 0}}
	if c.Required {
		never = append(asked[:], never[2:]...)
	}
	if refused := unmet(never, ErrNotSupported.Error()); len(refused) > 0 {
		return nil, &SpawnError{Path: spec.Path, Why: "it cannot be confined: " + strings.Join(refused, "; "), Err: ErrNotSupported}
	}
	return missing, nil
}
