// Package actors puts a supervisor into an actor system, and lets ordinary Go
// talk to it: every method of [Supervisor] is one message and its one reply.
//
// An application that is made of actors itself spawns [Props] where it wants
// the supervisor to be, and sends it the commands of package messages.
package actors

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/uuid"
	"github.com/proctord/proctor/actors/runs"
	"github.com/proctord/proctor/collector"
	"github.com/proctord/proctor/collector/meter"
	"github.com/proctord/proctor/collector/notify"
	"github.com/proctord/proctor/collector/probe"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
	"github.com/proctord/proctor/supervisor"
	"github.com/rs/zerolog"
)

// An Option changes how a supervisor is set up.
type Option func(*options)

type options struct {
	system  *actor.ActorSystem
	host    platform.Host
	resolve func(config.Collector, config.ProcessManager) (string, error)
	logger  zerolog.Logger
	name    string
	env     []string
	stdout  *os.File
	stderr  *os.File
	random  func() float64
	source  func(context.Context) (config.Config, error)
	capture *Capture
	runs    *runs.Store
	child   func(id string, o collector.Options) *actor.Props
	ask     func(ctx context.Context, p config.Probe, spec platform.Spec) error
	listen  func(hear func(notify.Message)) notify.Socket
}

// asking is how many probes are asked at a time.
const asking = 64

// prober asks real probes, a bounded number at a time.
func prober(host platform.Host) func(context.Context, config.Probe, platform.Spec) error {
	places := make(chan struct{}, asking)
	p := probe.New(host)
	return func(ctx context.Context, asked config.Probe, spec platform.Spec) error {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			return p.Ask(ctx, asked, spec)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WithProbes has probes asked by ask. Without it they really are.
func WithProbes(ask func(ctx context.Context, p config.Probe, spec platform.Spec) error) Option {
	return func(o *options) { o.ask = ask }
}

// WithListen has the sockets on which processes tell of themselves (sd_notify)
// made by listen. Without it they really are.
func WithListen(listen func(hear func(notify.Message)) notify.Socket) Option {
	return func(o *options) { o.listen = listen }
}

// WithActorSystem puts the supervisor into an actor system that is there
// already. Without it there is one of its own.
func WithActorSystem(system *actor.ActorSystem) Option {
	return func(o *options) { o.system = system }
}

// WithHost has processes started by h, which stays the caller's to close.
// Without it they are started by a platform.New of the supervisor's own.
func WithHost(h platform.Host) Option { return func(o *options) { o.host = h } }

// WithName is the name of the supervisor's actor. Without it: "proctor". Two in
// one actor system need different ones.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithLogger has events, and what the actor library says, written to l.
// Without it nothing is logged.
func WithLogger(l zerolog.Logger) Option { return func(o *options) { o.logger = l } }

// WithOutput has collectors write their standard output and errors to these
// files. Nil discards; without it they go to this program's own.
func WithOutput(stdout, stderr *os.File) Option {
	return func(o *options) { o.stdout, o.stderr = stdout, stderr }
}

// WithCapture has what collectors write kept, as their configuration says. C
// stays the caller's to close, after the supervisor. Nil: nothing is kept.
func WithCapture(c *Capture) Option { return func(o *options) { o.capture = c } }

// WithRuns has each process recorded by r, which stays the caller's to close, after
// the supervisor. Without it, or with nil, there are no records.
func WithRuns(r *runs.Store) Option { return func(o *options) { o.runs = r } }

// WithEnvironment is the environment that a collector's settings are added to.
// Without it: this program's own.
func WithEnvironment(env []string) Option { return func(o *options) { o.env = env } }

// WithResolve finds the binary of a collector. Without it: config.ResolveBinary.
func WithResolve(resolve func(config.Collector) (string, error)) Option {
	return func(o *options) {
		o.resolve = func(c config.Collector, _ config.ProcessManager) (string, error) { return resolve(c) }
	}
}

// WithRandom is where the jitter of restarts comes from: numbers in [0, 1).
func WithRandom(random func() float64) Option { return func(o *options) { o.random = random } }

// WithConfigSource says where Reload reads the configuration from. The error says
// everything that is wrong with it. It is called on the caller's goroutine.
func WithConfigSource(read func(context.Context) (config.Config, error)) Option {
	return func(o *options) { o.source = read }
}

// WithChild has children of another make supervised: child returns the Props of
// one that answers orders and sends reports (package messages).
func WithChild(child func(id string, o collector.Options) *actor.Props) Option {
	return func(o *options) { o.child = child }
}

func settle(opts []Option) *options {
	o := &options{
		logger: zerolog.Nop(), name: "proctor", stdout: os.Stdout, stderr: os.Stderr,
		child: collector.Props,
	}
	for _, option := range opts {
		option(o)
	}
	if o.env == nil {
		o.env = os.Environ()
	}
	o.env = notify.Without(o.env) // what this program itself was told to say is not for its collectors
	if o.listen == nil {
		o.listen = notify.NewServer().Socket
	}
	if o.resolve == nil {
		o.resolve = func(c config.Collector, pm config.ProcessManager) (string, error) {
			if filepath.IsAbs(c.BinaryPath) {
				return c.BinaryPath, nil // whether it is there is the host's to say, which may be one in memory
			}
			return config.ResolveBinary(c, pm)
		}
	}
	return o
}

func (o *options) props(cfg config.Config, subscribers ...*actor.PID) *actor.Props {
	ask := o.ask
	if ask == nil {
		ask = prober(o.host)
	}
	usage := meter.New(o.host)
	children := collector.Options{Host: o.host, Meter: usage, Ask: ask, Count: probe.Count, Listen: o.listen, Resolve: o.resolve, Env: o.env, Stdout: o.stdout, Stderr: o.stderr}
	if o.capture != nil {
		o.capture.startsWith(o.host)
		children.Record = o.capture.record
	}
	if r := o.runs; r != nil {
		children.Launched = func(l collector.Launch) { r.Launched(runs.Launch(l)) }
	}
	return supervisor.Props(supervisor.Options{
		Config:      cfg,
		Random:      o.random,
		Subscribers: subscribers,
		Meter:       usage,
		Child:       func(id string) *actor.Props { return o.child(id, children) },
		Instance:    uuid.NewString(),
		PID:         os.Getpid(),
	})
}

// Props describes a supervisor as an actor of an application's own, to be
// spawned wherever it likes. The configuration must be valid (config.Config.Validate)
// and the host, which [WithHost] must name, stays the application's to close,
// after the actor has ended.
func Props(cfg config.Config, opts ...Option) *actor.Props {
	return settle(opts).props(cfg)
}

// Supervisor is a running supervisor. Its methods, [Commands] among them, may be
// called from any goroutine.
type Supervisor struct {
	Commands

	system *actor.ActorSystem
	guard  *actor.PID
	pid    *actor.PID
	done   chan struct{}   // closed when the supervisor's actor has ended
	logged <-chan struct{} // closed when all that it said is in the log
	source func(context.Context) (config.Config, error)

	capture *Capture    // nil: nothing is kept
	runs    *runs.Store // nil: nothing is recorded
	tap     *actor.PID  // by which that hears of events

	closing sync.Once // Close is called by anybody, and does its work once
	release func() error
	closed  error
}

// New starts a supervisor and the collectors of cfg that are to start with it.
// It does not wait until they are up. The error is one of the configuration or
// of the operating system; nothing was started then. Close ends it.
func New(cfg config.Config, opts ...Option) (*Supervisor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, &messages.Error{Op: "supervise", Kind: messages.InvalidConfig, Err: err}
	}
	o := settle(opts)
	s := &Supervisor{done: make(chan struct{}), release: func() error { return nil }}
	s.Commands, s.source, s.capture, s.runs = Commands{s}, o.source, o.capture, o.runs
	if o.host == nil {
		host, err := platform.New(platform.Options{Guardian: cfg.ProcessManager.EndsWithSupervisor(), CgroupParent: cfg.ProcessManager.CgroupParent})
		if err != nil {
			return nil, &messages.Error{Op: "supervise", Kind: messages.IO, Err: err}
		}
		o.host, s.release = host, host.Close
	}
	s.system = o.system
	if s.system == nil {
		s.system = NewActorSystem(o.logger)
		release := s.release
		s.release = func() error {
			s.system.Shutdown()
			return release()
		}
	}
	spawned := make(chan *actor.PID, 1)
	var subscribers []*actor.PID
	if s.runs != nil || s.capture != nil {
		s.tap = newTap(s.system, func(e messages.Event) {
			if s.runs != nil {
				s.runs.Happened(e)
			}
			if s.capture != nil {
				s.capture.happened(e)
			}
		})
		subscribers = append(subscribers, s.tap)
	}
	subscriber, logged := startLog(s.system, o.logger, s.done)
	s.logged = logged
	if subscriber != nil {
		subscribers = append(subscribers, subscriber)
	}
	guard, err := s.system.Root.SpawnNamed(guardian(o.props(cfg, subscribers...), spawned, s.done), o.name)
	if err != nil {
		close(s.done)
		return nil, errors.Join(&messages.Error{Op: "supervise", Kind: messages.Internal, Text: "the actor " + o.name + " could not be spawned", Err: err}, s.release())
	}
	s.guard, s.pid = guard, <-spawned
	return s, nil
}

// NewActorSystem is an actor system that logs to l.
func NewActorSystem(l zerolog.Logger) *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slogTo(l) }))
}

