package toml

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/proctord/proctor/config"
)

// A keyTable is what a table of the file may contain, and what that sets in a T.
type keyTable[T any] struct {
	title string // "[process_manager]"
	keys  []key[T]
}

// A key is one setting: this is all that has to be said about it.
type key[T any] struct {
	name    string
	doc     string   // what it means, with unit and default
	form    string   // what its value is: "a whole number"
	aliases []string // what other programs call it; they get a hint, not a meaning

	read func(d *document, key string, n *node, into *T)
	list func(path string) []KeyDoc // of the keys within
}

// also names what other programs call this setting.
func (k key[T]) also(names ...string) key[T] {
	k.aliases = append(slices.Clip(k.aliases), names...)
	return k
}

// read reads table n, which is at key, into a T. What is not known is reported.
func (t keyTable[T]) read(d *document, at string, n *node, into *T) {
	for _, name := range n.names {
		child := n.children[name]
		path := config.Key(name)
		if at != "" {
			path = at + "." + path
		}
		d.values[path] = child
		i := slices.IndexFunc(t.keys, func(k key[T]) bool { return k.name == name })
		if i < 0 {
			d.add(child.key, config.Problem{Key: path, Message: "unknown key", Hint: t.hint(d, name)})
			continue
		}
		t.keys[i].read(d, path, child, into)
	}
}

// hint says what the unknown key name probably should be.
func (t keyTable[T]) hint(d *document, name string) string {
	names := make([]string, len(t.keys))
	for i, k := range t.keys {
		names[i] = k.name
		if slices.Contains(k.aliases, strings.ToLower(name)) {
			return `did you mean "` + k.name + `"?`
		}
	}
	if home, ok := d.homes[name]; ok {
		return "it belongs in " + home
	}
	if near := config.Nearest(name, names); near != "" {
		return `did you mean "` + near + `"?`
	}
	return "the keys of " + t.title + " are " + strings.Join(names, ", ")
}

// list documents the keys of a table that is at path.
func (t keyTable[T]) list(path string) []KeyDoc {
	var docs []KeyDoc
	for _, k := range t.keys {
		at := k.name
		if path != "" {
			at = path + "." + at
		}
		if k.list != nil {
			docs = append(docs, k.list(at)...)
			continue
		}
		docs = append(docs, KeyDoc{Key: at, Form: k.form, Doc: k.doc})
	}
	return docs
}

// wrong reports a value of another type than the key has.
func (d *document) wrong(at string, n *node, form, hint string) {
	d.add(n.place(), config.Problem{Key: at, Value: shown(n), Message: "expected " + form + ", not " + n.describe(), Hint: hint})
}

// wrongSecret is wrong where the value may be a secret that somebody forgot to
// quote: it is not shown.
func (d *document) wrongSecret(at string, n *node, form, hint string) {
	what := n.describe()
	switch {
	case n.kind == text:
		what = "a string"
	case n.kind == date:
		what = "a date or time"
	case n.kind == boolean:
		what = "true or false"
	case n.scalar():
		what = "a number"
	}
	d.add(n.place(), config.Problem{Key: at, Message: "expected " + form + ", not " + what, Hint: hint})
}

// describe names a value in a sentence.
func (n *node) describe() string {
	switch n.kind {
	case table:
		return "a table"
	case array:
		if n.origin == header && len(n.elements) > 0 {
			return "an array of tables"
		}
		return "an array"
	case text:
		return "the string " + strconv.Quote(shown(n))
	case date:
		return "the date or time " + shown(n)
	}
	return shown(n)
}

// shown is the value as a problem shows it, cut where it is too long.
func shown(n *node) string {
	const longest = 60
	if len(n.text) <= longest {
		return n.text
	}
	cut := longest
	for !utf8.RuneStart(n.text[cut]) {
		cut--
	}
	return n.text[:cut] + "…"
}

// scalar is whether n has one value, as opposed to tables and arrays.
func (n *node) scalar() bool { return n.kind != table && n.kind != array }

// quoted is the hint to quote a value that was meant as a string.
func quoted(n *node) string {
	if n.scalar() {
		return "put it in quotes: " + strconv.Quote(shown(n))
	}
	return ""
}

// The forms of values.
const (
	formText         = "a string"
	formTexts        = "an array of strings"
	formTextMap      = "a table of strings"
	formSequence     = "an array of signal names, with seconds between them"
	formCodes        = "an array of exit codes and signal names"
	formDependencies = "an array of ids, or of tables with id and condition"
	formBool         = "true or false"
	formCount        = "a whole number"
	formCounts       = "an array of whole numbers"
	formSeconds      = "a number of seconds"
	formTable        = "a table"
)

