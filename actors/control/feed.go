package control

import (
	"context"
	"sort"
	"sync"
	"time"

	"github.com/proctord/proctor/actors"
	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/messages"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// keptEvents is how many events a feed keeps.
const keptEvents = 4096

// A feed has the last events of a supervisor for all who follow them from
// outside: the supervisor tells each to one subscriber, and it is encoded once,
// however many there are. Who follows has a place in it and nothing more: so one
// who is slow costs nothing, and is told what he has missed.
type feed struct {
	mu    sync.Mutex // leaf: one appends, others copy what is there
	ring  [keptEvents]told
	begin uint64        // the place of the oldest that is kept
	end   uint64        // the place of the next one
	more  chan struct{} // closed when there is another one; nil: nobody waits
	over  bool          // there will be none
}

// told is an event in a feed.
type told struct {
	event messages.Event
	wire  []byte // as a field of a WatchEventsResponse
}

// eventsField is the number of WatchEventsResponse.events.
const eventsField = 2

// follow fills the feed until ctx is done, or the supervisor has ended.
func (f *feed) follow(ctx context.Context, b actors.Backend) {
	defer f.finish()
	events, err := b.EventsSince(ctx, messages.Since{Seq: 1})
	if err != nil {
		return
	}
	for e := range events {
		f.add(e)
	}
}

func (f *feed) add(e messages.Event) {
	t := told{event: e}
	if wire, err := proto.Marshal(encodeEvent(e)); err == nil {
		t.wire = protowire.AppendBytes(protowire.AppendTag(nil, eventsField, protowire.BytesType), wire)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring[f.end%keptEvents] = t
	f.end++
	f.begin = max(f.begin, f.end-min(f.end, keptEvents))
	f.wake()
}

func (f *feed) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.wake()
}

// wake tells all who wait. The lock is held.
func (f *feed) wake() {
	if f.more != nil {
		close(f.more)
		f.more = nil
	}
}

// next is what there is from a place on, at most so much, and the place after it.
// Missed is how many of those have been dropped. If there is nothing, more is
// closed when there is, or when there never will be: then it is nil.
func (f *feed) next(place uint64, most int) (batch []told, after, missed uint64, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if place < f.begin {
		missed, place = f.begin-place, f.begin
	}
	for after = place; after < f.end && len(batch) < most; after++ {
		batch = append(batch, f.ring[after%keptEvents])
	}
	if len(batch) == 0 && !f.over {
		if f.more == nil {
			f.more = make(chan struct{})
		}
		more = f.more
	}
	return batch, after, missed, more
}

// place is where to begin for somebody who wants what since asks for, when the
// last event that he may know of is known. It waits until that is here. Missed is
// as in next.
func (f *feed) place(ctx context.Context, since messages.Since, known uint64) (place, missed uint64, err error) {
	for {
		f.mu.Lock()
		if f.over || f.end > f.begin && f.at(f.end-1).event.Seq >= known {
			break
		}
		if f.more == nil {
			f.more = make(chan struct{})
		}
		more := f.more
		f.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
	defer f.mu.Unlock()
	wanted := func(e messages.Event) bool { return e.Seq > known }
	switch {
	case since.Seq != 0:
		wanted = func(e messages.Event) bool { return e.Seq >= since.Seq }
	case !since.Time.IsZero():
		wanted = func(e messages.Event) bool { return !e.At.Before(since.Time) }
	}
	n := sort.Search(int(f.end-f.begin), func(i int) bool { return wanted(f.at(f.begin + uint64(i)).event) })
	place = f.begin + uint64(n)
	if n > 0 || f.end == f.begin || since == (messages.Since{}) {
		return place, 0, nil
	}
	first := f.at(f.begin).event
	if _, lost := first.Fact.(messages.Lost); lost {
		return place, 0, nil // it says so itself
	}
	// How many came after a time is not known of what is not there: at most all.
	return place, first.Seq - max(since.Seq, 1), nil
}

// at is the one at a place that is kept. The lock is held.
func (f *feed) at(place uint64) *told { return &f.ring[place%keptEvents] }

// response has a batch of events, after a Lost where some were missed. Raw is
// whether they go as they are encoded: to a caller who is not sent JSON.
func response(instance string, batch []told, missed uint64, raw bool) *pb.WatchEventsResponse {
	r := &pb.WatchEventsResponse{Instance: instance}
	if missed > 0 {
		lost := messages.Event{At: time.Now(), Fact: messages.Lost{Count: missed}}
		if len(batch) > 0 {
			lost.Seq, lost.At = batch[0].event.Seq-1, batch[0].event.At
		}
		r.Events = append(r.Events, encodeEvent(lost))
	}
	if !raw {
		for _, t := range batch {
			r.Events = append(r.Events, encodeEvent(t.event))
		}
		return r
	}
	// A field that is given in its encoded form is sent behind the others, as it is.
	size := 0
	for _, t := range batch {
		size += len(t.wire)
	}
	encoded := make([]byte, 0, size)
	for _, t := range batch {
		encoded = append(encoded, t.wire...)
	}
	r.ProtoReflect().SetUnknown(encoded)
	return r
}
