package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The profiles of system calls that Collector.Seccomp names.
const (
	SeccompDefault = "default" // not those that administer the system or look into other processes
	SeccompStrict  = "strict"  // only those that an ordinary service needs
)

var seccompProfiles = []string{SeccompDefault, SeccompStrict}

// SecretEnv is the prefix of a source of Collector.Secrets that is a variable in the
// supervisor's environment: "env:TOKEN".
const SecretEnv = "env:"

// SecretVariable is the environment variable that a collector finds the path of a
// secret in: "PROCTOR_SECRET_DB_PASSWORD" for "db-password".
func SecretVariable(name string) string {
	return "PROCTOR_SECRET_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
}

// The descriptors that Collector.KeepFds may name.
const (
	minKept = 3
	maxKept = 255
)

// capabilities are the names that Capabilities may have, without CAP_. What number
// each has is the platform's business.
var capabilities = strings.Fields(`
	audit_control audit_read audit_write block_suspend bpf checkpoint_restore chown dac_override dac_read_search
	fowner fsetid ipc_lock ipc_owner kill lease linux_immutable mac_admin mac_override mknod net_admin
	net_bind_service net_broadcast net_raw perfmon setfcap setgid setpcap setuid sys_admin sys_boot sys_chroot
	sys_module sys_nice sys_pacct sys_ptrace sys_rawio sys_resource sys_time sys_tty_config syslog wake_alarm`)

// Capability is the name of a capability as CAP_NET_RAW or net_raw is written here:
// "net_raw".
func Capability(name string) (short string, ok bool) {
	short = strings.TrimPrefix(strings.ToLower(name), "cap_")
	return short, slices.Contains(capabilities, short)
}

// CapabilityNames are all capabilities, in the order of their names.
func CapabilityNames() []string { return slices.Clone(capabilities) }

// Confined reports whether anything is asked for that keeps the collector from
// something, other than by its user.
func (c Collector) Confined() bool {
	return c.Umask != "" || c.RootDirectory != "" || c.PrivateTmp || c.Capabilities != nil || c.NoNewPrivileges == On ||
		c.Seccomp != "" || c.BinarySHA256 != "" || c.hasPaths()
}

func (c Collector) hasPaths() bool {
	return len(c.ReadOnlyPaths)+len(c.ReadWritePaths)+len(c.InaccessiblePaths) > 0
}

// UmaskBits is what Umask means. Without it, or if it is none, ok is false.
func (c Collector) UmaskBits() (bits int, ok bool) {
	n, err := strconv.ParseUint(c.Umask, 8, 32)
	return int(n), err == nil && n <= 0o777
}

func (f *findings) confinement(key func(...string) string, c Collector) {
	if _, ok := c.UmaskBits(); c.Umask != "" && !ok {
		f.add(key("umask"), c.Umask, quote(c.Umask)+" is not a mask of modes", `write it in octal, from "0000" to "0777"; "0027" is a good one`)
	}
	for i, name := range c.Capabilities {
		if short, ok := Capability(name); !ok {
			f.add(Element(key("capabilities"), i), name, "there is no capability "+quote(name), didYouMean(short, capabilities))
		}
	}
	if c.Seccomp != "" && !slices.Contains(seccompProfiles, c.Seccomp) {
		f.add(key("seccomp"), c.Seccomp, "there is no profile "+quote(c.Seccomp), didYouMean(c.Seccomp, seccompProfiles))
	}
	if c.NoNewPrivileges == Off && (c.Seccomp != "" || c.hasPaths()) {
		f.add(key("no_new_privileges"), "false", "seccomp and confined paths imply no_new_privileges: else they could be got round", "remove it, or them")
	}
	absolute := func(key, path string) {
		f.noNUL(key, path)
		if !filepath.IsAbs(path) && !strings.HasPrefix(path, "/") {
			f.add(key, path, quote(path)+" is not an absolute path", "begin it with /")
		}
	}
	if c.RootDirectory != "" {
		absolute(key("root_directory"), c.RootDirectory)
		for _, of := range [][2]string{{"binary_path", c.BinaryPath}, {"working_dir", c.WorkingDir}} {
			if path := of[1]; path != "" && !strings.HasPrefix(path, "/") {
				f.add(key(of[0]), path, "with root_directory it is a path in that, and has to be absolute", "begin it with /", key("root_directory"))
			}
		}
	}
	said := map[string]string{}
	for _, list := range []struct {
		name  string
		paths []string
	}{{"read_only_paths", c.ReadOnlyPaths}, {"read_write_paths", c.ReadWritePaths}, {"inaccessible_paths", c.InaccessiblePaths}} {
		for i, path := range list.paths {
			at := Element(key(list.name), i)
			absolute(at, path)
			path = filepath.Clean(path)
			if other, ok := said[path]; ok {
				f.add(at, path, quote(path)+" is named twice", "name it in one of the lists", other)
			}
			said[path] = at
		}
	}
	kept := map[int]bool{}
	for i, fd := range c.KeepFds {
		at := Element(key("keep_fds"), i)
		switch {
		case fd < minKept || fd > maxKept:
			f.add(at, strconv.Itoa(fd), fmt.Sprintf("%d is out of range", fd), fmt.Sprintf("use %d to %d; the standard streams are its output's", minKept, maxKept))
		case kept[fd]:
			f.add(at, strconv.Itoa(fd), fmt.Sprintf("%d is named twice", fd), "remove one of them")
		case c.Readiness == ReadyFD && fd == max(c.ReadinessFD, DefaultReadinessFD):
			f.add(at, strconv.Itoa(fd), fmt.Sprintf("%d is the descriptor that readiness is about", fd), "set another readiness_fd", key("readiness_fd"))
		}
		kept[fd] = true
	}
	if digest := c.BinarySHA256; digest != "" && (len(digest) != 64 || strings.Trim(strings.ToLower(digest), "0123456789abcdef") != "") {
		f.add(key("binary_sha256"), digest, "that is not a SHA-256 digest", "write 64 hexadecimal digits, as sha256sum prints them")
	}
	f.secrets(key, c)
}

