package toml

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	gotoml "github.com/pelletier/go-toml/v2"

	"github.com/proctord/proctor/config"
)

// A document is a file while it is being examined: its text, what was read from
// it, and what was found wrong.
type document struct {
	name string
	data []byte // without a byte order mark

	config   config.Config
	parsed   bool // up to the end; else no conclusion can be drawn from what is not there
	problems []located

	// values finds the place of a key. Elements of arrays are found through the array.
	values map[string]*node
	homes  map[string]string // key → the tables that it belongs to, for hints
}

// A located problem is one at an offset of the data.
type located struct {
	offset int
	config.Problem
}

// maxProblems keeps what is remembered about a file of another kind altogether,
// with a problem on each of its many lines, within bounds.
const maxProblems = 1000

func (d *document) add(offset int, p config.Problem) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, located{offset, p})
	}
}

// examine reads all that can be read of a file.
func examine(name string, data []byte) *document {
	d := &document{name: name, data: data, values: map[string]*node{}, homes: homes()}
	if err := tooLarge(int64(len(data))); err != nil {
		d.data = nil
		d.add(-1, config.Problem{Message: err.Error()})
		return d
	}
	if !d.isText() {
		return d
	}
	root := d.build()
	sound := d.parsed && len(d.problems) == 0
	if sound && len(root.names) == 0 {
		d.parsed = false
		d.add(-1, config.Problem{Message: "the file says nothing", Hint: "add a collector:" + config.ExampleCollector})
		return d
	}
	d.config.Collectors = map[string]config.Collector{}
	fileKeys.read(d, "", root, &d.config)
	d.config.Order = d.order(root)
	d.validate()
	if sound {
		d.arbitrate()
	}
	return d
}

// order is the collectors and groups in the order in which the file begins to
// speak of them, if it has groups: else the order means nothing.
func (d *document) order(root *node) (names []string) {
	if len(d.config.Groups) == 0 {
		return nil
	}
	at := map[string]int{}
	add := func(table, mark string, known func(string) bool) {
		if n := root.children[table]; n != nil {
			for name, child := range n.children {
				if known(name) {
					at[mark+name] = child.key
					names = append(names, mark+name)
				}
			}
		}
	}
	add("collectors", "", func(id string) bool { _, ok := d.config.Collectors[id]; return ok })
	add("groups", config.GroupMark, func(name string) bool { _, ok := d.config.Groups[name]; return ok })
	slices.SortFunc(names, func(a, b string) int { return at[a] - at[b] })
	return names
}

