package platform

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What belongs to a process
//
// The tree of a process is its session and group, whose number is its pid, and
// whatever carries its mark in the environment (mark_linux.go). Below a living
// process nothing needs to be looked for. When a parent dies, its children are
// given to this program, a subreaper, and the loop finds them in the list of
// what the main thread has for children (adoptedList). An orphan belongs to a
// tree if
//
//   - it was seen below that tree before it was orphaned (known), or
//   - its group or session is that of the tree's process, or
//   - it carries the mark, or
//   - an orphan that belongs there has the same group or session: so even a
//     zombie, of which no environment can be read, is recognised.
//
// All others are none of the host's business, as the program may start processes
// by other means: they are neither ended nor reaped, except by an exclusive host.
//
// A tree is empty when its process is reaped, no orphan belongs to it, and the
// group has no member. Since an exiting process gives its children away before
// its own end can be seen, one look after each end is enough to know.

// A member is something in a tree that is not the tree's process: an orphan, or,
// once the tree is being ended, anything found below it.
type member struct {
	tree    *process
	pid     int
	fd      int // its pidfd, in the epoll set; -1 if there was no descriptor to be had for an orphan
	token   uint64
	start   uint64
	pgrp    int
	session int
	stopped bool
	barren  bool // it had no children when it was stopped, so it gets none
	killed  bool
}

// signal reaches the member only: a pidfd names one process for good, and
// without one it is an orphan that nobody but the loop can reap.
func (m *member) signal(sig unix.Signal) error {
	if m.fd >= 0 {
		return unix.PidfdSendSignal(m.fd, sig, nil, 0)
	}
	return unix.Kill(m.pid, sig)
}

// A descendant is one that was seen in a tree and will be an orphan later.
type descendant struct {
	tree  *process
	start uint64
}

// A looker knows who belongs to whom. It is the loop's alone.
type looker struct {
	h       *host
	giveUp  atomic.Bool // not the loop's: the loop is to return
	reader  procReader
	pids    []int              // what is being read of some process's children
	todo    []int              // whose children are to be read
	due     []*process         // what is to be killed
	members map[int]*member    // by pid
	watched map[uint64]*member // by epoll token
	known   map[int]descendant // by pid
	touched map[*process]struct{}

	emptying map[uint64]*process // by epoll token: whose leaf has others in it than those that are known

	search    bool // there may be new orphans
	undecided bool // one of them cannot be told yet
	tries     int
	held      map[*process]struct{} // trees that wait until all can be told

	traced map[*process]struct{} // dead, but a debugger has not let them go
	// Not the loop's alone: whether a SIGCHLD may be the end of one of the traced.
	anyTraced atomic.Bool

	late   *process // a tree for what shows up after its own tree was declared empty: ended at once
	strays *process // a tree for what an exclusive host cannot tell: ended by Close
	isGone bool
}

func (l *looker) init(h *host) {
	l.h = h
	l.reader.byThread = h.adopted.fd >= 0
	l.members = map[int]*member{}
	l.watched = map[uint64]*member{}
	l.known = map[int]descendant{}
	l.touched = map[*process]struct{}{}
	l.held = map[*process]struct{}{}
	l.traced = map[*process]struct{}{}
	l.emptying = map[uint64]*process{}
	l.late = &process{h: h, label: "late orphans", phase: exited, pidfd: -1, killed: true}
	l.strays = &process{h: h, label: "orphans", phase: exited, pidfd: -1}
}

// ended handles the readable pidfd with this token.
func (h *host) ended(token uint64) {
	h.mu.Lock()
	p := h.trees[token]
	h.mu.Unlock()
	if p != nil {
		h.mainEnded(p)
	} else if m := h.watched[token]; m != nil {
		h.memberEnded(m)
	} else if p := h.emptying[token]; p != nil && !isPopulated(p.events) {
		delete(h.emptying, token)
		h.unwatch(p.events)
		h.touched[p] = struct{}{}
		h.search = true
	}
}

func (h *host) mainEnded(p *process) {
	switch p.reap() {
	case reaped:
		delete(h.traced, p)
		h.touched[p] = struct{}{} // settle tells
		h.search = true
	case withheld:
		// The pidfd would be reported again and again. That it can be reaped
		// will be told by SIGCHLD.
		p.mute()
		h.traced[p] = struct{}{}
	}
	h.anyTraced.Store(len(h.traced) > 0)
}

