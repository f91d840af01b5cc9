package capture

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
)

// A Position is a place in the log of one collector: a file, and a byte in it.
type Position struct {
	File   uint64 // its number; the one that is written has the number after the last
	Offset int64  // of its content, uncompressed
}

// A Cursor says how far a reader has come in the log of each collector, by id:
// whoever sets the Position of each record that he has dealt with can go on from
// there, by Query.After, in another program and after any number of rotations.
type Cursor map[string]Position

// cursorMark begins every cursor, so that a later form of it can be told apart.
const cursorMark = "p1."

// String is the cursor as an opaque word of letters, digits, dots, - and _.
func (c Cursor) String() string {
	var b []byte
	for _, id := range slices.Sorted(maps.Keys(c)) {
		b = binary.AppendUvarint(b, uint64(len(id)))
		b = append(b, id...)
		b = binary.AppendUvarint(b, c[id].File)
		b = binary.AppendUvarint(b, uint64(max(c[id].Offset, 0)))
	}
	return cursorMark + base64.RawURLEncoding.EncodeToString(b)
}

// ErrCursor is returned for what is no cursor.
var ErrCursor = errors.New("this is no offset that a reader of logs has given out")

// ParseCursor is the reverse of Cursor.String.
func ParseCursor(s string) (Cursor, error) {
	rest, ok := strings.CutPrefix(s, cursorMark)
	if !ok {
		return nil, ErrCursor
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil {
		return nil, ErrCursor
	}
	c := Cursor{}
	number := func() (uint64, bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 || v >= maxPositionComponent {
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	for len(b) > 0 {
		size, ok := number()
		if !ok || size > uint64(len(b)) {
			return nil, ErrCursor
		}
		id := string(b[:size])
		b = b[size:]
		file, ok := number()
		if !ok {
			return nil, ErrCursor
		}
		offset, ok := number()
		if !ok {
			return nil, ErrCursor
		}
		c[id] = Position{file, int64(offset)}
	}
	return c, nil
}
