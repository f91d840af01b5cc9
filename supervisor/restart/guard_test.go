package restart

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestASecondsWorthOfRestartsPassesAtOnceAndTheRestWaitsItsTurn(t *testing.T) {
	g, now := Guard{Rate: 10}, time.Unix(0, 0)
	for i := range 30 {
		want := max(time.Duration(i-9)*100*time.Millisecond, 0)
		if got := g.Take(now); got != want {
			t.Errorf("restart %d is %v late, want %v", i+1, got, want)
		}
	}
}

func TestNoSecondHasMoreRestartsThanTwiceTheRateAndNoneIsOvertaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := Guard{Rate: rapid.IntRange(1, 50).Draw(t, "rate")}
		now := time.Unix(0, 0)
		var at []time.Time
		for range rapid.IntRange(1, 300).Draw(t, "restarts") {
			now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "ms")) * time.Millisecond)
			at = append(at, now.Add(g.Take(now)))
		}
		for i := range at {
			if i > 0 && at[i].Before(at[i-1]) {
				t.Fatalf("restart %d overtakes", i)
			}
			if n := i + 2*g.Rate; n < len(at) && at[n].Sub(at[i]) < time.Second {
				t.Fatalf("%d restarts within %v at a rate of %d", 2*g.Rate+1, at[n].Sub(at[i]), g.Rate)
			}
		}
	})
}

func TestWithoutARateNothingWaits(t *testing.T) {
	var g Guard
	for range 1000 {
		if g.Take(time.Unix(0, 0)) != 0 {
			t.Fatal("it waits")
		}
	}
}