// isText reports what is not UTF-8 text, and drops the mark that some editors put
// before it.
func (d *document) isText() bool {
	d.data = bytes.TrimPrefix(d.data, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(d.data, []byte("\xff\xfe")) || bytes.HasPrefix(d.data, []byte("\xfe\xff")) {
		d.add(0, config.Problem{Message: "the file is UTF-16", Hint: "save it as UTF-8"})
		return false
	}
	if i := bytes.IndexByte(d.data, 0); i >= 0 {
		d.add(i, config.Problem{Message: fmt.Sprintf("this is not a text file: byte %d is a NUL", i+1)})
		return false
	}
	for i := 0; i < len(d.data); {
		r, size := utf8.DecodeRune(d.data[i:])
		if r == utf8.RuneError && size == 1 {
			d.add(i, config.Problem{Message: fmt.Sprintf("byte %d, %#02x, is not UTF-8", i+1, d.data[i]), Hint: "save the file as UTF-8"})
			return false
		}
		i += size
	}
	return true
}

// arbitrate has the library read the whole, so that nothing is accepted that is
// not TOML to it.
func (d *document) arbitrate() {
	var all map[string]any
	err := gotoml.Unmarshal(d.data, &all)
	if err == nil {
		return
	}
	offset := 0
	var at *gotoml.DecodeError
	if errors.As(err, &at) {
		offset = d.offset(at.Position())
	}
	d.parsed = false
	for _, p := range d.problems {
		if d.line(max(p.offset, 0)) == d.line(offset) {
			return // it was said already, and with a hint
		}
	}
	d.add(offset, config.Problem{Message: notTOML + strings.TrimPrefix(err.Error(), "toml: ")})
}

// validate adds what is wrong with the values that could be read. What was
// reported already is not reported again, nor is a contradiction with a value
// that could not be read.
func (d *document) validate() {
	var found config.Problems
	if errors.As(d.config.Validate(), &found) {
		for _, p := range d.trusted(found) {
			d.add(d.find(p.Key), p)
		}
	}
}

func (d *document) trusted(found config.Problems) config.Problems {
	faulty := map[string]bool{}
	for _, p := range d.problems {
		faulty[p.Key] = true
	}
	return slices.DeleteFunc(found, func(p config.Problem) bool {
		return faulty[p.Key] || len(p.Related) > 0 && !d.parsed ||
			slices.ContainsFunc(p.Related, func(key string) bool { return faulty[key] })
	})
}

// withoutFaulty is the configuration without the collectors that something is
// wrong with: what they need is not known.
func (d *document) withoutFaulty() config.Config {
	sound := d.config
	sound.Collectors = map[string]config.Collector{}
	for id, c := range d.config.Collectors {
		sound.Collectors[id] = c
	}
	for _, p := range d.problems {
		if p.Key == "" || p.Key == "collectors" || strings.HasPrefix(p.Key, "process_manager.collector_binaries") {
			sound.Collectors = nil
		}
	}
	for id := range sound.Collectors {
		key := config.Key("collectors", id)
		if slices.ContainsFunc(d.problems, func(p located) bool {
			return p.Key == key || strings.HasPrefix(p.Key, key+".")
		}) {
			delete(sound.Collectors, id)
		}
	}
	return sound
}

// report is what was found, with places.
func (d *document) report() Report {
	r := Report{Problems: d.locate(d.problems)}
	if len(r.Problems) == maxProblems {
		r.Problems = append(r.Problems, Problem{File: d.name, Problem: config.Problem{
			Message: fmt.Sprintf("there may be more problems; these are the first %d", maxProblems),
		}})
	}
	if d.parsed {
		r.Warnings = d.place(d.trusted(d.config.Warnings()))
	}
	if len(r.Problems) == 0 {
		r.Config = d.config
	}
	return r
}

// place finds the places of problems that have keys.
func (d *document) place(problems config.Problems) Problems {
	var at []located
	for _, p := range problems {
		at = append(at, located{d.find(p.Key), p})
	}
	return d.locate(at)
}

// find is the offset of a key's value, or of the nearest table around it, or -1.
func (d *document) find(key string) int {
	for key != "" {
		if n, ok := d.values[key]; ok {
			return n.place()
		}
		end := strings.LastIndexAny(key, ".[")
		if end < 0 {
			break
		}
		around := key[:end]
		if n, ok := d.values[around]; ok && n.kind == array && key[end] == '[' {
			if i, err := strconv.Atoi(strings.TrimSuffix(key[end+1:], "]")); err == nil && i < len(n.elements) {
				return n.elements[i].place()
			}
		}
		key = around
	}
	return -1
}

// locate turns offsets into lines and columns, and sorts by them.
func (d *document) locate(problems []located) Problems {
	slices.SortStableFunc(problems, func(a, b located) int { return a.offset - b.offset })
	var out Problems
	at, line, column := 0, 1, 1
	for _, p := range problems {
		if p.offset < 0 || len(d.data) == 0 {
			out = append(out, Problem{File: d.name, Problem: p.Problem})
			continue
		}
		for at < p.offset && at < len(d.data) {
			_, size := utf8.DecodeRune(d.data[at:])
			if d.data[at] == '\n' {
				line, column = line+1, 1
			} else {
				column++
			}
			at += size
		}
		out = append(out, Problem{File: d.name, Line: line, Column: column, Problem: p.Problem})
	}
	return out
}

// line is the line that an offset is in.
func (d *document) line(offset int) int { return 1 + bytes.Count(d.data[:offset], []byte("\n")) }

// offset is the offset of a line and a column in bytes, both counted from 1.
func (d *document) offset(line, column int) int {
	at := 0
	for ; line > 1; line-- {
		next := bytes.IndexByte(d.data[at:], '\n')
		if next < 0 {
			break
		}
		at += next + 1
	}
	return min(at+max(column-1, 0), len(d.data))
}
