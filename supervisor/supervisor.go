// Package supervisor keeps collectors the way they are wanted, and answers the
// commands about them. It knows them by what they say, not by how they do it:
// whatever answers orders and sends reports (package messages) can be a child.
//
// # What is wanted, and what is
//
// They are two variables. Commands change what is wanted, at once; reports of
// the children say what is. A stop that is under way, a restart that is due and
// an exit that nobody has heard of yet can so meet in any order: an exit brings
// a collector back only if it is wanted when the exit is heard.
//
// # Faults
//
// There is one restart authority, and it is not the actor library. A child that
// panics is stopped; its heir (the next actor from the same Props) ends the
// process that it left, and that counts as one more exit. A supervisor that
// panics is made anew by its own parent: what it knew stands in a ledger that
// outlives it, every caller that waited is told, all processes are ended and
// what is wanted is started again.
package supervisor

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/scheduler"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/supervisor/restart"
)

// Options say what a supervisor looks after.
type Options struct {
	// Config holds the settings, and the collectors that are known from the
	// beginning. It must be valid.
	Config config.Config

	// Child makes the Props of the child that runs the collector with that id.
	// It is called once for each collector that becomes known.
	Child func(id string) *actor.Props

	// Subscribers receive every event there is, from the first on.
	Subscribers []*actor.PID

	// Instance names this life of the supervisor, and PID is the process that it
	// lives in: who reads its events hears both.
	Instance string
	PID      int

	// Meter, if set, finds out what collectors use. Nil: nothing is known of that.
	Meter Meter

	// Random returns numbers in [0, 1), for the jitter of delays. Nil: random ones.
	Random func() float64
}

// Props describes a supervisor. It answers the commands of package messages.
func Props(o Options) *actor.Props {
	if o.Random == nil {
		o.Random = rand.Float64
	}
	o.Config.ProcessManager = o.Config.ProcessManager.WithDefaults()
	l := &ledger{children: map[string]*child{}, subscribers: slices.Clone(o.Subscribers),
		manager: o.Config.ProcessManager, guard: restart.Guard{Rate: o.Config.ProcessManager.MaxSpawnsPerSecond}, startedAt: time.Now(), commands: map[string]map[string]uint64{}}
	l.first, o.Config.Collectors = o.Config.Collectors, nil
	l.groupConfigs, l.order = o.Config.Groups, o.Config.Order
	l.stale = true
	mailbox := actor.Unbounded()
	return actor.PropsFromProducer(func() actor.Actor {
		s := &supervisor{options: o, ledger: l, waiters: map[string][]*child{}, enders: map[string][]*child{}, launching: map[*child]bool{}, measuring: map[uint64]usageQuestion{}}
		s.mode.Become(s.serving)
		return s
	}, actor.WithSupervisor(stopOnPanic), actor.WithMailbox(func() actor.Mailbox {
		l.mailbox = mailbox()
		return l.mailbox
	}))
}

// stopOnPanic leaves it to the supervisor what to do about a child with a fault.
var stopOnPanic = actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })

// ledger is what outlives a supervisor actor that had a fault. It belongs to
// one actor at a time.
type ledger struct {
	children    map[string]*child
	seq         uint64 // of the last event
	starts      uint64 // counts them, for the order of the shutdown
	spawned     uint64 // counts the children's actors, whose names must differ
	asked       uint64 // counts the questions to the meter, whose answers may come late
	subscribers []*actor.PID
	begun       bool                        // all that the configuration names is known
	first       map[string]config.Collector // what it names, until then
	closing     bool                        // no more starts

	manager      config.ProcessManager // in force, with all defaults
	groupConfigs map[string]config.Group
	order        []string          // of the children within their groups
	groups       map[string]*group // all levels of the tree; "" is the supervisor itself
	stale        bool              // the tree has to be arranged anew
	fate         fate              // why the supervisor has ended by itself, if it has

	startedAt time.Time
	recent    ring // of events
	commands  map[string]map[string]uint64
	spawns    messages.Histogram
	guard     restart.Guard
	mailbox   actor.Mailbox
}

