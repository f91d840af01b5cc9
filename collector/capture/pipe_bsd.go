//go:build darwin || freebsd

package capture

// widen does nothing: these systems make a buffer larger by themselves.
func (p *pipe) widen() { p.wide = true }
