package config

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Nearest is the candidate that whoever wrote word probably meant, or "" if none
// is near: one that is a few typing errors away, one that begins as word does
// ("graceful_timeout"), or one that has all the words in it. Case, and - for _, do
// not count.
func Nearest(word string, candidates []string) string {
	// What is longer than this is no misspelling of anything that we know.
	const longest = 64
	if word == "" || len(word) > longest {
		return ""
	}
	plain := strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(word))
	// A third of the letters may be wrong; beyond that it is another word.
	best, limit := "", max(len(plain)/3, 1)
	for _, candidate := range candidates {
		other := strings.ReplaceAll(strings.ToLower(candidate), "-", "_")
		distance := levenshtein.ComputeDistance(plain, other)
		switch {
		case len(plain) >= 4 && strings.HasPrefix(other, plain), 2*len(other) >= len(plain) && strings.HasPrefix(plain, other):
			distance = min(distance, 1)
		case strings.Contains(plain, "_") && hasWords(other, plain):
			distance = min(distance, 2)
		case swapped(plain, other):
			distance = 1
		}
		if distance <= limit {
			best, limit = candidate, distance-1
		}
		if limit < 0 {
			break
		}
	}
	return best
}

// swapped is whether two neighbouring letters of one word are the other way round
// in the other.
func swapped(one, other string) bool {
	if len(one) != len(other) {
		return false
	}
	for i := range len(one) - 1 {
		if one[i] != other[i] {
			return one[i] == other[i+1] && one[i+1] == other[i] && one[i+2:] == other[i+2:]
		}
	}
	return false
}

// hasWords is whether all words of some are among those of all, in that order.
func hasWords(all, some string) bool {
	rest := strings.Split(all, "_")
	for word := range strings.SplitSeq(some, "_") {
		i := slices.Index(rest, word)
		if i < 0 {
			return false
		}
		rest = rest[i+1:]
	}
	return true
}

// didYouMean is the hint that names the nearest of the candidates, or lists them.
func didYouMean(word string, candidates []string) string {
	if near := Nearest(word, candidates); near != "" {
		return `did you mean "` + near + `"?`
	}
	return `use one of "` + strings.Join(candidates, `", "`) + `"`
}
