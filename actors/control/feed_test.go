package control

import (
	"context"
	"testing"
	"time"

	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/messages"
	"google.golang.org/protobuf/proto"
)

// fill adds events with the numbers from first to last, a second apart.
func fill(f *feed, first, last uint64) {
	for seq := first; seq <= last; seq++ {
		f.add(messages.Event{Seq: seq, At: time.Unix(int64(seq), 0).UTC(), ID: "web", Fact: messages.Removed{}})
	}
}

// hears is what somebody is sent who wants that: the numbers of the events, with
// the count of a Lost in its place.
func hears(t *testing.T, f *feed, since messages.Since, known uint64) (first uint64, n int, lost uint64) {
	t.Helper()
	place, missed, err := f.place(t.Context(), since, known)
	if err != nil {
		t.Fatal(err)
	}
	for {
		batch, after, dropped, more := f.next(place, 500)
		missed += dropped
		if len(batch) == 0 {
			if more == nil {
				t.Error("it is over")
			}
			return first, n, lost
		}
		for _, raw := range []bool{true, false} {
			data, err := proto.Marshal(response("life", batch, missed, raw))
			if err != nil {
				t.Fatal(err)
			}
			var w pb.WatchEventsResponse
			if err := proto.Unmarshal(data, &w); err != nil {
				t.Fatal(err)
			}
			for i, sent := range w.Events {
				e, ok := decodeEvent(sent)
				if !ok {
					t.Fatalf("%v", sent)
				}
				if l, isLost := e.Fact.(messages.Lost); isLost {
					// Encoded events come first: a Lost in front has the number before them.
					if lost = l.Count; e.Seq+1 != batch[0].event.Seq {
						t.Errorf("a loss has number %d", e.Seq)
					}
				} else if raw && first == 0 {
					first = e.Seq
				} else if raw && i > 0 && e.Seq == 0 {
					t.Errorf("%+v", e)
				}
			}
		}
		n += len(batch)
		place, missed = after, 0
	}
}

func TestWhoFollowsHearsFromWhereHeAsksOnAndWhatIsMissing(t *testing.T) {
	var f feed
	fill(&f, 1, 10)
	for name, test := range map[string]struct {
		since messages.Since
		first uint64
		n     int
		lost  uint64
	}{
		"nothing that was": {messages.Since{}, 0, 0, 0},
		"all":              {messages.Since{Seq: 1}, 1, 10, 0},
		"from a number on": {messages.Since{Seq: 7}, 7, 4, 0},
		"from a time on":   {messages.Since{Time: time.Unix(9, 0)}, 9, 2, 0},
		"from the future":  {messages.Since{Seq: 99}, 0, 0, 0},
	} {
		if first, n, lost := hears(t, &f, test.since, 10); first != test.first || n != test.n || lost != test.lost {
			t.Errorf("%s: from %d on %d, %d lost", name, first, n, lost)
		}
	}
	fill(&f, 11, 5000)
	if first, n, lost := hears(t, &f, messages.Since{Seq: 5}, 5000); first != 905 || n != keptEvents || lost != 900 {
		t.Errorf("from %d on %d, %d lost", first, n, lost)
	}
	if first, n, _ := hears(t, &f, messages.Since{}, 4990); first != 4991 || n != 10 {
		t.Errorf("who knows 4990: from %d on %d", first, n)
	}
}

func TestWhoIsTooSlowIsToldHowManyHeMissed(t *testing.T) {
	var f feed
	fill(&f, 1, 10)
	place, _, err := f.place(t.Context(), messages.Since{Seq: 1}, 10)
	if err != nil {
		t.Fatal(err)
	}
	fill(&f, 11, 10+2*keptEvents)
	batch, _, missed, _ := f.next(place, 1)
	if missed != 10+keptEvents || batch[0].event.Seq != missed+1 {
		t.Errorf("%d are missing before %d", missed, batch[0].event.Seq)
	}
}

func TestWhoFollowsWaitsForWhatHasHappenedAlready(t *testing.T) {
	var f feed
	placed := make(chan uint64)
	go func() {
		place, _, _ := f.place(context.Background(), messages.Since{}, 3)
		placed <- place
	}()
	fill(&f, 1, 2)
	select {
	case <-placed:
		t.Error("the third event is not there yet")
	default:
	}
	fill(&f, 3, 4)
	if place := <-placed; place != 3 {
		t.Errorf("place %d", place)
	}
	f.finish()
	if _, _, _, more := f.next(4, 1); more != nil {
		t.Error("it is not over")
	}
}
