// Package messages is the vocabulary: everything that collectors, their
// supervisor and their callers say to each other. It is data only: it knows no
// actor, and whoever receives a message may keep it but must not change it.
//
// There are four kinds of words. A command ([StartCollector], [GetStatus]) is
// answered exactly once, with the reply that its type names or with an *[Error].
// An [Event] carries a [Fact], in the past tense, to whoever subscribed, and is
// never answered. Orders, outcomes and reports are what a supervisor and the
// child that runs a collector say to each other: whoever speaks them can be
// supervised.
package messages

import "fmt"

// State is where a collector is in its life, as everybody sees it.
type State uint8

// The six states. A collector that waits for a restart is Starting, with the
// time of that restart beside it.
const (
	Stopped State = iota
	Starting
	Running
	Paused
	Stopping
	Failed

	NumStates = iota
)

var stateNames = [NumStates]string{"stopped", "starting", "running", "paused", "stopping", "failed"}

// String is the state's word in outputs and protocols.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText and UnmarshalText use the same words.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (s *State) UnmarshalText(text []byte) error {
	return unmarshalWord(s, stateNames[:], string(text), "state")
}

// Health is what is known about how well a collector does its work.
type Health uint8

// What a collector's health can be.
const (
	HealthUnknown   Health = iota // it does not run, or nothing is known yet
	HealthHealthy                 // it runs
	HealthDegraded                // it runs, but not as it should
	HealthUnhealthy               // it should run and does not
)

var healthNames = [...]string{"unknown", "healthy", "degraded", "unhealthy"}

func (h Health) String() string {
	if int(h) < len(healthNames) {
		return healthNames[h]
	}
	return fmt.Sprintf("health(%d)", uint8(h))
}

// MarshalText and UnmarshalText use the same words as String.
func (h Health) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (h *Health) UnmarshalText(text []byte) error {
	return unmarshalWord(h, healthNames[:], string(text), "health")
}

func unmarshalWord[T ~uint8](to *T, words []string, word, what string) error {
	for i, w := range words {
		if w == word {
			*to = T(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a %s", word, what)
}
