package platform

// A Confinement is what a process, and whatever it starts, is kept from. The zero
// value keeps it from nothing. It is for Linux.
//
// It is put in force by the program itself, executed once more in place of the
// process: it confines itself, and then executes the process, which takes some
// milliseconds. Any program that this package is linked into can be executed for
// that; one that is a library within a foreign program (-buildmode c-shared,
// c-archive, plugin) cannot, and is refused what it asks for here.
// NoNewPrivileges alone does without: a thread that has it starts the process.
type Confinement struct {
	// Umask is the mask of modes of new files. Zero: that of the program; -1: 0.
	Umask int

	// Root is the directory that is the root directory to it (chroot); Spec.Path,
	// Spec.Dir and the paths below are paths in it then. It needs root.
	Root string

	// PrivateTmp gives it a /tmp and a /var/tmp of its own, in memory and empty.
	// It needs root.
	PrivateTmp bool

	// What it may read and execute only, what it may read and write, and what it may
	// do neither with (Landlock). A path stands for all below it, and the longest
	// one counts; what none stands for is as it is without. Those that every program
	// takes for granted, as /dev/null, and its own standard streams can be written
	// to in any case. Attributes (stat, chmod) and Unix sockets are not concerned. A
	// directory with something inaccessible below cannot be listed, and what is
	// made in it later cannot be reached.
	ReadOnly, ReadWrite, Inaccessible []string

	// Capabilities are all that it may ever have, and has (the bounding and the
	// ambient set), by name: "net_raw" or "CAP_NET_RAW". Nil: as without; an empty
	// list: none.
	Capabilities []string

	// NoNewPrivileges keeps it from gaining privileges by what it executes. Nil: if
	// root starts it as another user, and if one of the others here needs it.
	NoNewPrivileges *bool

	// Seccomp names a profile of system calls. Empty: it may use all. "default":
	// not those that administer the system or look into other processes;
	// "strict": those only that an ordinary service needs. Both want
	// NoNewPrivileges.
	Seccomp string

	// SHA256 is the digest of the executable, in hexadecimal. It is taken of the very
	// file that is executed then. Empty: any will do.
	SHA256 string

	// Required has the start fail where one of them cannot be had. Without it
	// Spawned tells of these in Notice.Unmet; but for Root and SHA256, which always
	// are.
	Required bool
}

// A Secret is what a process is given as a file in memory. It is for Linux.
type Secret struct {
	// Env is the environment variable that the process finds the path of the file
	// in. The file can be read any number of times, and not be changed.
	Env string

	// Read is called on a spawner to get the content: it may block. An error of
	// it becomes that of SpawnFailed.
	Read func() ([]byte, error)
}

// MaxSecret is the size of the largest secret, in bytes.
const MaxSecret = 1 << 20

// asked says what is asked for.
func (c *Confinement) asked() [8]setting {
	return [...]setting{
		{"umask", c.Umask != 0},
		{"root directory", c.Root != ""},
		{"private tmp", c.PrivateTmp},
		{"paths", c.paths()},
		{"capabilities", c.Capabilities != nil},
		{"no new privileges", c.NoNewPrivileges != nil && *c.NoNewPrivileges},
		{"system calls", c.Seccomp != ""},
		{"sha256", c.SHA256 != ""},
	}
}

func (c *Confinement) paths() bool {
	return len(c.ReadOnly)+len(c.ReadWrite)+len(c.Inaccessible) > 0
}
