//go:build linux || darwin || freebsd

package platform

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// guarded starts a process in a group of its own.
func guarded(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

// ended waits for a process that somebody is to end.
func ended(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	late := time.AfterFunc(patience, func() {
		t.Errorf("nobody has ended process %d", cmd.Process.Pid)
		cmd.Process.Kill()
	})
	defer late.Stop()
	return cmd.Wait()
}

func TestTheGuardianEndsTheGroupsThatAreLeft(t *testing.T) {
	g, err := startGuardian(endGroups)
	if err != nil {
		t.Fatal(err)
	}
	left, released, other := guarded(t), guarded(t), guarded(t)
	for range 3 { // group numbers that are part of others must not be mistaken for them
		g.watch(left.Process.Pid)
		g.watch(released.Process.Pid)
		g.release(released.Process.Pid)
		g.release(left.Process.Pid / 10)
	}
	g.close()
	if err := ended(t, left); err == nil || left.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the group that was left: %v", err)
	}
	for _, cmd := range []*exec.Cmd{released, other} {
		if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("a group that was none of its business: %v", err)
		}
	}
}

func TestTheGuardianOutlivesItsProgramAndWhatIsSentToIt(t *testing.T) {
	left := guarded(t)
	cmd := again("guarding", strconv.Itoa(left.Process.Pid))
	cmd.Env = childEnv("guarding")
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Read(make([]byte, 1))
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	cmd.Wait()
	ended(t, left)
}

func TestAGuardianThatWasKilledIsReplaced(t *testing.T) {
	g, err := startGuardian(endGroups)
	if err != nil {
		t.Fatal(err)
	}
	left, other := guarded(t), guarded(t)
	<-g.begun
	g.watch(left.Process.Pid)
	g.shell.Kill() // whose end is the guardian's to wait for
	<-g.begun
	g.watch(other.Process.Pid)
	g.close()
	ended(t, left)
	ended(t, other)
}

func init() {
	children["guarding"] = func(args []string) int {
		g, err := startGuardian(endGroups)
		if err != nil {
			return 97
		}
		group, _ := strconv.Atoi(args[0])
		g.watch(group)
		g.lines.close() // so that
		g.done.Wait()   // it has been written
		os.Stdout.WriteString("ready\n")
		forever()
		return 0
	}
}