type supervisor struct {
	options Options
	*ledger
	mode actor.Behavior // serving, then draining

	token    uint64    // of the last order
	asking   one       // whose command is being handled; zero once it is answered, or waits
	shutdown *shutdown // nil: none is under way, or was
	reload   *reload   // nil: none is under way

	measuring map[uint64]usageQuestion // what the meter was asked

	// Who waits to start, and who waits to be ended, by what for; and what they
	// are to look at again when the message under way has been handled.
	waiters, enders map[string][]*child
	touched         []string
	leavers         []*child
	launching       map[*child]bool // whose start has been ordered, and is not over
}

// one is a caller that waits for an answer.
type one struct {
	op, id  string
	sender  *actor.PID // nil: he does not care
	origin  messages.Origin
	audited bool    // subscribers hear what became of it
	gather  *gather // it is a part of a command to a group; nil: it is not
	change  *change // it is a part of a reload; nil: it is not
}

// asked is whoever sent the command that ctx is about.
func asked(ctx actor.Context) one {
	caller := one{sender: ctx.Sender()}
	caller.op, caller.id = messages.Subject(ctx.Message())
	if header := ctx.MessageHeader(); header != nil && header.Length() > 0 {
		caller.origin = messages.OriginFrom(header.Get)
		caller.audited = caller.origin != messages.Origin{} && messages.Changes(ctx.Message())
	}
	return caller
}

// due is the supervisor telling itself that a restart's delay is over.
type due struct {
	id    string
	start uint64
}

func (due) IgnoreDeadLetterLogging() {}

// retry is the supervisor telling itself that one that has failed may be tried
// again.
type retry due

func (retry) IgnoreDeadLetterLogging() {}

func (s *supervisor) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Restarting, *actor.Stopping: // whoever was being answered still has to be
	case messages.Report, messages.Outcome, due, retry, proven, holdOver, measured, crossed, exceeded, actor.SystemMessage, actor.AutoReceiveMessage: // a fault is not an answer to who was being served
	default:
		s.asking = asked(ctx)
	}
	s.mode.Receive(ctx)
	s.react(ctx)
	s.asking = one{}
}

