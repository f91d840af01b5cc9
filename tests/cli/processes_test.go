//go:build unix

package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// exists reports whether a process is there; one that only waits to be reaped is not.
func exists(pid int) bool {
	if err := syscall.Kill(pid, 0); err == syscall.ESRCH {
		return false
	}
	state := processState(pid)
	return state != 'Z' && state != 'X' && state != 0
}

// processState is the letter that ps shows, or 0 if there is no such process.
func processState(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		// The name, in parentheses, may have spaces and parentheses in it.
		if i := bytes.LastIndexByte(stat, ')'); i >= 0 && i+2 < len(stat) {
			return stat[i+2]
		}
	}
	if _, err := os.Stat("/proc/self/stat"); err == nil {
		return 0
	}
	out, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	if out = bytes.TrimSpace(out); err != nil || len(out) == 0 {
		return 0
	}
	return out[0]
}

// marked are the processes that have the variable in their environment. Where
// there is no /proc, none are found.
func marked(variable string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+variable+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

func describe(pids []int) (texts []string) {
	for _, pid := range pids {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		texts = append(texts, fmt.Sprintf("%d (%c) %s", pid, processState(pid), bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
	}
	return texts
}
