package platform

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sysBlock is where the system lists its disks.
const sysBlock = "/sys/block"

// disks are the disks that limits of I/O are set for, as cgroups name them:
// "8:0". They are those that have hardware behind them, and a size. What lies on
// top of them (partitions, LVM, RAID, encryption, loop devices) ends up there, as
// I/O of whoever has caused it; to limit it there too would count it twice. A disk
// that appears later is not among them until a limit is set the next time.
func disks(root string) []string {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if _, err := os.Stat(dir + "/device"); err != nil {
			continue
		}
		if size := firstLine(dir + "/size"); size == "" || size == "0" { // a drive without a medium
			continue
		}
		if number := firstLine(dir + "/dev"); number != "" {
			found = append(found, number)
		}
	}
	slices.Sort(found)
	return found
}

func firstLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}
