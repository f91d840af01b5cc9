package platform

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// endTrees ends what a host on Linux leaves when it is killed. The processes
// themselves die by the parent-death signal; this is for what they have started.
// $1 is the group of the host, if it has one, and $2 its nonce.
//
// The group is killed at once. All others are searched for as in tree_linux.go:
// by group and session, by the mark, below those that were found; each is stopped
// when it is found, and there is another look until nothing new appears. What has
// left its session, and dropped the mark, and lost its parent is not found.
//
// The name of a program may hold anything, line ends and parentheses included.
const endTrees = `
exec 2>/dev/null
nonce=$2
[ -z "$1" ] || echo 1 >"$1/cgroup.kill"
look() {
	marked=" $(grep -ls "$nonce" /proc/[0-9]*/environ) "
	for stat in /proc/[0-9]*/stat; do
		pid=${stat#/proc/} pid=${pid%/stat}
		case $found in *" $pid "*) continue ;; esac
		text=
		while read -r line; do text="$text $line"; done <"$stat" || continue
		set -- ${text##*) }
		[ "$1" != Z ] || continue
		case $groups in *" $3 "* | *" $4 "*) ;; *)
			case $found in *" $2 "*) ;; *)
				case $marked in *"/proc/$pid/environ"*) ;; *) continue ;; esac
			esac
		esac
		kill -s STOP "$pid"
		found="$found$pid "
		new=1
	done
}
rounds=0
while [ $rounds -lt 100 ]; do
	found=' ' new=1
	while [ "$new" ]; do
		new=
		look
	done
	[ "$found" != ' ' ] || break
	for pid in $found; do kill -s KILL "$pid"; done
	rounds=$((rounds + 1))
done
clear() {
	for dir in "$1"/*/; do
		[ ! -d "$dir" ] || clear "${dir%/}"
	done
	rmdir "$1"
}
[ -z "$1" ] || clear "$1"
`

// guard starts the guardian of a host.
func (h *host) guard() error {
	group := ""
	if h.cgroups != nil {
		group = h.cgroups.path()
	}
	var err error
	h.guardian, err = startGuardian(endTrees, group, h.nonce+".")
	return err
}

// offMainThread runs f on another thread than the main one, whose children
// would be taken for orphans.
func offMainThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if unix.Gettid() == os.Getpid() {
			offMainThread(f) // while this goroutine holds that thread, another one gets a different one
			return
		}
		f()
	}()
	<-done
}
