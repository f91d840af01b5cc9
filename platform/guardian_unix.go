//go:build linux || darwin || freebsd

package platform

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// A guardian ends process groups when this program is not there to do it any
// more, however it went: for systems that do not send a signal to the children
// of a process that dies. It is a shell that is told the groups through a pipe,
// and sends SIGKILL to those that are left when the pipe is closed.
//
// It cannot know of a group whose process was just being started, and not of
// what has left its group.
type guardian struct {
	lines  *queue[string]
	done   sync.WaitGroup
	groups map[int]bool // of the goroutine
	shell  *os.Process
	pipe   *os.File
}

const guardianScript = `
trap '' HUP INT QUIT TERM
groups=' '
while read -r line; do
	case $line in
	+*) groups="$groups${line#+} " ;;
	-*) case $groups in
		*" ${line#-} "*) groups="${groups%%" ${line#-} "*} ${groups#*" ${line#-} "}" ;;
		esac ;;
	esac
done
for group in $groups; do
	kill -s KILL -- "-$group"
done
`

func startGuardian() (*guardian, error) {
	g := &guardian{lines: newQueue[string](), groups: map[int]bool{}}
	if err := g.start(); err != nil {
		return nil, err
	}
	g.done.Go(g.run)
	return g, nil
}

func (g *guardian) start() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("guardian: %w", err)
	}
	defer r.Close()
	shell, err := os.StartProcess("/bin/sh", []string{"proctor-guardian", "-c", guardianScript}, &os.ProcAttr{
		Dir:   "/",
		Files: []*os.File{r, nil, nil},
		Env:   []string{},
		Sys:   &syscall.SysProcAttr{Setsid: true}, // what is sent to this program's group does not reach it
	})
	if err != nil {
		w.Close()
		return fmt.Errorf("guardian: %w", err)
	}
	g.shell, g.pipe = shell, w
	return nil
}

// watch and release never wait for the guardian.
func (g *guardian) watch(group int)   { g.lines.put("+" + strconv.Itoa(group)) }
func (g *guardian) release(group int) { g.lines.put("-" + strconv.Itoa(group)) }

func (g *guardian) run() {
	idle := newChanParker()
	for {
		line, ok := g.lines.take(idle)
		if !ok {
			return
		}
		group, _ := strconv.Atoi(line[1:])
		if line[0] == '+' {
			g.groups[group] = true
		} else {
			delete(g.groups, group)
		}
		if _, err := g.pipe.WriteString(line + "\n"); err != nil {
			g.restart()
		}
	}
}

// restart replaces a guardian that somebody has killed. If there cannot be
// another one, the next line tries again.
func (g *guardian) restart() {
	g.pipe.Close()
	_, _ = g.shell.Wait() // how it ended is of no interest
	if g.start() != nil {
		return
	}
	for group := range g.groups {
		if _, err := g.pipe.WriteString("+" + strconv.Itoa(group) + "\n"); err != nil {
			return
		}
	}
}

// close has the guardian end the groups that it still knows of, and waits for it.
func (g *guardian) close() {
	g.lines.close()
	g.done.Wait()
	g.pipe.Close()
	_, _ = g.shell.Wait() // how it ended is of no interest
}