func (f *findings) secrets(key func(...string) string, c Collector) {
	variables := map[string]string{}
	for _, name := range sorted(c.Secrets) {
		at, source := key("secrets", name), c.Secrets[name]
		if fault := nameFault(name); fault != "" {
			f.add(at, name, "not a name for a secret: "+fault, idSyntax)
			continue
		}
		variable := SecretVariable(name)
		if other, ok := variables[variable]; ok {
			f.add(at, name, "its path would be in the same variable, "+variable+", as that of another", "choose another name", other)
		}
		variables[variable] = at
		if _, ok := c.Env[variable]; ok {
			f.add(at, name, "env has its variable, "+variable+", too", "remove it there", key("env", variable))
		}
		f.noNUL(at, source)
		if variable, ok := strings.CutPrefix(source, SecretEnv); ok {
			if variable == "" || strings.Contains(variable, "=") {
				f.add(at, source, "no environment variable is named", `write "env:NAME"`)
			}
			continue
		}
		if !filepath.IsAbs(source) && !strings.HasPrefix(source, "/") {
			// It may be the secret itself, and is not repeated.
			f.add(at, "", "that is not the path of a file", `write the absolute path of the file that the secret is in, or "env:NAME"; the secret itself does not belong here`)
		}
	}
}

// warnConfinement is about what can be got round.
func (f *findings) warnConfinement(key func(...string) string, c Collector) {
	if c.RootDirectory != "" && c.User == "" && c.Capabilities == nil {
		f.add(key("root_directory"), c.RootDirectory, "root can leave its root directory", `set a user, or capabilities = []`, key("user"), key("capabilities"))
	}
}

// missingConfinement is about directories and files that are not there.
func (c Collector) missingConfinement(id string) (missing Problems) {
	add := func(key, value string, err error) {
		if err != nil {
			missing = append(missing, Problem{Key: key, Value: value, Message: abbreviate(value) + " " + err.Error(), Hint: "make it, or correct the path", Err: err})
		}
	}
	if c.RootDirectory != "" {
		add(Key("collectors", id, "root_directory"), c.RootDirectory, lookDirectory(c.RootDirectory))
	}
	for _, list := range []struct {
		name  string
		paths []string
	}{{"read_only_paths", c.ReadOnlyPaths}, {"read_write_paths", c.ReadWritePaths}} {
		for i, path := range list.paths {
			if _, err := os.Stat(filepath.Join(c.RootDirectory, path)); err != nil {
				add(Element(Key("collectors", id, list.name), i), path, statFault(path, err))
			}
		}
	}
	for _, name := range sorted(c.Secrets) {
		source := c.Secrets[name]
		if strings.HasPrefix(source, SecretEnv) {
			continue // that is the supervisor's environment, which this one need not be
		}
		if info, err := os.Stat(source); err != nil {
			add(Key("collectors", id, "secrets", name), source, statFault(source, err))
		} else if info.IsDir() {
			add(Key("collectors", id, "secrets", name), source, errors.New("is a directory, not a file"))
		}
	}
	return missing
}
