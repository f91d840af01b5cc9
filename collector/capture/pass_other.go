//go:build darwin || freebsd

package capture

// A bulk is nothing here: there is no splice.
type bulk struct{}

func (*bulk) woke(int)          {}
func (*bulk) paused()           {}
func (*bulk) saw(*stream, int)  {}
func (*bulk) pass(*stream) bool { return false }
func (*bulk) close()            {}
