package platform

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func survey() []Mechanism {
	var all []Mechanism
	add := func(name string, there bool, yes, no string) {
		meaning := yes
		if !there {
			meaning = no
		}
		all = append(all, Mechanism{Name: name, There: there, Meaning: meaning})
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	unix.Close(fd)
	add("pidfd", err == nil, "ends of processes are told by the kernel, and signals hit the right one", "nothing can be started: Linux 5.4 or later is needed")

	groups, err := openCgroups("", newNonce())
	if err == nil {
		defer groups.close()
		add("cgroup v2", true, "each process has a group of its own in "+groups.parent+": all of its tree is frozen and killed at once, and only who may write to that directory can leave it", "")
	} else {
		add("cgroup v2", false, "", err.Error()+". What drops the mark, leaves the session and loses its parent is ended only when the supervisor ends")
	}
	var there, missing []string
	for _, c := range wantedControllers {
		if groups != nil && groups.controllers[c] {
			there = append(there, c)
		} else {
			missing = append(missing, c)
		}
	}
	add("cgroup controllers", len(missing) == 0, "limits of processor, memory, tasks and I/O can be set",
		"not to be had: "+strings.Join(missing, ", ")+". Limits that need them are warnings, or refusals with limits_required")
	if len(there) > 0 && len(missing) > 0 {
		all[len(all)-1].Meaning += "; there are: " + strings.Join(slices.Clip(there), ", ")
	}

	list := openAdoptedList(os.Getpid())
	defer list.close()
	add("lists of children", list.fd >= 0, "orphans are found without looking at all processes", "all processes are looked at to find orphans: the kernel lacks CONFIG_PROC_CHILDREN")

	_, err = os.Stat("/bin/sh")
	add("guardian", err == nil, "a shell outlives a supervisor that is killed, and ends what is left", "there is no /bin/sh: what collectors have started may outlive a supervisor that is killed")
	if err == nil {
		_, err = exec.LookPath("grep")
		add("guardian's search", err == nil, "it finds what has left its session by the mark", "there is no grep: without cgroups it finds only what is in the sessions and groups of collectors, and below")
	}

	err = cannotConfine()
	add("confinement", err == nil, "collectors can be confined: the program is executed once more to do it", fmt.Sprint(err))
	version, err := landlockVersion()
	add("landlock", err == nil && version >= 3, fmt.Sprintf("paths can be read only, and inaccessible (version %d)", version),
		fmt.Sprintf("paths that are to be read only are not to be had: Linux 6.2 or later is needed (version %d)", version))
	if err != nil {
		all[len(all)-1].Meaning = "paths that are to be read only or inaccessible are not to be had: " + err.Error()
	}
	_, err = unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	add("seccomp", err == nil, "system calls can be denied", "system calls cannot be denied: the kernel lacks CONFIG_SECCOMP")
	add("root", os.Geteuid() == 0, "users, root directories and private /tmp are to be had", "users, root directories and private /tmp are not to be had: that takes a supervisor that is root")
	return all
}
