package platform

import (
	"fmt"
	"math/bits"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// capabilities are the names of the capabilities, by their numbers.
var capabilities = strings.Fields(`
	chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
	net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace
	sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write
	audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf
	checkpoint_restore`)

// A capSet has a bit for each capability.
type capSet uint64

func (s capSet) has(n int) bool { return s>>n&1 != 0 }

func (s capSet) String() string {
	if s == 0 {
		return "none"
	}
	var names []string
	for rest := s; rest != 0; rest &= rest - 1 {
		n := bits.TrailingZeros64(uint64(rest))
		if n < len(capabilities) {
			names = append(names, capabilities[n])
		} else {
			names = append(names, fmt.Sprint(n))
		}
	}
	return strings.Join(names, " ")
}

// capabilitiesOf is the set of those with these names.
func capabilitiesOf(names []string) (set capSet, err error) {
next:
	for _, name := range names {
		short := strings.TrimPrefix(strings.ToLower(name), "cap_")
		for n, known := range capabilities {
			if short == known {
				set |= 1 << n
				continue next
			}
		}
		return 0, fmt.Errorf("there is no capability %q", name)
	}
	return set, nil
}

// permitted are the capabilities that this thread may use.
func permitted() (capSet, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("capget: %w", err)
	}
	return capSet(data[0].Permitted) | capSet(data[1].Permitted)<<32, nil
}

// bound has the bounding set of this thread contain no others.
func bound(set capSet) error {
	for n := range 64 {
		there, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		if err != nil {
			return nil // the kernel knows no more
		}
		if there == 0 || set.has(n) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err != nil {
			return fmt.Errorf("lowering the bounding set: %w", err)
		}
	}
	return nil
}

// grant gives this thread exactly these, and has it hand them on to what it executes.
func grant(set capSet) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		half := uint32(set >> (32 * i))
		data[i] = unix.CapUserData{Effective: half, Permitted: half, Inheritable: half}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clearing the ambient set: %w", err)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0); errno != 0 {
		return fmt.Errorf("capset %s: %w", set, errno)
	}
	for n := range 64 {
		if set.has(n) {
			if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(n), 0, 0); err != nil {
				return fmt.Errorf("raising %s in the ambient set: %w", capabilities[n], err)
			}
		}
	}
	return nil
}
