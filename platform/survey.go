package platform

// A Mechanism is something that a host relies on to keep hold of what it has
// started.
type Mechanism struct {
	Name    string `json:"name"`
	There   bool   `json:"there"`
	Meaning string `json:"meaning"` // what that means, and what would bring it if it is not there
}

// Survey says which mechanisms there are for a host in this program, as it was
// started. It may block, and on Linux makes a cgroup and removes it again.
func Survey() []Mechanism { return survey() }