// nested is a table within a table.
func nested[T, U any](name string, within keyTable[U], field func(*T) *U) key[T] {
	return key[T]{
		name: name, form: formTable,
		read: func(d *document, at string, n *node, into *T) {
			if n.kind != table {
				d.wrong(at, n, formTable, "write "+within.title+" and its keys below it")
				return
			}
			within.read(d, at, n, field(into))
		},
		list: within.list,
	}
}

// each is a table of tables that have names of the user's choice, shown as
// <placeholder> in documentation. Fresh is one that nothing is said about.
func each[T, U any](name, placeholder string, within keyTable[U], fresh func() U, field func(*T) *map[string]U) key[T] {
	return key[T]{
		name: name, form: formTable,
		read: func(d *document, at string, n *node, into *T) {
			if n.kind != table {
				d.wrong(at, n, formTable, "write "+within.title+" for each of them")
				return
			}
			m := field(into)
			if *m == nil {
				*m = map[string]U{}
			}
			for _, id := range n.names {
				child, path := n.children[id], at+"."+config.Key(id)
				d.values[path] = child
				if child.kind != table {
					hint := "write " + within.title + " and its keys below it"
					if slices.ContainsFunc(within.keys, func(k key[U]) bool { return k.name == id }) {
						hint = "the id is missing: put this below " + within.title
					}
					d.wrong(path, child, formTable, hint)
					continue
				}
				one := fresh()
				within.read(d, path, child, &one)
				(*m)[id] = one
			}
		},
		list: func(path string) []KeyDoc { return within.list(path + "." + placeholder) },
	}
}

// word is a string.
func word[T any, S ~string](name, doc string, field func(*T) *S) key[T] {
	return key[T]{name: name, doc: doc, form: formText, read: func(d *document, at string, n *node, into *T) {
		if n.kind != text {
			d.wrong(at, n, formText, quoted(n))
			return
		}
		*field(into) = S(n.text)
	}}
}

// words is an array of strings.
func words[T any](name, doc string, field func(*T) *[]string) key[T] {
	return key[T]{name: name, doc: doc, form: formTexts, read: func(d *document, at string, n *node, into *T) {
		if n.kind != array || n.origin == header {
			hint := ""
			if n.kind == text {
				hint = "write [" + strings.Join(quoteAll(strings.Fields(shown(n))), ", ") + "]"
			} else if n.scalar() {
				hint = "write [" + strconv.Quote(shown(n)) + "]"
			}
			d.wrong(at, n, formTexts, hint)
			return
		}
		list := make([]string, 0, len(n.elements))
		for i, element := range n.elements {
			if element.kind != text {
				d.wrong(config.Element(at, i), element, formText, quoted(element))
			}
			list = append(list, element.text)
		}
		*field(into) = list
	}}
}

func quoteAll(list []string) []string {
	for i, s := range list {
		list[i] = strconv.Quote(s)
	}
	return list
}

// wordMap is a table of strings that have names of the user's choice.
func wordMap[T any](name, placeholder, doc string, field func(*T) *map[string]string) key[T] {
	return key[T]{
		name: name, doc: doc, form: formTextMap,
		read: func(d *document, at string, n *node, into *T) {
			if n.kind != table {
				d.wrongSecret(at, n, formTextMap, "write "+name+` = { `+placeholder+` = "…" }`)
				return
			}
			m := make(map[string]string, len(n.names))
			for _, name := range n.names {
				child, path := n.children[name], at+"."+config.Key(name)
				d.values[path] = child
				switch {
				case child.kind == table && child.origin == dotted:
					d.wrong(path, child, formText, "a name that contains a dot needs quotes")
				case child.scalar() && child.kind != text:
					d.wrongSecret(path, child, formText, "put it in quotes")
				case child.kind != text:
					d.wrong(path, child, formText, "")
				default:
					m[name] = child.text
				}
			}
			*field(into) = m
		},
		list: func(path string) []KeyDoc {
			return []KeyDoc{{Key: path + ".<" + placeholder + ">", Form: formText, Doc: doc}}
		},
	}
}

// exitCodes is an array of numbers and names.
func exitCodes[T any](name, doc string, field func(*T) *[]string) key[T] {
	return key[T]{name: name, doc: doc, form: formCodes, read: func(d *document, at string, n *node, into *T) {
		if n.kind != array || n.origin == header {
			hint := ""
			if n.kind == integer {
				hint = "write [" + shown(n) + "]"
			} else if n.scalar() {
				hint = "write [" + strconv.Quote(shown(n)) + "]"
			}
			d.wrong(at, n, formCodes, hint)
			return
		}
		list := make([]string, 0, len(n.elements))
		for i, element := range n.elements {
			at := config.Element(at, i)
			d.values[at] = element
			if element.kind != text && element.kind != integer {
				d.wrong(at, element, "an exit code or the name of a signal", `for example 3, or "SIGTERM"`)
				continue
			}
			list = append(list, element.text)
		}
		*field(into) = list
	}}
}

