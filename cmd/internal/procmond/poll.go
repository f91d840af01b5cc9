package procmond

import (
	"context"

	"github.com/proctord/proctor/cmd/internal/jsonlines"
)

// poll learns of starts and exits by comparing lists of processes.
//
// On Unix a process that has exited and that its parent has not waited for yet is still in the list, so that its exit
// is reported when it is waited for.
func (m *monitor) poll(ctx context.Context, reason string) error {
	announced := false
	return jsonlines.Every(ctx, m.opts.Interval, func() error {
		if err := m.scan(ctx); err != nil {
			return err
		}
		if announced || m.live == nil || ctx.Err() != nil {
			return nil
		}
		announced = true
		return m.out.Write(startedEvent{
			Head: m.out.Head("started"), Source: Poll, Reason: reason,
			IntervalMS: m.opts.Interval.Milliseconds(), Processes: len(m.live),
		})
	})
}
