package capture

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// timeLayout has a fixed width, so that a log can be searched by halving.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

const timeKey = `{"time":"`

// jsonHead is a record up to its text.
func jsonHead(dst []byte, at time.Time, stream Stream, id string, incarnation uint64) []byte {
	dst = append(dst, timeKey...)
	dst = at.UTC().AppendFormat(dst, timeLayout)
	if stream != 0 {
		dst = append(dst, `","stream":"`...)
		dst = append(dst, stream.String()...)
	}
	dst = append(dst, `","id":"`...)
	dst = appendEscaped(dst, []byte(id))
	dst = append(dst, `","incarnation":`...)
	return strconv.AppendUint(dst, incarnation, 10)
}

// appendJSON appends a record whose head was made before. What is not UTF-8
// stands there in base 64: nothing that was written is lost.
func appendJSON(dst, head, text []byte, partial bool) []byte {
	dst = append(dst, head...)
	if utf8.Valid(text) {
		dst = append(dst, `,"text":"`...)
		dst = appendEscaped(dst, text)
	} else {
		dst = append(dst, `,"base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, text)
	}
	if partial {
		return append(dst, "\",\"partial\":true}\n"...)
	}
	return append(dst, "\"}\n"...)
}

func appendGap(dst, head []byte, g Gap) []byte {
	dst = append(dst, head...)
	dst = append(dst, `,"lost_lines":`...)
	dst = strconv.AppendUint(dst, g.Lines, 10)
	dst = append(dst, `,"lost_bytes":`...)
	dst = strconv.AppendUint(dst, g.Bytes, 10)
	dst = append(dst, `,"reason":"`...)
	dst = appendEscaped(dst, bytes.ToValidUTF8([]byte(g.Reason), []byte("\ufffd")))
	return append(dst, "\"}\n"...)
}

const hex = "0123456789abcdef"

// appendEscaped appends valid UTF-8 as the inside of a JSON string.
func appendEscaped(dst, text []byte) []byte {
	for {
		n := clean(text)
		dst = append(dst, text[:n]...)
		if n == len(text) {
			return dst
		}
		switch c := text[n]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		text = text[n+1:]
	}
}

// clean is how many bytes at the beginning need no escape. It looks at eight at
// a time: in each of them, the highest bit tells a byte that is below 0x20, or
// equal to one of the two that need an escape.
func clean(text []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(text)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(text[n:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		if ((w-ones*0x20)&^w|(quote-ones)&^quote|(slash-ones)&^slash)&highs != 0 {
			break // it may be none of the first seven that need it; the loop below sees
		}
	}
	for ; n < len(text); n++ {
		if c := text[n]; c < 0x20 || c == '"' || c == '\\' {
			break
		}
	}
	return n
}

// parseRecord reads a line of a file, without its line feed. What is no record of
// ours is a line of raw text. Scratch is reused for the text.
func parseRecord(line []byte, format Format, scratch []byte) (r Record, buf []byte) {
	if format == JSON && bytes.HasPrefix(line, []byte(timeKey)) {
		if r, buf, ok := parseOwn(line, scratch); ok {
			return r, buf
		}
		if r, ok := parseForeign(line); ok {
			return r, scratch
		}
	}
	if i := len(timeLayout); format == Raw && len(line) > i && line[i] == ' ' {
		if at, err := time.Parse(timeLayout, string(line[:i])); err == nil {
			return Record{Time: at, Text: line[i+1:]}, scratch
		}
	}
	return Record{Text: line}, scratch
}

// parseOwn reads what appendJSON and appendGap write, and nothing else.
func parseOwn(line, scratch []byte) (r Record, buf []byte, ok bool) {
	rest := line[len(timeKey):]
	if len(rest) < len(timeLayout) {
		return r, scratch, false
	}
	at, ok := parseTime(rest[:len(timeLayout)])
	if !ok {
		return r, scratch, false
	}
	r.Time, rest = at, rest[len(timeLayout):]
	if after, found := bytes.CutPrefix(rest, []byte(`","stream":"std`)); found {
		switch {
		case bytes.HasPrefix(after, []byte(`out`)):
			r.Stream = Stdout
		case bytes.HasPrefix(after, []byte(`err`)):
			r.Stream = Stderr
		default:
			return r, scratch, false
		}
		rest = after[3:]
	}
	rest, found := bytes.CutPrefix(rest, []byte(`","id":"`))
	end := bytes.IndexByte(rest, '"')
	if !found || end < 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
		return r, scratch, false
	}
	r.ID, rest = string(rest[:end]), rest[end:]
	if rest, found = bytes.CutPrefix(rest, []byte(`","incarnation":`)); !found {
		return r, scratch, false
	}
	digits := 0
	for digits < len(rest) && digits < 19 && '0' <= rest[digits] && rest[digits] <= '9' {
		r.Incarnation = r.Incarnation*10 + uint64(rest[digits]-'0')
		digits++
	}
	if rest, found = bytes.CutPrefix(rest[digits:], []byte(`,"text":"`)); !found || digits == 0 {
		return r, scratch, false
	}
	if rest, found = bytes.CutSuffix(rest, []byte(`"}`)); !found {
		if rest, found = bytes.CutSuffix(rest, []byte(`","partial":true}`)); !found {
			return r, scratch, false
		}
		r.Partial = true
	}
	r.Text, buf, ok = unescape(rest, scratch)
	return r, buf, ok
}

// unescape is the reverse of appendEscaped.
func unescape(s, scratch []byte) (text, buf []byte, ok bool) {
	i := bytes.IndexByte(s, '\\')
	if i < 0 {
		return s, scratch, bytes.IndexByte(s, '"') < 0
	}
	buf = scratch[:0]
	for {
		if bytes.IndexByte(s[:i], '"') >= 0 {
			return nil, buf, false
		}
		buf = append(buf, s[:i]...)
		if i == len(s) {
			return buf, buf, true
		}
		s = s[i+1:]
		if len(s) == 0 {
			return nil, buf, false
		}
		switch s[0] {
		case '"', '\\':
			buf = append(buf, s[0])
		case 't':
			buf = append(buf, '\t')
		case 'r':
			buf = append(buf, '\r')
		case 'n':
			buf = append(buf, '\n')
		case 'u':
			if len(s) < 5 {
				return nil, buf, false
			}
			v, err := strconv.ParseUint(string(s[1:5]), 16, 8) // we escape nothing beyond
			if err != nil || v >= 0x80 {
				return nil, buf, false
			}
			buf = append(buf, byte(v))
			s = s[4:]
		default:
			return nil, buf, false
		}
		s = s[1:]
		if i = bytes.IndexByte(s, '\\'); i < 0 {
			i = len(s)
		}
	}
}

// parseForeign reads any JSON object that has our keys.
func parseForeign(line []byte) (Record, bool) {
	var o struct {
		Time        time.Time `json:"time"`
		Stream      string    `json:"stream"`
		ID          string    `json:"id"`
		Incarnation uint64    `json:"incarnation"`
		Text        *string   `json:"text"`
		Base64      []byte    `json:"base64"`
		Partial     bool      `json:"partial"`
		LostLines   *uint64   `json:"lost_lines"`
		LostBytes   uint64    `json:"lost_bytes"`
		Reason      string    `json:"reason"`
	}
	if json.Unmarshal(line, &o) != nil || o.Text == nil && o.Base64 == nil && o.LostLines == nil {
		return Record{}, false
	}
	r := Record{Time: o.Time, ID: o.ID, Incarnation: o.Incarnation, Text: o.Base64, Partial: o.Partial}
	if o.Text != nil {
		r.Text = []byte(*o.Text)
	}
	switch o.Stream {
	case "stdout":
		r.Stream = Stdout
	case "stderr":
		r.Stream = Stderr
	}
	if o.LostLines != nil {
		r.Gap, r.Text = &Gap{*o.LostLines, o.LostBytes, o.Reason}, nil
	}
	return r, true
}

// parseTime reads timeLayout, of which the library's parser makes heavy weather.
func parseTime(s []byte) (time.Time, bool) {
	const shape = "0000-00-00T00:00:00.000000000Z"
	for i := range shape {
		if shape[i] == '0' {
			if s[i] < '0' || s[i] > '9' {
				return time.Time{}, false
			}
		} else if s[i] != shape[i] {
			return time.Time{}, false
		}
	}
	number := func(from, to int) (n int) {
		for _, c := range s[from:to] {
			n = n*10 + int(c-'0')
		}
		return n
	}
	month, day := number(5, 7), number(8, 10)
	if month < 1 || month > 12 || day < 1 || day > 31 {
		return time.Time{}, false
	}
	return time.Date(number(0, 4), time.Month(month), day, number(11, 13), number(14, 16), number(17, 19), number(20, 29), time.UTC), true
}

// MarshalJSON writes a record as a JSON file has it.
func (r Record) MarshalJSON() ([]byte, error) {
	head := jsonHead(nil, r.Time, r.Stream, r.ID, r.Incarnation)
	if r.Gap != nil {
		return bytes.TrimSuffix(appendGap(nil, head, *r.Gap), []byte("\n")), nil
	}
	return bytes.TrimSuffix(appendJSON(nil, head, r.Text, r.Partial), []byte("\n")), nil
}