// stopSequence is an array of signals, with the seconds from one to the next
// between them.
func stopSequence[T any](name, doc string, field func(*T) *[]config.StopStep) key[T] {
	const example = `for example ["SIGINT", 10, "SIGTERM"]`
	return key[T]{name: name, doc: doc, form: formSequence, read: func(d *document, at string, n *node, into *T) {
		if n.kind != array || n.origin == header {
			hint := example
			if n.kind == text && !strings.Contains(n.text, " ") {
				hint = "write [" + strconv.Quote(n.text) + "]"
			}
			d.wrong(at, n, formSequence, hint)
			return
		}
		steps := make([]config.StopStep, 0, len(n.elements)/2+1)
		for i, element := range n.elements {
			key := config.Element(at, i)
			d.values[key] = element
			switch {
			case i%2 == 0 && element.kind == text:
				if steps = append(steps, config.StopStep{Signal: element.text}); i > 0 {
					pause.read(d, config.Element(at, i-1), n.elements[i-1], &steps[len(steps)-1].After)
				}
			case i%2 == 0:
				d.wrong(key, element, "the name of a signal", example)
				return
			case element.kind == text:
				d.wrong(key, element, "the seconds before the next signal", example)
				return
			case i == len(n.elements)-1:
				d.add(element.place(), config.Problem{Key: key, Value: shown(element), Message: "a sequence ends with a signal",
					Hint: "leave the last time out: graceful_timeout_seconds is how long all of it has"})
				return
			}
		}
		*field(into) = steps
	}}
}

// pause is the time from one signal to the next.
var pause = seconds("", "", zero[time.Duration]{refuse: "use more than 0"}, func(d *time.Duration) *time.Duration { return d })

// flag is true or false.
func flag[T any](name, doc string, field func(*T) *bool) key[T] {
	return key[T]{name: name, doc: doc, form: formBool, read: func(d *document, at string, n *node, into *T) {
		if n.kind != boolean {
			hint := "write true or false, without quotes"
			switch strings.ToLower(n.text) {
			case "true", "yes", "on", "1":
				hint = "write true, without quotes"
			case "false", "no", "off", "0":
				hint = "write false, without quotes"
			}
			d.wrong(at, n, formBool, hint)
			return
		}
		*field(into) = n.text == "true"
	}}
}

// toggle is true or false, where not saying either is a third thing.
func toggle[T any](name, doc string, field func(*T) *config.Switch) key[T] {
	yes := flag(name, doc, func(t *T) *bool { return new(bool) })
	return key[T]{name: name, doc: doc, form: formBool, read: func(d *document, at string, n *node, into *T) {
		switch {
		case n.kind != boolean:
			yes.read(d, at, n, into) // it says what is wrong
		case n.text == "true":
			*field(into) = config.On
		default:
			*field(into) = config.Off
		}
	}}
}

// A zero says what a 0 in the file means: an explicit nothing, or, with a hint,
// that it is refused.
type zero[V any] struct {
	means  V
	refuse string
}

// count is a whole number.
func count[T any](name, doc string, z zero[int], field func(*T) *int) key[T] {
	return key[T]{name: name, doc: doc, form: formCount, read: func(d *document, at string, n *node, into *T) {
		if n.kind != integer {
			d.wrong(at, n, formCount, countHint(n.text))
			return
		}
		problem := config.Problem{Key: at, Value: shown(n)}
		v, err := strconv.ParseInt(n.text, 0, 64)
		switch {
		case err != nil || v > math.MaxInt32:
			problem.Message, problem.Hint = shown(n)+" is too large", fmt.Sprintf("use at most %d", math.MaxInt32)
		case v < 0:
			problem.Message, problem.Hint = fmt.Sprintf("%d is negative", v), z.least("1 or more")
		case v == 0 && z.refuse != "":
			problem.Message, problem.Hint = "0 cannot work", z.refuse
		case v == 0:
			*field(into) = z.means
			return
		default:
			*field(into) = int(v)
			return
		}
		d.add(n.place(), problem)
	}}
}

// signed is a whole number that may be negative.
func signed[T any](name, doc string, field func(*T) *int) key[T] {
	return key[T]{name: name, doc: doc, form: formCount, read: func(d *document, at string, n *node, into *T) {
		if v, ok := d.smallNumber(at, n); ok {
			*field(into) = v
		}
	}}
}

