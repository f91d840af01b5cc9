package config

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxIDLength is the length of the longest collector id, in characters.
const MaxIDLength = 64

// idSyntax is what every complaint about an id ends with.
const idSyntax = "use 1 to 64 of a-z A-Z 0-9 . _ -, starting with a letter or a digit"

// ValidID reports what is wrong with a collector id, or nil. An id is 1 to 64 of
// a-z A-Z 0-9 . _ -, and starts with a letter or a digit: it becomes part of
// file names and of actor names, where anything else would mean something.
func ValidID(id string) error {
	if fault := nameFault(id); fault != "" {
		return errors.New(fault + "; " + idSyntax)
	}
	return nil
}

// nameFault says what is wrong with an id or a type, which have one syntax; it is
// empty if nothing is.
func nameFault(name string) string {
	if name == "" {
		return "it is empty"
	}
	if !utf8.ValidString(name) {
		return "it is not UTF-8"
	}
	for i, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		case r == '.' || r == '_' || r == '-':
			if i == 0 {
				return fmt.Sprintf("it starts with %q", r)
			}
		default:
			return fmt.Sprintf("it contains %q", r)
		}
	}
	if n := utf8.RuneCountInString(name); n > MaxIDLength {
		return fmt.Sprintf("it is too long: %d characters", n)
	}
	return ""
}
