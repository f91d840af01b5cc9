//go:build darwin || freebsd || windows

package platform

import "runtime"

func survey() []Mechanism {
	confinement := Mechanism{Name: "confinement", Meaning: "collectors cannot be confined here: one that is to be is not started, but for confinement_required = false"}
	limits := Mechanism{Name: "limits", Meaning: "resource limits are warnings here, or refusals with limits_required"}
	switch runtime.GOOS {
	case "windows":
		return []Mechanism{{Name: "job objects", There: true, Meaning: "each process has a job that all it starts belongs to, and that is killed at once, also if the supervisor is killed"}, limits, confinement}
	case "freebsd":
		return []Mechanism{
			{Name: "reaper", There: true, Meaning: "the system knows of every descendant whose tree it is in"},
			{Name: "guardian", Meaning: "if the supervisor is killed its collectors die, what they have started only if it notices"},
			limits, confinement,
		}
	}
	return []Mechanism{
		{Name: "reaper", Meaning: "what has left its group before its parent died is lost"},
		{Name: "guardian", There: true, Meaning: "a shell outlives a supervisor that is killed, and ends the groups of its collectors"},
		limits, confinement,
	}
}