// numbers is an array of whole numbers.
func numbers[T any](name, doc string, field func(*T) *[]int) key[T] {
	return key[T]{name: name, doc: doc, form: formCounts, read: func(d *document, at string, n *node, into *T) {
		if n.kind != array || n.origin == header {
			hint := ""
			if n.kind == integer {
				hint = "write [" + shown(n) + "]"
			}
			d.wrong(at, n, formCounts, hint)
			return
		}
		list := make([]int, 0, len(n.elements))
		for i, element := range n.elements {
			if v, ok := d.smallNumber(config.Element(at, i), element); ok {
				list = append(list, v)
			}
		}
		*field(into) = list
	}}
}

func (d *document) smallNumber(at string, n *node) (v int, ok bool) {
	if n.kind != integer {
		d.wrong(at, n, formCount, countHint(n.text))
		return 0, false
	}
	i, err := strconv.ParseInt(n.text, 0, 32)
	if err != nil {
		d.add(n.place(), config.Problem{Key: at, Value: shown(n), Message: shown(n) + " is out of range"})
		return 0, false
	}
	return int(i), true
}

// least is the hint at the least value that is allowed.
func (z zero[V]) least(least string) string {
	if z.refuse == "" {
		least = "0 or more"
	}
	return "use " + least
}

func countHint(written string) string {
	if _, err := strconv.ParseInt(written, 10, 32); err == nil {
		return "write it without quotes: " + written
	}
	if f, err := strconv.ParseFloat(written, 64); err == nil && f == math.Trunc(f) && math.Abs(f) <= math.MaxInt32 {
		return "write " + strconv.FormatFloat(f, 'f', -1, 64)
	}
	return "for example 3"
}

// seconds is a time in seconds, whole or with a fraction.
func seconds[T any](name, doc string, z zero[time.Duration], field func(*T) *time.Duration) key[T] {
	return key[T]{name: name, doc: doc, form: formSeconds, read: func(d *document, at string, n *node, into *T) {
		problem := config.Problem{Key: at, Value: shown(n)}
		var v float64
		switch n.kind {
		case integer:
			i, err := strconv.ParseInt(n.text, 0, 64)
			if v = float64(i); err != nil {
				v = math.Inf(1)
			}
		case float:
			// Beyond the range of a float64 this is infinite, too.
			v, _ = strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64)
		default:
			d.wrong(at, n, formSeconds, secondsHint(n.text))
			return
		}
		duration := time.Duration(0)
		if math.Abs(v) <= config.MaxTime.Seconds() {
			duration = time.Duration(math.Round(v * float64(time.Second)))
		}
		switch {
		case math.IsNaN(v):
			problem.Message, problem.Hint = "nan is not a time", z.least("more than 0")
		case v < 0:
			problem.Message, problem.Hint = shown(n)+" is negative", z.least("more than 0")
		case v > config.MaxTime.Seconds():
			problem.Message = shown(n) + " s is more than 100 years"
			problem.Hint = "use at most " + config.Seconds(config.MaxTime)
		case v == 0 && z.refuse != "":
			problem.Message, problem.Hint = "0 cannot work", z.refuse
		case v == 0:
			*field(into) = z.means
			return
		case duration == 0:
			problem.Message, problem.Hint = shown(n)+" s is less than a nanosecond", "use a larger number"
		default:
			*field(into) = duration
			return
		}
		d.add(n.place(), problem)
	}}
}

func secondsHint(written string) string {
	if v, err := strconv.ParseFloat(written, 64); err == nil && v >= 0 && v <= config.MaxTime.Seconds() {
		return "write it without quotes: " + written
	}
	if v, err := time.ParseDuration(strings.ReplaceAll(written, " ", "")); err == nil && v >= 0 {
		return "write it in seconds, without quotes: " + config.Seconds(v)
	}
	return "for example 30, or 0.5"
}

// syntaxHint says what is usually meant where the parser stopped.
func syntaxHint(message string) string {
	switch {
	case strings.Contains(message, "at start of value"), strings.Contains(message, "expected keyword"):
		return `text needs quotes, as in "text"; yes and no are true and false`
	case strings.Contains(message, "expected '=' after key"):
		return "a setting is written as key = value, a table as [table]"
	case strings.Contains(message, "unterminated basic string"), strings.Contains(message, "basic strings cannot have new lines"):
		return `the closing " is missing`
	case strings.Contains(message, "invalid escape character"):
		return `write a backslash as \\, or put the text in single quotes`
	case strings.Contains(message, "array is incomplete"):
		return "the closing ] is missing"
	case strings.Contains(message, "inline table is incomplete"):
		return "the closing } is missing"
	case strings.Contains(message, "to close table name"):
		return "put it there, or quotes around a name with other characters than a-z A-Z 0-9 _ -"
	case strings.Contains(message, "invalid character at start of key"):
		return "a name with other characters than a-z A-Z 0-9 _ - needs quotes"
	}
	return ""
}
