package restart

import "time"

// A Guard spreads the restarts of all collectors together, so that many that
// crash at once do not come back at once. Its zero value lets everything pass.
type Guard struct {
	// Rate is how many restarts there may be in a second. Zero: any number.
	Rate int

	full time.Time // when all places that have been taken will be free again
}

// Take takes the next place for a restart that is to be at a time, and returns
// how much later it has to be. Places are given in the order in which they are
// asked for; a second's worth of them may be taken at once.
func (g *Guard) Take(at time.Time) (later time.Duration) {
	if g.Rate <= 0 {
		return 0
	}
	if g.full.Before(at) {
		g.full = at
	}
	g.full = g.full.Add(time.Second / time.Duration(g.Rate))
	return max(g.full.Sub(at)-time.Second, 0)
}
