package runs

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows/registry"

	"github.com/proctord/proctor/messages"
)

// localDumps is where Windows Error Reporting is told to keep dumps: for all
// programs, and in a key below for one of them.
const localDumps = `SOFTWARE\Microsoft\Windows\Windows Error Reporting\LocalDumps`

// mayHaveDumped reports whether the end was one that Windows Error Reporting sees:
// by an exception that nobody has handled, whose number is the exit code.
func mayHaveDumped(e *messages.Exit) bool { return uint32(e.Code)>>30 == 3 }

// findCore finds the minidump that Windows Error Reporting has kept of a run.
func findCore(run *messages.Run, _ string) messages.CoreDump {
	return dumpOf(registry.LOCAL_MACHINE, localDumps, run)
}

func dumpOf(root registry.Key, path string, run *messages.Run) messages.CoreDump {
	if run.Binary == "" {
		return messages.CoreDump{Note: "where its dump would be is not known, as its binary is not"}
	}
	program := filepath.Base(run.Binary)
	all, err := registry.OpenKey(root, path, registry.QUERY_VALUE)
	if err != nil {
		return messages.CoreDump{Note: `no dump was made: Windows Error Reporting keeps some if there is HKEY_LOCAL_MACHINE\` + path}
	}
	defer all.Close()
	folder := `%LOCALAPPDATA%\CrashDumps`
	keys := []registry.Key{all}
	if own, err := registry.OpenKey(root, path+`\`+program, registry.QUERY_VALUE); err == nil {
		defer own.Close()
		keys = append(keys, own) // what is said of the program itself counts more
	}
	for _, key := range keys {
		if said, _, err := key.GetStringValue("DumpFolder"); err == nil && said != "" {
			folder = said
		}
	}
	if expanded, err := registry.ExpandString(folder); err == nil {
		folder = expanded
	}
	name := fmt.Sprintf("%s.%d.dmp", program, run.PID)
	d := messages.CoreDump{}
	if info, err := os.Stat(filepath.Join(folder, name)); err == nil && !info.ModTime().Before(run.StartedAt) {
		d.Path, d.Size = filepath.Join(folder, name), info.Size()
		return d
	}
	d.Note = "there is no " + name + " in " + folder + ", where Windows Error Reporting keeps dumps, or not yet"
	return d
}
