//go:build darwin || freebsd

package platform

func offMainThread(f func()) { f() }
