//go:build darwin || freebsd || windows

package platform

import "runtime"

func survey() []Mechanism {
	confinement := Mechanism{Name: "confinement", Meaning: "collectors cannot be confined here: one that is to be is not started, but for confinement_required = false"}
	const others = "; others are warnings here, or refusals with limits_required"
	limits := Mechanism{Name: "limits", There: true, Meaning: "limits of open files, core dumps and priority can be set" + others}
	switch runtime.GOOS {
	case "windows":
		limits.Meaning = "limits of processor, memory and processes, a priority and processors can be set for a whole tree" + others
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
