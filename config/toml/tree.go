package toml

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/proctord/proctor/config"
)

// A node is a value of the file that knows where it stands.
type node struct {
	kind   kind
	origin origin // of tables, and of arrays of tables
	key    int    // offset of the key that names it
	value  int    // offset of the value itself; of tables, that of the key

	text     string // a string's content; what is written, of other scalars
	names    []string
	children map[string]*node
	elements []*node

	parent *node
	name   string
}

type kind int

const (
	table kind = iota
	array
	text
	integer
	float
	boolean
	date
)

// An origin says how a table came to be, which decides how it may be extended.
type origin int

const (
	implied origin = iota // by the header of a table within it
	header                // by its own header
	dotted                // by a dotted key
	inline                // { }: it is complete
)

// place is where a problem with the value is shown.
func (n *node) place() int {
	if n.kind == table {
		return n.key
	}
	return n.value
}

func (n *node) set(name string, child *node) {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	child.parent, child.name = n, name
	n.children[name] = child
	n.names = append(n.names, name)
}

// path is the names that lead to n.
func (n *node) path() []string {
	var names []string
	for ; n != nil && n.parent != nil; n = n.parent {
		names = append(names, n.name)
	}
	slices.Reverse(names)
	return names
}

// Limits far beyond any configuration, which bound the time and memory that a
// hostile file can cost: the library looks for each key among all others.
const (
	maxKeys      = 20_000
	maxKeyParts  = 100
	maxKeyLength = 1024
)

const notTOML = "this is not TOML: "

// A part is one name of a dotted key.
type part struct {
	name   string
	offset int
}

// A builder makes a tree of a document, in which every key is set once.
type builder struct {
	*document
	root *node
	keys int
	full bool
}

// build reads the document into a tree. What is wrong with its structure is
// reported; after a syntax error the tree is that of all before it.
func (d *document) build() *node {
	b := builder{document: d, root: &node{kind: table, origin: header}}
	var p unstable.Parser
	p.Reset(d.data)
	current := b.root
	for !b.full && p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			current = b.header(b.parts(e.Key()), false)
		case unstable.ArrayTable:
			current = b.header(b.parts(e.Key()), true)
		case unstable.KeyValue:
			b.keyValue(current, e)
		}
	}
	d.parsed = !b.full && p.Error() == nil
	if err := p.Error(); err != nil {
		b.syntax(err)
	}
	return b.root
}

// syntax reports what the parser stopped at.
func (b *builder) syntax(err error) {
	var at *unstable.ParserError
	if !errors.As(err, &at) {
		b.add(0, config.Problem{Message: notTOML + err.Error()})
		return
	}
	// The highlight is a slice of the data, without a limit of its own.
	offset := min(max(cap(b.data)-cap(at.Highlight), 0), len(b.data))
	b.add(offset, config.Problem{Message: notTOML + at.Message, Hint: syntaxHint(at.Message)})
}

// parts are the names of a key, or nothing if it is beyond the limits.
func (b *builder) parts(keys unstable.Iterator) []part {
	var parts []part
	for keys.Next() {
		k := keys.Node()
		parts = append(parts, part{string(k.Data), int(k.Raw.Offset)})
	}
	b.keys += len(parts)
	if b.keys > maxKeys && !b.full {
		b.full = true
		b.add(parts[0].offset, config.Problem{Message: fmt.Sprintf("the file has more than %d keys, which no configuration has", maxKeys)})
	}
	if len(parts) > maxKeyParts {
		b.add(parts[0].offset, config.Problem{Message: fmt.Sprintf("a key of %d parts is beyond the limit of %d", len(parts), maxKeyParts)})
		return nil
	}
	for _, part := range parts {
		if len(part.name) > maxKeyLength {
			b.add(part.offset, config.Problem{Message: fmt.Sprintf("a key of %d bytes is beyond the limit of %d", len(part.name), maxKeyLength)})
			return nil
		}
	}
	return parts
}

// detached is a table that is not part of the tree, for what follows a header
// that makes no sense.
func detached() *node { return &node{kind: table, origin: header} }