func (h *host) memberEnded(m *member) {
	var info unix.Siginfo
	_, err := ignoreEINTR(func() (int, error) {
		return 0, unix.Waitid(unix.P_PIDFD, m.fd, &info, unix.WEXITED|unix.WNOHANG, nil)
	})
	if err != nil || info.Signo == 0 {
		// Its parent is still there, but is being ended as well: the zombie
		// will be an orphan then.
		h.remember(m.tree, m.pid, m.start)
	}
	h.dismiss(m)
	h.search = true
}

// doWork follows up on what has happened.
func (h *host) doWork() {
	if h.look.Swap(false) {
		h.search = true
		for p := range h.traced {
			h.mainEnded(p)
		}
	}
	h.mu.Lock()
	kills, asks := h.kills, h.asks
	h.kills, h.asks = nil, nil
	h.mu.Unlock()
	for _, p := range kills {
		h.touched[p] = struct{}{}
	}
	for _, p := range asks {
		for _, m := range p.members {
			if m.pgrp != p.pid && !m.stopped { // the group was asked when the process was
				_ = m.signal(unix.Signal(p.stop)) // it may be gone
				_ = m.signal(unix.SIGCONT)
			}
		}
	}
	for h.search || len(h.touched) > 0 {
		if h.search {
			h.scan()
		}
		due := h.due[:0]
		for p := range h.touched {
			if p.dueForKill() {
				due = append(due, p)
			}
		}
		h.end(due)
		clear(due)
		due = due[:0]
		for p := range h.touched {
			delete(h.touched, p)
			if p.dueForKill() { // more of it has turned up meanwhile
				due = append(due, p)
			}
			h.settle(p)
		}
		for _, p := range due {
			h.touched[p] = struct{}{}
		}
		clear(due)
		h.due = due
	}
}

// finished is asked when nothing is left to be done for now.
func (h *host) finished() bool {
	if !h.closing.Load() || h.isGone {
		return h.giveUp.Load()
	}
	if h.exclusive && !h.strays.killed {
		h.strays.killed = true
		h.search = true
		h.touched[h.strays] = struct{}{}
		h.doWork()
	}
	h.mu.Lock()
	left := len(h.trees)
	h.mu.Unlock()
	if left+len(h.late.members)+len(h.strays.members) == 0 || !h.exclusive && left+len(h.late.members) == 0 {
		h.isGone = true
		close(h.gone)
	}
	return h.giveUp.Load()
}

// settle tells that the process of a tree has exited, and declares the tree empty
// if it is.
func (h *host) settle(p *process) {
	if p.seq == 0 || !p.hasExited() {
		return
	}
	empty := h.isEmpty(p)
	if !p.told {
		p.told = true
		if p.leaf != "" {
			p.exit.OOM = h.cgroups.oomKills(&h.reader, p.leaf)
			p.exit.MemoryPeak = h.cgroups.memoryPeak(&h.reader, p.leaf)
		}
		p.write(Notice{Kind: Exited, PID: p.pid, Exit: p.exit, Empty: empty})
		p.tell()
	}
	if !empty {
		return
	}
	h.disown(p)
	p.mu.Lock()
	p.phase, p.grouped = over, false
	p.mu.Unlock()
	h.forget(p)
	p.write(Notice{Kind: Emptied, PID: p.pid, Exit: p.exit})
	p.tell()
	if p.leaf != "" { // last, since somebody may be waiting for what follows
		h.cgroups.remove(p.leaf)
	} else if h.guardian != nil {
		h.guardian.release(p.pid)
	}
}

// isEmpty reports whether nothing is left of the tree of a reaped process.
func (h *host) isEmpty(p *process) bool {
	grouped := p.checkGroup()
	if !grouped && !p.holdsSession() {
		h.mu.Lock()
		if h.byPID[p.pid] == p { // the number may belong to somebody else from now on
			delete(h.byPID, p.pid)
		}
		h.mu.Unlock()
	}
	if len(p.members) > 0 {
		return false
	}
	if h.undecided {
		h.held[p] = struct{}{}
		return false
	}
	if grouped && h.findGroup(p) {
		h.touched[p] = struct{}{}
		return false
	}
	return p.leaf == "" || h.isLeafEmpty(p)
}

// isLeafEmpty reports whether nothing is left in the leaf of p. If something is,
// which is neither an orphan nor in the group, p is touched when it has gone.
func (h *host) isLeafEmpty(p *process) bool {
	for _, other := range h.emptying {
		if other == p {
			return false
		}
	}
	fd, err := h.cgroups.events(p.leaf)
	if err != nil {
		return true // somebody has removed it, which needs it to be empty
	}
	if !isPopulated(fd) {
		unix.Close(fd)
		return true
	}
	h.mu.Lock()
	h.seq++
	token := h.seq
	h.mu.Unlock()
	if h.watchFor(unix.EPOLLPRI, fd, token) != nil {
		unix.Close(fd)
		return true // the system has no room for what it takes to wait
	}
	p.events = fd
	h.emptying[token] = p
	return false
}

