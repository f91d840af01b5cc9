package cmd

import (
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand is for those who make packages.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Long: `Man writes a manual page for each command into a directory, which is made if it is
not there. SOURCE_DATE_EPOCH, if it is set, is their date.
`,
		Example: "  proctor man /usr/local/share/man/man1",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return failed{err}
			}
			root := c.Root()
			forManual(root)
			header := &doc.GenManHeader{Section: "1", Source: "proctor", Manual: "Proctor"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return failed{err}
			}
			return nil
		},
	}
}

var manHeading = regexp.MustCompile(`^[A-Z][A-Z ]+$`)

// forManual has help texts become what a manual page is made from: lines in
// capitals are headings, and what is indented stays as it is.
func forManual(c *cobra.Command) {
	var lines []string
	indented := false
	for line := range strings.SplitSeq(c.Long, "\n") {
		switch {
		case manHeading.MatchString(line):
			line = "# " + line
		case strings.HasPrefix(line, "  "):
			if !indented {
				lines = append(lines, "")
			}
			line = "    " + strings.TrimPrefix(line, "  ")
		}
		indented = strings.HasPrefix(line, "    ")
		lines = append(lines, line)
	}
	c.Long = strings.Join(lines, "\n")
	c.DisableAutoGenTag = true
	for _, child := range c.Commands() {
		forManual(child)
	}
}
