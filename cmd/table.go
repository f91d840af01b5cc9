package cmd

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// A column of a table: its title, and how soon it is left out when the terminal
// is too narrow: the highest number first, 0 never.
type column struct {
	title string
	spare int
}

// leastNote is the width that a note needs beside its row: with less it goes
// below.
const leastNote = 24

// tabulate makes a table. Notes, one a row, are what must never be cut: they
// stand in a last column where there is room, and else below their rows. Width 0
// is as wide as it likes.
func tabulate(columns []column, rows [][]string, noteTitle string, notes []string, width int) string {
	shown := make([]int, len(columns))
	for i := range columns {
		shown[i] = i
	}
	for width > 0 && tableWidth(columns, rows, shown) > width {
		most, at := 0, -1
		for i, col := range shown {
			if columns[col].spare > most {
				most, at = columns[col].spare, i
			}
		}
		if at < 0 {
			break
		}
		shown = append(shown[:at:at], shown[at+1:]...)
	}
	hasNotes := false
	for _, note := range notes {
		hasNotes = hasNotes || note != ""
	}
	taken := tableWidth(columns, rows, shown)
	beside := hasNotes && (width == 0 || width-taken-2 >= leastNote)

	t := table.NewWriter()
	t.SetStyle(plainStyle)
	t.SuppressTrailingSpaces()
	head := table.Row{}
	for _, col := range shown {
		head = append(head, columns[col].title)
	}
	if beside {
		head = append(head, noteTitle)
		if width > 0 {
			t.SetColumnConfigs([]table.ColumnConfig{{Number: len(head), WidthMax: width - taken - 2, WidthMaxEnforcer: text.WrapSoft}})
		}
	}
	t.AppendHeader(head)
	for i, row := range rows {
		line := table.Row{}
		for _, col := range shown {
			line = append(line, row[col])
		}
		if beside {
			line = append(line, notes[i])
		}
		t.AppendRow(line)
	}
	out := t.Render() + "\n"
	if beside || !hasNotes {
		return trimLines(out)
	}
	lines := strings.SplitAfter(out, "\n")
	var b strings.Builder
	for i, line := range lines {
		b.WriteString(line)
		if i > 0 && i <= len(notes) && notes[i-1] != "" {
			b.WriteString(indented(notes[i-1], 2, width))
		}
	}
	return trimLines(b.String())
}

// plainStyle has no lines: two spaces part the columns.
var plainStyle = table.Style{
	Name:    "plain",
	Box:     table.BoxStyle{PaddingRight: "  "},
	Format:  table.FormatOptions{Header: text.FormatDefault, Row: text.FormatDefault},
	Options: table.OptionsNoBordersAndSeparators,
}

func tableWidth(columns []column, rows [][]string, shown []int) int {
	sum := 0
	for i, col := range shown {
		w := text.StringWidthWithoutEscSequences(columns[col].title)
		for _, row := range rows {
			w = max(w, text.StringWidthWithoutEscSequences(row[col]))
		}
		if i > 0 {
			w += 2
		}
		sum += w
	}
	return sum
}

// indented is a text in lines that are not wider than width, each with a margin.
func indented(what string, margin, width int) string {
	if width > margin+10 {
		what = text.WrapSoft(what, width-margin)
	}
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimRight(what, "\n"), "\n") {
		_, _ = fmt.Fprintf(&b, "%s%s\n", strings.Repeat(" ", margin), strings.TrimRight(line, " "))
	}
	return b.String()
}

// hanging is "label: text" with the text wrapped beside its label.
func hanging(label string, margin int, what string, width int) string {
	body := strings.TrimLeft(indented(what, margin, width), " ")
	pad := margin - text.StringWidthWithoutEscSequences(label)
	return label + strings.Repeat(" ", max(pad, 0)) + body
}

func trimLines(out string) string {
	lines := strings.Split(out, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// cutTo is text that is not wider than width.
func cutTo(what string, width int) string {
	if width <= 1 || text.StringWidthWithoutEscSequences(what) <= width {
		return what
	}
	return text.Trim(what, width-1) + "…"
}