// dueForKill reports whether there is something in the tree that was not sent SIGKILL yet but must be.
func (p *process) dueForKill() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.killed || p.phase == over {
		return false
	}
	if p.phase == running && !p.ended || p.leaf != "" && !p.purged {
		return true
	}
	for _, m := range p.members {
		if !m.killed {
			return true
		}
	}
	return false
}

func (p *process) hasExited() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phase == exited
}

// checkGroup reports whether the group of a reaped process has members.
func (p *process) checkGroup() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.grouped && p.signalGroup(0) == unix.ESRCH {
		p.grouped = false
	}
	return p.grouped
}

// holdsSession reports whether the process's number is still taken as that of a session.
func (p *process) holdsSession() bool {
	for _, m := range p.members {
		if m.session == p.pid {
			return true
		}
	}
	return false
}

func (h *host) forget(p *process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.trees, p.seq)
	if p.pid != 0 && h.byPID[p.pid] == p {
		delete(h.byPID, p.pid)
	}
}

func (h *host) remember(tree *process, pid int, start uint64) {
	h.known[pid] = descendant{tree: tree, start: start}
	tree.known = append(tree.known, pid)
}

// disown is for what was seen to be dead in a tree and has not come up as an
// orphan: the zombies of somebody who does not reap them, and is not of the
// tree. They come when that one dies, and need to be reaped then.
func (h *host) disown(p *process) {
	for _, pid := range p.known {
		d := h.known[pid]
		if d.tree != p {
			continue
		}
		if st, err := h.reader.stat(pid); err == nil && st.start == d.start {
			h.known[pid] = descendant{tree: h.late, start: d.start}
		} else {
			delete(h.known, pid)
		}
	}
	p.known = nil
}

// enlist makes a process a member of a tree. fd is its pidfd or -1.
func (h *host) enlist(tree *process, st procStat, fd int) *member {
	m := &member{tree: tree, pid: st.pid, fd: fd, start: st.start, pgrp: st.pgrp, session: st.session}
	if fd >= 0 {
		h.mu.Lock()
		h.seq++
		m.token = h.seq
		h.mu.Unlock()
		if h.watch(fd, m.token) != nil {
			unix.Close(fd)
			m.fd = -1
		} else {
			h.watched[m.token] = m
		}
	}
	h.members[m.pid] = m
	if tree.members == nil {
		tree.members = map[int]*member{}
	}
	tree.members[m.pid] = m
	h.touched[tree] = struct{}{}
	return m
}

func (h *host) dismiss(m *member) {
	if m.fd >= 0 {
		delete(h.watched, m.token)
		h.unwatch(m.fd)
	}
	delete(h.members, m.pid)
	delete(m.tree.members, m.pid)
	h.touched[m.tree] = struct{}{}
}

// An orphan is an adopted process that is not a member of a tree yet.
type orphan struct {
	procStat
	tree *process
}

// scan finds new orphans and gives them to the trees that they belong to.
func (h *host) scan() {
	h.search = false
	if h.adopted.fd < 0 {
		h.forking.Lock()
		defer h.forking.Unlock()
	}
	h.undecided = false
	h.pids = h.adopted.read(&h.reader, h.pids[:0], func(pid int) bool { return h.members[pid] != nil })
	var found, unknown []orphan
	for _, pid := range h.pids {
		if m := h.members[pid]; m != nil {
			if m.fd < 0 && reapOrphan(pid) {
				h.dismiss(m)
			}
			continue
		}
		if h.adopted.fd < 0 && (h.isMain(pid) || h.guardian != nil && pid == int(h.guardian.pid.Load())) {
			continue
		}
		st, err := h.reader.stat(pid)
		if err != nil || st.ppid != h.self { // reaped, by whoever it belonged to
			continue
		}
		tree, undecided := h.ownerOf(st)
		switch {
		case tree != nil:
			found = append(found, orphan{st, tree})
		case undecided:
			h.undecided = true
		default:
			unknown = append(unknown, orphan{st, nil})
		}
	}
	found = append(found, h.kin(found, unknown)...)
	// They are reaped only now, because a zombie keeps the numbers of its group
	// and session from being given to others.
	for _, o := range found {
		h.adopt(o)
	}
	h.retryIfUndecided()
}

// isMain reports whether pid is the process of a tree.
func (h *host) isMain(pid int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byPID[pid] != nil
}