// header is the table that a [header] or [[header]] opens.
func (b *builder) header(parts []part, isArray bool) *node {
	t := b.root
	for i, part := range parts {
		last := i == len(parts)-1
		child := t.children[part.name]
		switch {
		case child == nil && last && isArray:
			list := &node{kind: array, origin: header, key: part.offset, value: part.offset}
			t.set(part.name, list)
			return b.element(list, part)
		case child == nil:
			child = &node{kind: table, origin: implied, key: part.offset, value: part.offset}
			if last {
				child.origin = header
			}
			t.set(part.name, child)
		case child.kind == array && child.origin == header && last && isArray:
			return b.element(child, part)
		case child.kind == array && child.origin == header && !last:
			child = child.elements[len(child.elements)-1]
		case child.kind != table || child.origin == inline || last && isArray:
			b.again(child, part, "")
			return detached()
		case last && child.origin == implied:
			child.origin, child.key = header, part.offset
		case last:
			// The keys below are read all the same: each may be wrong by itself.
			b.again(child, part, "put all its keys below one header")
		}
		t = child
	}
	if len(parts) == 0 {
		return detached()
	}
	return t
}

// element adds a table to an array of tables.
func (b *builder) element(list *node, p part) *node {
	t := &node{kind: table, origin: header, key: p.offset, value: p.offset, parent: list.parent, name: list.name}
	list.elements = append(list.elements, t)
	return t
}

// again reports a key that was set before.
func (b *builder) again(first *node, p part, hint string) {
	if len(b.problems) >= maxProblems {
		return
	}
	what := "set"
	if first.kind == table {
		what = "a table"
	}
	if hint == "" {
		hint = "remove one of them"
	}
	b.add(p.offset, config.Problem{
		Key:     config.Key(first.path()...),
		Message: fmt.Sprintf("already %s in line %d", what, b.line(first.key)),
		Hint:    hint,
	})
}

// keyValue sets one key within table t.
func (b *builder) keyValue(t *node, e *unstable.Node) {
	parts := b.parts(e.Key())
	for i, part := range parts {
		child := t.children[part.name]
		switch {
		case i == len(parts)-1 && child != nil:
			b.again(child, part, "")
		case i == len(parts)-1:
			end := int(lastKey(e).Raw.Offset + lastKey(e).Raw.Length)
			child = &node{key: part.offset}
			t.set(part.name, child)
			b.value(child, e.Value(), b.afterEquals(end))
		case child == nil:
			child = &node{kind: table, origin: dotted, key: part.offset, value: part.offset}
			t.set(part.name, child)
		case child.kind != table || child.origin != dotted:
			b.again(child, part, "put all its keys in one place")
			return
		}
		t = child
	}
}

func lastKey(e *unstable.Node) *unstable.Node {
	keys := e.Key()
	var last *unstable.Node
	for keys.Next() {
		last = keys.Node()
	}
	return last
}

// afterEquals is where the value begins whose key ends at an offset.
func (b *builder) afterEquals(end int) int {
	for end < len(b.data) && (b.data[end] == ' ' || b.data[end] == '\t' || b.data[end] == '=') {
		end++
	}
	return end
}

// value reads a value into n. Arrays do not say where they begin: start does.
func (b *builder) value(n *node, v *unstable.Node, start int) {
	n.value = start
	switch v.Kind {
	case unstable.Array:
		n.kind = array
		for items := v.Children(); items.Next(); {
			item := &node{parent: n, name: strconv.Itoa(len(n.elements))}
			at := start
			if raw := items.Node().Raw; raw.Length > 0 {
				at = int(raw.Offset)
			} else if first := items.Node().Child(); first != nil && first.Raw.Length > 0 {
				at = int(first.Raw.Offset)
			}
			item.key = at
			b.value(item, items.Node(), at)
			n.elements = append(n.elements, item)
		}
	case unstable.InlineTable:
		n.kind, n.origin = table, dotted
		for items := v.Children(); items.Next(); {
			b.keyValue(n, items.Node())
		}
		n.origin = inline
	default:
		n.kind = scalars[v.Kind]
		n.text = string(v.Data)
		n.value = int(v.Raw.Offset)
	}
}

var scalars = map[unstable.Kind]kind{
	unstable.String:        text,
	unstable.Integer:       integer,
	unstable.Float:         float,
	unstable.Bool:          boolean,
	unstable.LocalDate:     date,
	unstable.LocalTime:     date,
	unstable.LocalDateTime: date,
	unstable.DateTime:      date,
}
