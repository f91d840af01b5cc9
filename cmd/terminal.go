package cmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"
)

// screenOf is how large the terminal behind a stream is, if there is one.
func screenOf(stream any) (width, height int, ok bool) {
	f, isFile := stream.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		width, height = 80, 24 // as terminals were when they could not be asked
	}
	return width, height, true
}

// interruptible is a context that Ctrl-C ends, or the end of the terminal. A
// reader of the output who goes away is an error of the write then, so that what
// was begun for several collectors is not left half done.
func interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	survivePipes()
	return signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
}

// colored is whether what goes to a stream may have colours.
func (a *app) colored(stream any) bool {
	_, _, terminal := a.screen(stream)
	return terminal && !a.noColor && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// width is how wide a line on standard output may be; 0: as wide as it likes.
func (a *app) width() int {
	width, _, _ := a.screen(a.stdout)
	return width
}

// The colours, by what they say.
const (
	good  = "32"
	alert = "33"
	bad   = "31"
	faint = "2"
	bold  = "1"
)

func paint(on bool, color, text string) string {
	if !on || color == "" || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// confirm asks a question, on a terminal only: elsewhere the answer is yes, as
// nobody is there to be asked.
func (c *call) confirm(yes bool, question string) error {
	_, _, in := c.screen(c.stdin)
	_, _, out := c.screen(c.stderr)
	if yes || !in || !out {
		return nil
	}
	_, _ = fmt.Fprintf(c.stderr, "%s [y/N] ", question)
	answers := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(c.stdin).ReadString('\n') // its end is a no
		answers <- line
	}()
	select {
	case answer := <-answers:
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return nil
		}
	case <-c.ctx.Done():
		_, _ = fmt.Fprintln(c.stderr)
	}
	return failed{fmt.Errorf("nothing was done; -y answers the question beforehand")}
}

// A spinner shows on a terminal that an answer is waited for, and whose.
type spinner struct {
	w    io.Writer
	stop chan struct{}
	done sync.WaitGroup
}

// spin shows what is waited for until the function that it returns is called, which may be done again.
// What takes no time that anybody notices shows nothing.
func (a *app) spin(what func() string) (stop func()) {
	width, _, terminal := a.screen(a.stderr)
	if !terminal || a.quiet || a.structured() {
		return func() {}
	}
	s := &spinner{w: a.stderr, stop: make(chan struct{})}
	begun := a.now()
	s.done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for frame := 0; ; frame++ {
			select {
			case <-s.stop:
				if frame > 3 {
					_, _ = io.WriteString(s.w, "\r\x1b[K")
				}
				return
			case <-tick.C:
			}
			if frame < 3 {
				continue
			}
			line := fmt.Sprintf("%c %s (%s); Ctrl-C stops the waiting only", spinning[frame%len(spinning)], what(), duration(a.now().Sub(begun)))
			_, _ = fmt.Fprintf(s.w, "\r%s\x1b[K", cutTo(line, width-1))
		}
	})
	return sync.OnceFunc(func() {
		close(s.stop)
		s.done.Wait()
	})
}

var spinning = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
