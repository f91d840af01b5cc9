package lifecycle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/proctord/proctor/messages"
)

// Diagram draws the life of a collector as others see it, as a Mermaid state
// diagram: every change of the public state that the table allows, with the
// events that lead to it. What a supervisor decides about the end of a process
// (a restart) stands beside it, since it is not in the table.
func Diagram() string {
	type change struct{ from, to messages.State }
	events := map[change][]string{}
	for s := range NumStates {
		for e := range NumEvents {
			c := table[s][e]
			if c.refused || c.never || e == Inherited {
				continue
			}
			ch := change{s.Public(), c.next.Public()}
			name := strings.ToLower(words.Replace(e.String()))
			if ch.from != ch.to && !slices.Contains(events[ch], name) {
				events[ch] = append(events[ch], name)
			}
		}
	}
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    [*] --> stopped\n")
	for from := range messages.State(messages.NumStates) {
		for to := range messages.State(messages.NumStates) {
			if names := events[change{from, to}]; len(names) > 0 {
				fmt.Fprintf(&b, "    %v --> %v: %s\n", from, to, strings.Join(names, ", "))
			}
		}
	}
	return b.String()
}

var words = strings.NewReplacer("SpawnFailed", "spawn failed", "SuspendFailed", "suspend failed", "ResumeFailed", "resume failed",
	"GraceExpired", "grace expired", "KillExpired", "kill expired", "StartExpired", "not ready in time")