// ownerOf finds the tree that an orphan belongs to. It is undecided about one
// that is just being exec'ed.
func (h *host) ownerOf(st procStat) (tree *process, undecided bool) {
	if d, ok := h.known[st.pid]; ok && d.start == st.start {
		return d.tree, false
	}
	h.mu.Lock()
	tree = h.byPID[st.pgrp]
	if tree == nil {
		tree = h.byPID[st.session]
	}
	h.mu.Unlock()
	if tree != nil {
		return tree, false
	}
	if h.cgroups != nil {
		if text, err := h.reader.read("/proc/" + strconv.Itoa(st.pid) + "/cgroup"); err == nil {
			if seq, ok := h.cgroups.findLeaf(text); ok {
				return h.numbered(seq), false
			}
		}
	}
	if st.dead() {
		return nil, false
	}
	environ, execs, err := h.reader.environBeyondExec(st.pid)
	if err != nil || execs {
		return nil, execs
	}
	seq, ours := findMark(environ, h.nonce)
	if !ours {
		return nil, false
	}
	return h.numbered(seq), false
}

// numbered is the tree with that number, or the one for late orphans.
func (h *host) numbered(seq uint64) *process {
	h.mu.Lock()
	defer h.mu.Unlock()
	if tree := h.trees[seq]; tree != nil {
		return tree
	}
	return h.late
}

// kin finds out of the unknown orphans those that share a group or a session
// with one that belongs to a tree, and of an exclusive host all others as well.
func (h *host) kin(found, unknown []orphan) []orphan {
	if len(unknown) == 0 {
		return nil
	}
	owners := map[int]*process{} // by the number of a group or session
	learn := func(tree *process, pgrp, session int) {
		if tree != h.strays {
			owners[pgrp], owners[session] = tree, tree
		}
	}
	for _, m := range h.members {
		learn(m.tree, m.pgrp, m.session)
	}
	for _, o := range found {
		learn(o.tree, o.pgrp, o.session)
	}
	var kin []orphan
	for again := true; again; {
		again = false
		for i := range unknown {
			o := &unknown[i]
			if o.tree != nil {
				continue
			}
			if o.tree = owners[o.pgrp]; o.tree == nil {
				o.tree = owners[o.session]
			}
			if o.tree != nil {
				learn(o.tree, o.pgrp, o.session)
				kin = append(kin, *o)
				again = true
			}
		}
	}
	for _, o := range unknown {
		if o.tree == nil && h.exclusive {
			o.tree = h.strays
			kin = append(kin, o)
		}
	}
	return kin
}

// adopt reaps a dead orphan and makes a live one a member of its tree.
func (h *host) adopt(o orphan) {
	h.touched[o.tree] = struct{}{}
	delete(h.known, o.pid)
	if o.dead() && reapOrphan(o.pid) {
		return
	}
	fd, err := unix.PidfdOpen(o.pid, 0)
	if err != nil {
		fd = -1 // no descriptor left: scan reaps it when there is a SIGCHLD
	}
	h.enlist(o.tree, o.procStat, fd)
}

func reapOrphan(pid int) bool {
	n, err := ignoreEINTR(func() (int, error) { return unix.Wait4(pid, nil, unix.WNOHANG, nil) })
	return n == pid || err == unix.ECHILD
}

// retryIfUndecided comes back to an orphan that is just being exec'ed. There is
// no event for the end of an exec; it takes microseconds, unless the program has
// to be read from a slow disk.
func (h *host) retryIfUndecided() {
	if h.undecided && h.tries < 12 {
		time.AfterFunc(time.Millisecond<<h.tries, func() {
			h.look.Store(true)
			h.wake()
		})
		h.tries++
		return
	}
	h.undecided = false
	h.tries = 0
	for p := range h.held {
		delete(h.held, p)
		h.touched[p] = struct{}{}
	}
}

