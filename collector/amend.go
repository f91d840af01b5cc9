package collector

import (
	"cmp"
	"reflect"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/proctord/proctor/collector/lifecycle"
	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/platform"
)

// amend puts settings in force, for the process that is there, that say what is
// done around it and how it is asked how it is. One whose end has begun comes to
// that as it was; a later one has them anyway.
func (c *collector) amend(ctx actor.Context, cfg config.Collector) {
	switch c.state {
	case lifecycle.Spawning, lifecycle.Readying, lifecycle.Running, lifecycle.Paused:
	default:
		return
	}
	spec := c.spec(cfg)
	around, err := surround(cfg, spec)
	switch {
	case err != nil:
		return // the configuration is valid
	case around == nil && (c.hook != nil || c.reload != nil):
		around = newSurroundings(cfg, spec) // what is under way needs some to its end
	}
	c.around = around
	c.startup, c.endsUnhealthy = cfg.StartupTimeout, cfg.RestartOnUnhealthy != config.Off
	if abort, err := platform.ParseSignal(cmp.Or(cfg.WatchdogSignal, config.DefaultWatchdogSignal)); err == nil {
		c.abort = abort
	}
	up := c.state == lifecycle.Running || c.state == lifecycle.Paused
	c.checks = c.checks.amended(newChecks(cfg, spec), up)
	c.check(ctx)
	c.flush(ctx)
}

// amended is what takes the place of checks, nil for none, when the settings are
// others. What a probe that is still the same has told counts further on; a process
// that is up and has started does not do so again.
func (k *checks) amended(after *checks, up bool) *checks {
	if k == nil {
		if up && after != nil {
			after.startup = nil
		}
		return after
	}
	if after == nil {
		k.rest()
		return nil
	}
	same := true
	for _, pair := range [][2]*check{{k.startup, after.startup}, {k.readiness, after.readiness}, {k.liveness, after.liveness}} {
		before, now := pair[0], pair[1]
		switch {
		case before == nil || now == nil:
			same = same && before == now
		case reflect.DeepEqual(before.probe, now.probe):
			now.tally = before.tally
		default:
			same = false
		}
	}
	if same {
		return k
	}
	started := up && !k.starting()
	k.rest()
	after.round = k.round + 1
	if started {
		after.startup = nil
	}
	return after
}
