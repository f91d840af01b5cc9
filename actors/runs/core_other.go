//go:build !linux

package runs

import "github.com/proctord/proctor/messages"

func findCore(*messages.Run, string) messages.CoreDump {
	return messages.CoreDump{Note: "where dumps are is not known on this system"}
}
