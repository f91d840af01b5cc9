package messages

import "context"

// An Origin says where a command comes from. It travels beside the command, and
// stands in every [Event] that the command leads to. The zero Origin is the
// program that the supervisor is part of.
type Origin struct {
	// By is who gave the command, in the words of whoever let him in:
	// "uid 0 (root)", "certificate ops.example.org".
	By string
	// Correlation is the caller's own name for the request, in logs and events.
	Correlation string
}

type originKey struct{}

// WithOrigin is ctx for commands that come from o.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf is where commands given with ctx come from.
func OriginOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// The headers in which an origin travels beside a command from actor to actor.
const (
	headerBy          = "proctor-by"
	headerCorrelation = "proctor-correlation"
)

// Headers is o as the header of a message, nil for the zero Origin.
func (o Origin) Headers() map[string]string {
	if o == (Origin{}) {
		return nil
	}
	return map[string]string{headerBy: o.By, headerCorrelation: o.Correlation}
}

// OriginFrom is the origin in the header of a message; get returns a header's
// value, or "".
func OriginFrom(get func(key string) string) Origin {
	return Origin{By: get(headerBy), Correlation: get(headerCorrelation)}
}
