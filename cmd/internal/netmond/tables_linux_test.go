package netmond

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

const headings = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// hexAddress writes an address as the kernel does.
func hexAddress(s string) string {
	a := netip.MustParseAddrPort(s)
	var b strings.Builder
	for raw := a.Addr().AsSlice(); len(raw) > 0; raw = raw[4:] {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(raw))
	}
	fmt.Fprintf(&b, ":%04X", a.Port())
	return b.String()
}

func TestAddressesOfTheKernelAreReadBack(t *testing.T) {
	for _, s := range []string{"127.0.0.1:80", "0.0.0.0:0", "255.254.253.252:65535", "[::1]:22", "[2001:db8::a:b]:443"} {
		got, ok := parseAddress([]byte(hexAddress(s)))
		if !ok || got.String() != s {
			t.Errorf("%s was read as %v, %v", s, got, ok)
		}
	}
}

func TestOnlySocketsThatAProcessHoldsAreRead(t *testing.T) {
	row := func(state string, inode int) string {
		return fmt.Sprintf("   0: %s %s %s 00000000:00000000 00:00000000 00000000     0        0 %d 1 0 100 0 0 10 0\n",
			hexAddress("127.0.0.1:80"), hexAddress("127.0.0.1:4711"), state, inode)
	}
	for name, c := range map[string]struct {
		row  string
		want int
	}{
		"established":               {row("01", 7), 1},
		"closed by us, half":        {row("05", 7), 1},
		"kept by the kernel":        {row("06", 0), 0},
		"not accepted yet":          {row("01", 0), 0},
		"neither of the two":        {row("07", 7), 0},
		"a state of a later kernel": {row("7F", 7), 1},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(map[socket]details)
			if err := readTable(strings.NewReader(headings+c.row), "tcp", got); err != nil || len(got) != c.want {
				t.Errorf("%v, %v; want %d sockets", got, err, c.want)
			}
		})
	}
}

func TestSocketsOnTheSameAddressAreToldApart(t *testing.T) {
	var table strings.Builder
	table.WriteString(headings)
	for inode := range 3 {
		fmt.Fprintf(&table, "%d: %s %s 0A 0:0 0:0 0 0 0 %d\n", inode, hexAddress("0.0.0.0:80"), hexAddress("0.0.0.0:0"), inode+1)
	}
	got := make(map[socket]details)
	if err := readTable(strings.NewReader(table.String()), "tcp", got); err != nil || len(got) != 3 {
		t.Errorf("%v, %v; want 3 listeners", got, err)
	}
}

func FuzzAnyTableIsReadOrRefused(f *testing.F) {
	f.Add(headings + "0: 0100007F:0050 00000000:0000 0A 0:0 0:0 0 0 0 1\n")
	f.Add(headings + "0: : : 0 0 0 0 0 0 0\n")
	f.Fuzz(func(_ *testing.T, table string) {
		_ = readTable(strings.NewReader(table), "tcp", make(map[socket]details))
	})
}