func (s *supervisor) serving(ctx actor.Context) {
	if strings.HasPrefix(s.asking.id, config.GroupMark) && s.toGroup(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case messages.StartCollector:
		s.start(ctx, m)
	case messages.StopCollector:
		s.stop(ctx, m)
	case messages.RestartCollector:
		s.restart(ctx, m)
	case messages.PauseCollector:
		s.pass(ctx, "pause", m.ID, func(token uint64) any { return messages.SuspendProcess{Token: token} })
	case messages.ResumeCollector:
		s.pass(ctx, "resume", m.ID, func(token uint64) any { return messages.ContinueProcess{Token: token} })
	case messages.SignalCollector:
		s.pass(ctx, "signal", m.ID, func(token uint64) any {
			return messages.SignalProcess{Token: token, Signal: m.Signal, Group: m.Group}
		})
	case messages.ReloadCollector:
		s.reloadCollector(ctx, m.ID)
	case messages.LimitCollector:
		s.limit(ctx, m)
	case messages.SendHeartbeat:
		s.heartbeat(ctx, m)
	case messages.RemoveCollector:
		s.remove(ctx, m)
	case messages.ResetCollector:
		s.reset(ctx, m)
	case messages.Shutdown:
		s.shutDown(ctx, m)
	case messages.GetStatus:
		if c := s.find(ctx, "status", m.ID); c != nil {
			s.respond(ctx, c.status(s.manager, time.Now()))
		}
	case messages.ListCollectors:
		s.respond(ctx, s.list())
	case messages.CheckHealth:
		if c := s.find(ctx, "health", m.ID); c != nil {
			status := c.status(s.manager, time.Now())
			s.respond(ctx, messages.HealthReply{ID: c.id, Health: status.Health, Reasons: status.HealthReasons})
		}
	case messages.InspectCollector:
		if c := s.find(ctx, "inspect", m.ID); c != nil {
			s.respond(ctx, s.inspect(c))
		}
	case messages.GetUsage:
		s.usage(ctx, m)
	case messages.GetGraph:
		s.respond(ctx, s.graph())
	case messages.GetSupervisor:
		s.respond(ctx, s.info())
	case messages.ApplyConfig:
		s.apply(ctx, m)
	case messages.RecordDenial:
		s.tell(ctx, messages.Event{ID: m.ID, Origin: s.asking.origin, Fact: messages.Audited{Op: m.Op, Err: m.Err, Denied: true}})
		s.respond(ctx, messages.DenialReply{})
	case messages.DescribeActors:
		s.respond(ctx, s.describe(ctx))
	case messages.Subscribe:
		s.subscribe(ctx, m)
	case messages.Unsubscribe:
		s.unsubscribe(ctx, m)

	case messages.Report:
		if c := s.children[m.ID]; c != nil && c.pid.Equal(ctx.Sender()) {
			s.hear(ctx, c, m)
		}
	case messages.Outcome:
		s.settle(ctx, m)
	case due:
		s.restartDue(ctx, m)
	case retry:
		s.retryDue(ctx, m)
	case proven:
		s.proved(ctx, m)
	case holdOver:
		s.holdOver(m)
	case measured:
		s.measured(ctx, m)
	case crossed:
		s.crossed(ctx, m)
	case exceeded:
		s.exceeded(ctx, m)

	case *actor.Started:
		s.begin(ctx)
	case *actor.Terminated:
		s.terminated(ctx, m.Who)
	case *actor.Restarting:
		s.abandon(ctx, "the supervisor had a fault; whether the command was carried out is not known, and every collector that is wanted is being started again")
		s.mode.Become(s.draining)
	case *actor.Stopping:
		s.abandon(ctx, "the supervisor is ending, and all collectors with it")
		s.mode.Become(s.draining)
	case *actor.Stopped:
	default:
		ctx.Logger().Warn("the supervisor does not know this message", "message", fmt.Sprintf("%T", m))
		s.respond(ctx, &messages.Error{Op: s.asking.op, Kind: messages.Internal, Text: "the supervisor does not know this command"})
	}
}

// draining lets the children go: one that was replaced now would keep the
// supervisor from ever ending.
func (s *supervisor) draining(ctx actor.Context) {
	if ctx.Sender() == nil {
		return
	}
	switch m := ctx.Message().(type) {
	case messages.Report, messages.Outcome:
	default:
		op, id := messages.Subject(m)
		ctx.Send(ctx.Sender(), &messages.Error{Op: op, ID: id, Kind: messages.InvalidState,
			State: messages.Stopping, Text: "the supervisor is ending"})
	}
}

// begin makes what the configuration asks for; after a fault, what the ledger
// says there was.
func (s *supervisor) begin(ctx actor.Context) {
	if s.seq == 0 {
		s.publish(ctx, nil, messages.Begun{Instance: s.options.Instance, PID: s.options.PID})
	}
	s.stale = true
	for _, g := range s.groups {
		g.release()
	}
	for _, c := range s.ordered() {
		c.inherit()
		c.revive = c.wanted
		s.spawnChild(ctx, c)
		s.warn(ctx, c)
		s.publish(ctx, c, messages.Crashed{Reason: "the supervisor had a fault and was made anew"})
	}
	if s.begun {
		return // what is not there any more was removed
	}
	var first []*child
	for _, id := range slices.SortedFunc(maps.Keys(s.first), config.CompareIDs) {
		if s.children[id] == nil {
			c := s.add(ctx, id, s.first[id])
			c.declare(s.first[id])
			c.wanted = c.config.Autostart // also if there is a fault before it is started
			first = append(first, c)
		}
	}
	s.begun, s.first = true, nil
	for _, c := range first {
		if c.wanted && c.started == 0 { // else another one has needed it
			s.wantUp(ctx, c)
		}
	}
}

