package netmond

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// procNet reads the tables in /proc itself. gopsutil's Connections looks, each time, at all descriptors of all
// processes to find who holds a socket: 45 ms at 370 processes with 18,000 descriptors, where the tables alone take
// 3 ms. So the tables are read at each poll, and the descriptors only when there is a new socket to find the holder
// of. It has the inodes too, which tell sockets on the same address (SO_REUSEPORT) from one another.
type procNet struct{ root string }

func newTables() tables { return procNet{root: "/proc"} }

// atomic is false: the kernel writes a table a page at a time, and goes on at a place in a hash chain that may have
// become shorter meanwhile.
func (procNet) atomic() bool { return false }

func (p procNet) list(ctx context.Context) (map[socket]details, error) {
	all := make(map[socket]details)
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		file, err := os.Open(p.root + "/self/net/" + name)
		if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(name, "6") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		err = readTable(file, strings.TrimSuffix(name, "6"), all)
		_ = file.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file.Name(), err)
		}
	}
	return all, nil
}

// tcpStates are the names of the numbers of include/net/tcp_states.h.
var tcpStates = [...]string{
	1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT", 7: "CLOSE",
	8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING", 12: "NEW_SYN_RECV",
}

const (
	stateListen = 10
	stateClose  = 7
)

// readTable adds the sockets of a table like /proc/net/tcp that a process holds: they are those with an inode. What
// has none was closed already, or not accepted yet.
func readTable(r io.Reader, proto string, into map[socket]details) error {
	lines := bufio.NewScanner(r)
	lines.Scan() // the headings
	for lines.Scan() {
		// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …
		f := bytes.Fields(lines.Bytes())
		if len(f) < 10 {
			return fmt.Errorf("unexpected line %q", lines.Text())
		}
		inode, err := strconv.ParseUint(string(f[9]), 10, 64)
		if err != nil {
			return fmt.Errorf("inode in %q: %w", lines.Text(), err)
		}
		if inode == 0 {
			continue
		}
		local, okLocal := parseAddress(f[1])
		remote, okRemote := parseAddress(f[2])
		number, err := strconv.ParseUint(string(f[3]), 16, 8)
		if !okLocal || !okRemote || err != nil {
			return fmt.Errorf("unexpected line %q", lines.Text())
		}

		s := socket{proto: proto, local: local, remote: remote, inode: inode}
		var d details
		if proto == "tcp" {
			if number == stateClose {
				continue // bound at most: neither listening nor connected
			}
			s.listener = number == stateListen
			d.state = "UNKNOWN"
			if int(number) < len(tcpStates) && tcpStates[number] != "" {
				d.state = tcpStates[number]
			}
		} else {
			s.listener = remote.Port() == 0
		}
		into[s] = d
	}
	return lines.Err()
}

// parseAddress reads "0100007F:0050": words of 32 bits in the host's order, a colon, the port.
func parseAddress(b []byte) (netip.AddrPort, bool) {
	host, port, ok := bytes.Cut(b, []byte(":"))
	if !ok || len(host) != 8 && len(host) != 32 {
		return netip.AddrPort{}, false
	}
	var raw [16]byte
	n, err := hex.Decode(raw[:], host)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i < n; i += 4 {
		// What is printed is the number that the host makes of four bytes of the network.
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	number, err := strconv.ParseUint(string(port), 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	addr, _ := netip.AddrFromSlice(raw[:n])
	return netip.AddrPortFrom(addr, uint16(number)), true
}

// owners looks through the descriptors of the processes, the youngest first, as most new sockets belong to them, until
// each socket has a holder. Where several processes hold one, that is one of them. The descriptors of other users'
// processes cannot be seen without CAP_SYS_PTRACE; their sockets stay without.
func (p procNet) owners(ctx context.Context, of map[socket]details) error {
	wanted := make(map[string]socket, len(of))
	for s := range of {
		wanted["socket:["+strconv.FormatUint(s.inode, 10)+"]"] = s
	}
	pids, err := p.pids()
	if err != nil {
		return err
	}
	for _, pid := range slices.Backward(pids) {
		if len(wanted) == 0 || ctx.Err() != nil {
			return nil
		}
		dir := p.root + "/" + strconv.Itoa(int(pid)) + "/fd/"
		for _, fd := range names(dir) {
			target, err := os.Readlink(dir + fd)
			if err != nil {
				continue // closed meanwhile
			}
			s, ok := wanted[target]
			if !ok {
				continue
			}
			d := of[s]
			d.pid = pid
			of[s] = d
			delete(wanted, target)
		}
	}
	return nil
}

func (p procNet) pids() ([]int32, error) {
	entries, err := readNames(p.root)
	if err != nil {
		return nil, err
	}
	pids := make([]int32, 0, len(entries))
	for _, name := range entries {
		if pid, err := strconv.ParseInt(name, 10, 32); err == nil {
			pids = append(pids, int32(pid))
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// names lists a directory of a process, which may be gone or somebody else's: then there is nothing in it for us.
func names(dir string) []string {
	list, err := readNames(dir)
	if err != nil {
		return nil
	}
	return list
}

// readNames lists a directory without asking for the type of each entry.
func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
