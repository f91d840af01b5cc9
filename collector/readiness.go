package collector

import (
	"bytes"
	"errors"
	"os"
	"regexp"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/collector/capture"
	"github.com/proctord/proctor/collector/lifecycle"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/proctord/proctor/platform"
)

// ready is a collector telling itself that its process has said that it is
// ready, on a descriptor or in its output, or that it cannot say so any more.
type ready struct {
	incarnation uint64
	err         error
}

func (ready) IgnoreDeadLetterLogging() {}

func (c *collector) hearReady(ctx actor.Context, err error) {
	switch {
	case err == nil:
		c.handle(ctx, c.nowReady(ctx)...)
	case c.state == lifecycle.Readying:
		c.unhealthy, c.illness = err.Error(), messages.IllStart
		c.handle(ctx, lifecycle.Unhealthy)
	}
}

var errClosed = errors.New("it closed the descriptor for its readiness and had not written a line feed to it")

// readsDescriptor gives the process that spec describes a descriptor to say on
// that it is ready. What is read from it is read by a goroutine that ends with
// the first line feed, or when nobody can write one any more.
func (c *collector) readsDescriptor(ctx actor.Context, cfg config.Collector, spec *platform.Spec) {
	root, self, incarnation := ctx.ActorSystem().Root, ctx.Self(), c.incarnation
	spec.ExtraFD = cfg.ReadinessFD
	if spec.ExtraFD == 0 {
		spec.ExtraFD = config.DefaultReadinessFD
	}
	spec.Extra = func() (*os.File, error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		go func() {
			err := untilLineFeed(r)
			_ = r.Close()
			root.Send(self, ready{incarnation, err})
		}()
		return w, nil
	}
}

func untilLineFeed(r *os.File) error {
	var piece [256]byte
	for {
		n, err := r.Read(piece[:])
		switch {
		case bytes.IndexByte(piece[:n], '\n') >= 0:
			return nil
		case err != nil:
			return errClosed
		}
	}
}

// lineWatch looks in what the process writes for the line that says that it is
// ready; nil if that is not how it says so.
func (c *collector) lineWatch(ctx actor.Context, cfg config.Collector) capture.Forwarder {
	if cfg.Readiness != config.ReadyLog {
		return nil
	}
	pattern, err := regexp.Compile(cfg.ReadinessPattern)
	if err != nil {
		return nil // the configuration is valid
	}
	root, self, incarnation := ctx.ActorSystem().Root, ctx.Self(), c.incarnation
	return capture.WatchFor(pattern, incarnation, func() { root.Send(self, ready{incarnation: incarnation}) })
}