// abandon answers everybody who waits: there will be nobody left to do it.
func (s *supervisor) abandon(ctx actor.Context, why string) {
	fail := func(callers []one) {
		for _, caller := range callers {
			s.answer(ctx, caller, &messages.Error{Op: caller.op, ID: caller.id, Kind: messages.Internal, Text: why})
		}
	}
	for _, c := range s.children {
		c.forget()
		s.unwarn(c)
		fail(c.callers())
		c.starts, c.stops, c.restarts, c.others = nil, nil, nil, nil
	}
	if s.shutdown != nil {
		fail(s.shutdown.callers)
		s.shutdown = nil
	}
	for question, q := range s.measuring {
		fail([]one{q.caller})
		delete(s.measuring, question)
	}
	if s.reload != nil {
		fail([]one{s.reload.caller})
		s.reload = nil
	}
	if s.asking != (one{}) {
		fail([]one{s.asking})
		s.asking = one{}
	}
}

// add makes a collector known.
func (s *supervisor) add(ctx actor.Context, id string, cfg config.Collector) *child {
	c := &child{id: id, props: s.options.Child(id), config: cfg.WithDefaults(id, s.manager), since: time.Now()}
	c.origin = s.asking.origin
	s.children[id] = c
	s.stale = true
	s.touch(id)
	s.warn(ctx, c)
	s.spawnChild(ctx, c)
	s.publish(ctx, c, messages.Added{Type: c.config.Type})
	return c
}

// spawnChild gives c an actor. Its name is never used again, so that nothing
// that was meant for the one before it can reach it.
func (s *supervisor) spawnChild(ctx actor.Context, c *child) {
	s.spawned++
	pid, err := ctx.SpawnNamed(c.props, fmt.Sprintf("%s@%d", c.id, s.spawned))
	if err != nil {
		panic(err) // the names are ours alone
	}
	c.pid = pid
}

// ordered lists the children by id.
func (s *supervisor) ordered() []*child {
	children := make([]*child, 0, len(s.children))
	for _, c := range s.children {
		children = append(children, c)
	}
	slices.SortFunc(children, func(a, b *child) int { return config.CompareIDs(a.id, b.id) })
	return children
}

// find returns the collector, or answers that there is none.
func (s *supervisor) find(ctx actor.Context, op, id string) *child {
	c := s.children[id]
	if c == nil {
		s.respond(ctx, s.notFound(op, id))
	}
	return c
}

func (s *supervisor) notFound(op, id string) *messages.Error {
	return &messages.Error{Op: op, ID: id, Kind: messages.ProcessNotFound, Text: "no collector has this id; status lists those there are"}
}

// respond answers the message that is being handled.
func (s *supervisor) respond(ctx actor.Context, reply any) {
	s.answer(ctx, s.asking, reply)
	s.asking = one{}
}

// answer sends a reply to a caller. Every command comes through here once: so it
// is counted here, and told to all who are to hear of it.
func (s *supervisor) answer(ctx actor.Context, to one, reply any) {
	failure, _ := reply.(*messages.Error)
	if to.change != nil {
		s.changed(ctx, to.change, failure)
		return
	}
	if to.gather != nil {
		s.part(ctx, to.gather, failure)
		return
	}
	s.count(to.op, failure)
	if to.audited {
		s.tell(ctx, messages.Event{ID: to.id, Origin: to.origin, Fact: messages.Audited{Op: to.op, Err: failure}})
	}
	if to.sender != nil {
		ctx.Send(to.sender, reply)
	}
}

// caller takes the sender of the message that is being handled as one that
// waits: from here on it is answered from a child's record.
func (s *supervisor) caller() one {
	caller := s.asking
	s.asking = one{}
	return caller
}

func (s *supervisor) refuse(ctx actor.Context, callers []one, id string, e messages.Error) {
	for _, caller := range callers {
		refusal := e
		refusal.Op, refusal.ID = caller.op, id
		s.answer(ctx, caller, &refusal)
	}
}

func (s *supervisor) nextToken() uint64 {
	s.token++
	return s.token
}

// after has the supervisor tell itself something later.
func (s *supervisor) after(ctx actor.Context, delay time.Duration, message any) (cancel func()) {
	return scheduler.NewTimerScheduler(ctx.ActorSystem().Root).SendOnce(delay, ctx.Self(), message)
}
