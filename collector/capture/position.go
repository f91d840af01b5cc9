package capture

// A Position is a place in the log of one collector: a file, and a byte in it.
type Position struct {
	File   uint64 // its number; the one that is written has the number after the last
	Offset int64  // of its content, uncompressed
}
