//go:build !linux

package procmond

func child(string) {}
