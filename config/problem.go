package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Problem is one thing that is wrong with a configuration, or, in a list of
// warnings, that is probably not meant.
type Problem struct {
	// Key is the setting that it is about, as a file writes it
	// ("collectors.web.max_restarts"); see Key for the syntax. Empty: the whole.
	Key string `json:"key"`

	// Value is what the setting is, as text. Empty where that does not help.
	Value string `json:"value,omitempty"`

	// Message says what is wrong; Hint says what would be right, and may be empty.
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`

	// Related are the keys of other settings without which there would be no
	// problem: a contradiction has two sides.
	Related []string `json:"related,omitempty"`

	// Err is the error beneath, if there is one.
	Err error `json:"-"`
}

// Error is one line, except where Hint has several: key, message and hint.
func (p *Problem) Error() string {
	text := p.Message
	if p.Key != "" {
		text = abbreviate(p.Key) + ": " + text
	}
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	return text
}

// Unwrap is the error beneath.
func (p *Problem) Unwrap() error { return p.Err }

// Problems is everything that is wrong with a configuration, at once. As an
// error it has one problem a line, and errors.As finds a *Problem in it.
type Problems []Problem

// maxLines is how many problems the text of an error shows. A file of another
// kind altogether has one on each of its lines.
const maxLines = 100

func (ps Problems) Error() string {
	lines := make([]string, 0, min(len(ps), maxLines)+1)
	for i := range ps {
		if i == maxLines {
			lines = append(lines, fmt.Sprintf("and %d more problems", len(ps)-i))
			break
		}
		lines = append(lines, ps[i].Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap is each of the problems.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i := range ps {
		errs[i] = &ps[i]
	}
	return errs
}

// err is ps as an error, nil if there are none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// Key joins the parts of a key as a TOML file writes it: with dots, and quotes
// around a part that has other characters than a-z A-Z 0-9 _ - in it.
func Key(parts ...string) string {
	quoted := make([]string, len(parts))
	for i, part := range parts {
		quoted[i] = part
		if !bare(part) {
			quoted[i] = strconv.Quote(part)
		}
	}
	return strings.Join(quoted, ".")
}

// Element is the key of one element of the array at key, counted from 0.
func Element(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

func bare(part string) bool {
	return part != "" && !strings.ContainsFunc(part, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-')
	})
}

// maxShown is how much of a key or value a message shows, in bytes.
const maxShown = 120

// abbreviate cuts text that is too long to be read anyway, at a character.
func abbreviate(text string) string {
	if len(text) <= maxShown {
		return text
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// quote is text as a message shows it.
func quote(text string) string { return strconv.Quote(abbreviate(text)) }

// sorted is the keys of m in order, so that problems come in the same order
// every time.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
