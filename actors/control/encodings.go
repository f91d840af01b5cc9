package control

import (
	"sync/atomic"

	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/messages"
)

// encodings keep the last events as they travel, so that each is encoded once and
// not for everybody who follows. Nobody changes what is in them.
type encodings [1024]atomic.Pointer[encoding]

type encoding struct {
	seq  uint64
	wire *pb.Event
}

// of is the event as it travels.
func (k *encodings) of(e messages.Event) *pb.Event {
	if _, lost := e.Fact.(messages.Lost); lost { // one follower's own, which has the number of another
		return encodeEvent(e)
	}
	place := &k[e.Seq%uint64(len(k))]
	if kept := place.Load(); kept != nil && kept.seq == e.Seq {
		return kept.wire
	}
	fresh := &encoding{e.Seq, encodeEvent(e)}
	place.Store(fresh)
	return fresh.wire
}
