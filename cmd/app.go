package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/proctord/proctor/actors"
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A connection brings commands to a supervisor until it is closed.
type connection struct {
	actors.Commands
	io.Closer
}

// An app is one run of the command line: what is around it, and what its global
// flags say.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time

	// dial connects to the supervisor at an address.
	dial func(ctx context.Context, address string) (connection, error)

	// screen is how large the terminal behind a stream is; ok is whether there is one.
	screen func(stream any) (width, height int, ok bool)

	// interruptible is a context that Ctrl-C and its like end.
	interruptible func(context.Context) (context.Context, context.CancelFunc)

	atOnce int // for how many collectors a command is carried out at the same time

	socket        string
	output        string
	json          bool
	noColor       bool
	quiet, detail bool
}

func newApp(stdout, stderr io.Writer) *app {
	return &app{
		stdin: os.Stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv, now: time.Now,
		dial: dial, screen: screenOf, interruptible: interruptible, atOnce: 64,
	}
}

// The global flags: they mean the same to every command that knows them.
func (a *app) globalFlags(f *pflag.FlagSet) {
	f.StringVar(&a.socket, "socket", a.getenv("PROCTOR_SOCKET"), "where the supervisor listens (default: $PROCTOR_SOCKET, else the usual place)")
	f.Lookup("socket").DefValue = "" // it is not the environment's to change the help
	f.StringVarP(&a.output, "output", "o", "table", "how to print: table, wide, json or yaml")
	f.BoolVar(&a.json, "json", false, "short for -o json")
	f.BoolVar(&a.noColor, "no-color", false, "no colours (NO_COLOR has the same effect)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print only what was asked for, and errors")
	f.BoolVarP(&a.detail, "verbose", "v", false, "say which supervisor is asked, and how long it took")
	f.Bool("no-pager", true, "without effect: nothing is ever paged")
	_ = f.MarkHidden("no-pager")
}

// formats are what -o can be, where a command does not say otherwise.
var formats = []string{"table", "wide", "json", "yaml"}

// checkGlobals is called before a command runs.
func (a *app) checkGlobals(c *cobra.Command, _ []string) error {
	if a.json {
		if f := c.Flags().Lookup("output"); f != nil && f.Changed && f.Value.String() != "json" {
			return fmt.Errorf("--json contradicts -o %s", f.Value)
		} else if f != nil {
			if err := f.Value.Set("json"); err != nil {
				return err
			}
		}
	}
	return nil
}

// structured is whether a program reads what is printed.
func (a *app) structured() bool { return a.output == "json" || a.output == "yaml" }

// A call is one command that is under way: the supervisor that it is about, and
// a context that ends with Ctrl-C.
type call struct {
	*app
	op  string // the command's name
	ctx context.Context
	connection

	wholeGroups bool // a group is one target, not the collectors in it
	tree        bool // status draws the tree
	usage       bool // status shows what is used
}

// remote is the RunE of a command that asks a supervisor.
func (a *app) remote(do func(c *call, args []string) error) func(*cobra.Command, []string) error {
	return func(cc *cobra.Command, args []string) error {
		if err := oneOf("-o", a.output, formats); err != nil {
			return err
		}
		ctx, stop := a.interruptible(cc.Context())
		defer stop()
		begun := a.now()
		conn, err := a.dial(ctx, a.socket)
		if err != nil {
			return a.unreachable(err)
		}
		defer conn.Close()
		err = a.unreachable(do(&call{app: a, op: cc.Name(), ctx: ctx, connection: conn}, args))
		if a.detail {
			_, _ = fmt.Fprintf(a.stderr, "proctor: asked the supervisor at %s; it took %v\n", a.address(), a.now().Sub(begun).Round(time.Microsecond))
		}
		return err
	}
}

func (a *app) address() string {
	if a.socket != "" {
		return a.socket
	}
	return defaultAddress()
}

// unreachable has an error say what to do where nobody answers.
func (a *app) unreachable(err error) error {
	if err == nil || !errors.Is(err, actors.ErrNoSupervisor) {
		return err
	}
	var told absent
	if errors.As(err, &told) {
		return err
	}
	return absent{fmt.Errorf(`no supervisor answers at %s (%w); start one with "proctor run", or say with --socket or PROCTOR_SOCKET where it listens`, a.address(), rootCause(err))}
}

// absent is an error of a command that found no supervisor.
type absent struct{ error }

func (e absent) Unwrap() error { return e.error }

// rootCause is the part of an error about an absent supervisor that says why:
// what stands before it is only which command it was.
func rootCause(err error) error {
	var e *messages.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err
	}
	return err
}

// oneOf refuses a word that is none of those.
func oneOf(flag, word string, words []string) error {
	for _, w := range words {
		if w == word {
			return nil
		}
	}
	return fmt.Errorf("%s %s: it is one of %v", flag, word, words)
}