// findGroup looks for members of the group of a process that has been reaped,
// where no orphan is left: children of a process that is neither in the tree nor
// in this program, as of a subreaper further down. It reports whether there are any.
func (h *host) findGroup(p *process) bool {
	for _, pid := range listNumbers("/proc") {
		st, err := h.reader.stat(pid)
		if err != nil || st.pgrp != p.pid || st.dead() || h.members[pid] != nil {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if now, err := h.reader.stat(pid); err != nil || now.start != st.start {
			unix.Close(fd)
			continue
		}
		h.enlist(p, st, fd)
	}
	return len(p.members) > 0
}

// maxRounds bounds a search for what keeps multiplying although it is stopped.
const maxRounds = 64

// end sends SIGKILL to all of some trees.
//
// First everything is stopped: a process with a pending SIGSTOP can fork no more,
// so what is read of its children afterwards is all of them, and the search comes
// to an end even if the tree forks as fast as it can. And it is searched from the
// top, so that also those are found that have left the session and dropped the
// mark. Whatever escapes nevertheless becomes an orphan when its parent is
// killed, is found by the next scan, and has settle come back here.
//
// A leaf is frozen first and killed at once in the end. It is searched like all
// others, since those in it may have children that have left it. What is frozen can
// fork no more either; to stop it as well would have it wake up once more.
//
// What is to be ended at once is searched at once: a scan reads all orphans, and
// there are the more of them the more trees have been killed. A tree is killed as
// soon as nothing new appears in it.
func (h *host) end(trees []*process) {
	for _, p := range trees {
		if p.leaf != "" && h.cgroups.freeze(p.leaf, true) == nil { // what is not frozen is stopped
			p.frozen = h.cgroups.processes(&h.reader, p.leaf)
		}
		p.rooted = p.stopGroup()
	}
	for round := 1; len(trees) > 0; round++ {
		for _, p := range trees {
			p.before = len(p.members)
		}
		h.scan()
		restless := trees[:0]
		for _, p := range trees {
			h.searchBelow(p)
			if len(p.members) == p.before || round == maxRounds {
				h.kill(p)
			} else {
				restless = append(restless, p)
			}
		}
		trees = restless
	}
}

// searchBelow enlists all that is below a tree's process and its members.
func (h *host) searchBelow(p *process) {
	todo := h.todo[:0]
	if p.rooted {
		todo = append(todo, p.pid)
	}
	for _, m := range p.members {
		if !m.barren {
			todo = append(todo, m.pid)
		}
	}
	for len(todo) > 0 {
		pid := todo[len(todo)-1]
		todo = h.descend(todo[:len(todo)-1], p, pid)
	}
	h.todo = todo
}

// kill sends SIGKILL to what was found of a tree.
func (h *host) kill(p *process) {
	if p.leaf != "" {
		h.cgroups.kill(p.leaf)
		p.purged = true
	}
	p.frozen = nil
	p.killGroup()
	for _, m := range p.members {
		_ = m.signal(unix.SIGKILL) // it may be gone
		m.killed = true
	}
}

// descend enlists the children of pid, which is the process or a member of the
// tree, and appends those to todo that were not members before.
func (h *host) descend(todo []int, p *process, pid int) []int {
	parent := p.members[pid] // nil for the process itself
	frozen := p.isFrozen(pid)
	if parent != nil && !parent.stopped && !frozen {
		parent.stopped = parent.signal(unix.SIGSTOP) == nil
	}
	var sure bool
	h.pids, sure = h.reader.childrenOf(h.pids[:0], pid)
	if parent != nil {
		// Nothing can be forked by it any more, nor lose a parent further down
		// and be given to it.
		parent.barren = (parent.stopped || frozen) && sure && len(h.pids) == 0
	}
	for _, child := range h.pids {
		if h.members[child] != nil {
			continue
		}
		fd, err := unix.PidfdOpen(child, 0)
		if err != nil {
			continue
		}
		// If child is the child of pid even now, and pid has been the same
		// process all the time, then the descriptor is that child's.
		st, err := h.reader.stat(child)
		if err != nil || st.ppid != pid || parent != nil && !parent.there() {
			unix.Close(fd)
			continue
		}
		if st.dead() {
			unix.Close(fd)
			h.remember(p, child, st.start)
			continue
		}
		h.enlist(p, st, fd)
		todo = append(todo, child)
	}
	return todo
}

// there reports whether the member has not been reaped.
func (m *member) there() bool {
	return m.fd < 0 || unix.PidfdSendSignal(m.fd, 0, nil, 0) != unix.ESRCH
}

// isFrozen reports whether pid was in the leaf when that was frozen.
func (p *process) isFrozen(pid int) bool {
	_, found := slices.BinarySearch(p.frozen, pid)
	return found
}

// stopGroup stops the process and its group, unless it is frozen: then what is in
// the group and not below it needs not be stopped, as it is not searched. It
// reports whether the process is there: it stays there until the loop, which is
// calling, reaps it.
func (p *process) stopGroup() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.grouped && !(p.phase == running && p.isFrozen(p.pid)) {
		_ = p.signalGroup(unix.SIGSTOP) // there may be nobody left
	}
	return p.phase == running
}

func (p *process) killGroup() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == running {
		unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0)
	}
	if p.grouped {
		_ = p.signalGroup(unix.SIGKILL) // there may be nobody left
	}
	p.ended = true
}
