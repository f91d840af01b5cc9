//go:build !linux && !windows

package runs

import "github.com/proctord/proctor/messages"

func mayHaveDumped(e *messages.Exit) bool { return e.CoreDumped }

func findCore(*messages.Run, string) messages.CoreDump {
	return messages.CoreDump{Note: "where dumps are is not known on this system"}
}