// guardian is the parent of the supervisor: it has one made anew that panics,
// and says when there is none any more.
func guardian(supervisor *actor.Props, spawned chan<- *actor.PID, done chan<- struct{}) *actor.Props {
	restarts := actor.NewOneForOneStrategy(10, 10*time.Second, func(any) actor.Directive { return actor.RestartDirective })
	return actor.PropsFromFunc(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started:
			pid, err := ctx.SpawnNamed(supervisor, "supervisor")
			if err != nil {
				panic(err) // the name is ours alone
			}
			spawned <- pid
		case *actor.Terminated:
			close(done)
			ctx.Stop(ctx.Self())
		}
	}, actor.WithSupervisor(restarts))
}

// PID is the address of the supervisor, for actors that send it commands.
func (s *Supervisor) PID() *actor.PID { return s.pid }

// ActorSystem is the system that the supervisor lives in.
func (s *Supervisor) ActorSystem() *actor.ActorSystem { return s.system }

// Done is closed when the supervisor has ended: by Close, or because it had one
// fault after another.
func (s *Supervisor) Done() <-chan struct{} { return s.done }

// Close ends the supervisor, and releases what New made for it. What it has not
// stopped by Shutdown is killed. The error names what would not go. Close may
// be called more than once.
func (s *Supervisor) Close() error {
	s.closing.Do(func() {
		s.system.Root.Stop(s.guard)
		<-s.done
		<-s.logged
		if s.capture != nil {
			s.capture.StopForwarding() // as long as there is a host for it
		}
		if s.tap != nil {
			s.system.ProcessRegistry.Remove(s.tap)
		}
		s.closed = s.release()
	})
	return s.closed
}
