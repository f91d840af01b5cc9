package supervisor

import (
	"maps"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
)

// A Meter finds out what collectors use. Its methods must not block.
type Meter interface {
	// Ask has answer called once, from another goroutine, with what these collectors
	// use, in their order.
	Ask(ids []string, full, rate bool, answer func([]messages.CollectorUsage))

	// Warn has tell called, from another goroutine, when a collector begins to use
	// more than its settings warn of, and when that is over; and end when it has used
	// more memory than its soft limit for too long, and why it is to be ended. The
	// last call for an id counts; settings with neither end it.
	Warn(id string, c config.Collector, tell func(incarnation uint64, fact messages.Fact), end func(incarnation uint64, reason string))
}

// usageQuestion is somebody's GetUsage, until there is an answer.
type usageQuestion struct {
	caller one
	groups []string
}

// What the supervisor tells itself when its meter says something. It may be about
// a question of the actor before this one.
type (
	measured struct {
		question   uint64
		collectors []messages.CollectorUsage
	}
	crossed struct {
		id          string
		incarnation uint64
		fact        messages.Fact
	}
	exceeded struct {
		id          string
		incarnation uint64
		reason      string
	}
)

func (measured) IgnoreDeadLetterLogging() {}
func (crossed) IgnoreDeadLetterLogging()  {}
func (exceeded) IgnoreDeadLetterLogging() {}

// usage has the meter asked: what it says comes as a message.
func (s *supervisor) usage(ctx actor.Context, m messages.GetUsage) {
	ids, groups, failure := s.meant(m.IDs)
	if failure != nil {
		s.respond(ctx, failure)
		return
	}
	if s.options.Meter == nil {
		collectors := make([]messages.CollectorUsage, len(ids))
		for i, id := range ids {
			collectors[i].ID = id
		}
		s.respond(ctx, s.usageReply(collectors, groups))
		return
	}
	s.asked++
	question := s.asked
	s.measuring[question] = usageQuestion{s.caller(), groups}
	root, self := ctx.ActorSystem().Root, ctx.Self()
	s.options.Meter.Ask(ids, m.Full, m.Rate, func(collectors []messages.CollectorUsage) {
		root.Send(self, measured{question, collectors})
	})
}

// meant finds out which collectors and groups are asked for, each in order.
func (s *supervisor) meant(names []string) (ids, groups []string, failure *messages.Error) {
	if s.stale {
		s.arrange()
	}
	inIDs, inGroups := map[string]bool{}, map[string]bool{}
	add := func(g *group) {
		g.groups(func(inner *group) { inGroups[inner.name] = true })
		for c := range g.collectors {
			inIDs[c.id] = true
		}
	}
	for _, name := range names {
		mark, is := strings.CutPrefix(name, config.GroupMark)
		switch {
		case is && mark != "" && s.groups[mark] != nil:
			add(s.groups[mark])
		case is:
			return nil, nil, &messages.Error{Op: s.asking.op, ID: name, Kind: messages.ProcessNotFound, Text: "there is no such group"}
		case s.children[name] == nil:
			return nil, nil, s.notFound(s.asking.op, name)
		default:
			inIDs[name] = true
		}
	}
	if len(names) == 0 {
		add(s.groups[""])
	}
	delete(inGroups, "")
	return slices.SortedFunc(maps.Keys(inIDs), config.CompareIDs), slices.SortedFunc(maps.Keys(inGroups), config.CompareIDs), nil
}

// measured answers a question.
func (s *supervisor) measured(ctx actor.Context, m measured) {
	q, there := s.measuring[m.question]
	if !there {
		return // whoever asked was told that the supervisor had a fault
	}
	delete(s.measuring, m.question)
	s.answer(ctx, q.caller, s.usageReply(m.collectors, q.groups))
}

// usageReply adds up what is used in groups.
func (s *supervisor) usageReply(collectors []messages.CollectorUsage, groups []string) messages.UsageReply {
	if s.stale {
		s.arrange()
	}
	reply := messages.UsageReply{Collectors: collectors}
	of := make(map[string]*messages.Usage, len(collectors))
	for i := range collectors {
		of[collectors[i].ID] = &collectors[i].Usage
	}
	for _, name := range groups {
		g := s.groups[name]
		if g == nil {
			continue // it was removed meanwhile
		}
		sum := messages.GroupUsage{Name: name}
		for c := range g.collectors {
			sum.Members++
			if u := of[c.id]; u != nil && !u.At.IsZero() {
				sum.Measured++
				sum.Usage.Add(*u)
			}
		}
		reply.Groups = append(reply.Groups, sum)
	}
	return reply
}

// warn has the meter look at what a collector uses, if its settings say so.
func (s *supervisor) warn(ctx actor.Context, c *child) {
	if s.options.Meter == nil {
		return
	}
	root, self, id := ctx.ActorSystem().Root, ctx.Self(), c.id
	s.options.Meter.Warn(id, c.config, func(incarnation uint64, fact messages.Fact) {
		root.Send(self, crossed{id, incarnation, fact})
	}, func(incarnation uint64, reason string) {
		root.Send(self, exceeded{id, incarnation, reason})
	})
}

// unwarn has the meter look no more.
func (s *supervisor) unwarn(c *child) {
	if s.options.Meter != nil {
		s.options.Meter.Warn(c.id, config.Collector{}, func(uint64, messages.Fact) {}, func(uint64, string) {})
	}
}

// crossed tells everybody what the meter has said.
func (s *supervisor) crossed(ctx actor.Context, m crossed) {
	if s.children[m.id] != nil {
		s.tell(ctx, messages.Event{ID: m.id, Incarnation: m.incarnation, Fact: m.fact})
	}
}

// exceeded has a child end its process, which has used too much for too long.
func (s *supervisor) exceeded(ctx actor.Context, m exceeded) {
	if c := s.children[m.id]; c != nil {
		ctx.Request(c.pid, messages.CondemnProcess{Incarnation: m.incarnation, Reason: m.reason, Illness: messages.IllMemory})
	}
}
