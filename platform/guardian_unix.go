//go:build linux || darwin || freebsd

package platform

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

// A guardian ends what is left when this program is not there to do it any more,
// however it went. It is a shell that is told the process groups through a pipe,
// and ends them when the pipe is closed. It is a program of a megabyte that is
// everywhere and needs nothing of the one that it guards: that may be any program
// that this package is part of, and cannot be expected to run as another one.
//
// How it ends them, and what else, is a script of each system: endGroups, which
// cannot know of a group whose process was just being started, nor of what has
// left its group; and that in guardian_linux.go, which knows more.
type guardian struct {
	end    []string // the script, and its arguments
	lines  *queue[string]
	done   sync.WaitGroup // the goroutine
	lives  sync.WaitGroup // those that wait for the end of a shell
	groups map[int]bool   // of the goroutine
	shell  *os.Process
	pid    atomic.Int32 // of the shell
	pipe   *os.File
	begun  chan struct{} // a shell has begun; for tests
}

const guardianScript = `
trap '' HUP INT PIPE QUIT TERM
echo here
groups=' '
while read -r line; do
	case $line in
	+*) groups="$groups${line#+} " ;;
	-*) case $groups in
		*" ${line#-} "*) groups="${groups%%" ${line#-} "*} ${groups#*" ${line#-} "}" ;;
		esac ;;
	over) exit ;;
	esac
done
`

const endGroups = `
for group in $groups; do
	kill -s KILL -- "-$group"
done
`

func startGuardian(end ...string) (*guardian, error) {
	g := &guardian{end: end, lines: newQueue[string](), groups: map[int]bool{}, begun: make(chan struct{}, 1)}
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
	// It says here that it has begun, and when it has ended this is closed.
	life, held, err := os.Pipe()
	if err != nil {
		w.Close()
		return fmt.Errorf("guardian: %w", err)
	}
	defer held.Close()
	argv := append([]string{"sh", "-c", guardianScript + g.end[0], "proctor-guardian"}, g.end[1:]...)
	var shell *os.Process
	offMainThread(func() {
		shell, err = os.StartProcess("/bin/sh", argv, &os.ProcAttr{
			Dir:   "/",
			Files: []*os.File{r, held, nil},
			Env:   []string{},
			Sys:   &syscall.SysProcAttr{Setsid: true}, // what is sent to this program's group does not reach it
		})
	})
	if err != nil {
		w.Close()
		life.Close()
		return fmt.Errorf("guardian: %w", err)
	}
	g.shell, g.pipe = shell, w
	g.pid.Store(int32(shell.Pid))
	g.lives.Go(func() {
		defer life.Close()
		if _, err := io.ReadFull(life, make([]byte, 1)); err != nil {
			return // it cannot live here
		}
		select {
		case g.begun <- struct{}{}:
		default:
		}
		_, _ = io.Copy(io.Discard, life)
		g.lines.put("?" + strconv.Itoa(shell.Pid)) // to be replaced, unless it was told to end
	})
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
		number, _ := strconv.Atoi(line[1:])
		switch line[0] {
		case '+':
			g.groups[number] = true
		case '-':
			delete(g.groups, number)
		case '?': // the shell with that number has ended
			if number == g.shell.Pid {
				g.restart()
			}
			continue
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
	g.finish()
}

// dismiss has it end without doing anything.
func (g *guardian) dismiss() {
	g.lines.close()
	g.done.Wait()
	_, _ = g.pipe.WriteString("over\n") // it may have been killed
	g.finish()
}

func (g *guardian) finish() {
	g.pipe.Close()
	_, _ = g.shell.Wait() // how it ended is of no interest
	g.lives.Wait()
}
