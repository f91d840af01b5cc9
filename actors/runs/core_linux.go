package runs

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/proctord/proctor/messages"
)

// findCore finds the core dump of a run that has left one. Dir is the working
// directory that it was started in, empty for ours.
func findCore(run *messages.Run, dir string) messages.CoreDump {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		return messages.CoreDump{Note: "where dumps are written is not known: " + err.Error()}
	}
	usesPID, _ := os.ReadFile("/proc/sys/kernel/core_uses_pid")
	return coreOf(strings.TrimSpace(string(pattern)), strings.TrimSpace(string(usesPID)) == "1", run.PID, run.Exit.At, dir)
}

func mayHaveDumped(e *messages.Exit) bool { return e.CoreDumped }

// coreOf finds the dump of a process where pattern, which is what the kernel was
// told, has it written. What is not known of the process matches anything.
func coreOf(pattern string, usesPID bool, pid int, at time.Time, dir string) messages.CoreDump {
	if handler, ok := strings.CutPrefix(pattern, "|"); ok {
		program, _, _ := strings.Cut(handler, " ")
		d := messages.CoreDump{Note: "the kernel hands dumps to " + program}
		if filepath.Base(program) == "systemd-coredump" {
			d.Note += fmt.Sprintf("; coredumpctl info %d tells more", pid)
			d.Path, d.Size = newest([]string{fmt.Sprintf("/var/lib/systemd/coredump/core.*.%d.*", pid)}, at)
		}
		return d
	}
	glob, hasPID := expand(pattern, pid)
	if usesPID && !hasPID {
		glob += "." + strconv.Itoa(pid)
	}
	if !filepath.IsAbs(glob) {
		if abs, err := filepath.Abs(filepath.Join(dir, glob)); err == nil {
			glob = abs
		}
	}
	d := messages.CoreDump{}
	if d.Path, d.Size = newest([]string{glob}, at); d.Path == "" {
		d.Note = "a dump was made, and is not at " + glob + " any more, or the process had changed its directory"
	}
	return d
}

// expand turns a pattern into one for filepath.Glob.
func expand(pattern string, pid int) (glob string, hasPID bool) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '%' && i+1 < len(pattern):
			i++
			switch pattern[i] {
			case '%':
				b.WriteByte('%')
			case 'p', 'P', 'i', 'I': // those of the first thread; another one's number is not known, but follows
				hasPID = hasPID || pattern[i] == 'p'
				if pattern[i] == 'p' {
					b.WriteString(strconv.Itoa(pid))
				} else {
					b.WriteByte('*')
				}
			default:
				b.WriteByte('*')
			}
		case c == '%': // at the end: dropped
		case strings.IndexByte(`*?[\`, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), hasPID
}

// newest is the file that was written last of those that match, around that time.
func newest(globs []string, at time.Time) (path string, size int64) {
	var last time.Time
	for _, glob := range globs {
		matches, _ := filepath.Glob(glob)
		for _, m := range matches {
			info, err := os.Lstat(m)
			if err != nil || !info.Mode().IsRegular() || info.ModTime().Before(at.Add(-time.Minute)) || !info.ModTime().After(last) {
				continue
			}
			path, size, last = m, info.Size(), info.ModTime()
		}
	}
	return path, size
}
