package tests

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/proctord/proctor/collector/lifecycle"
	"github.com/proctord/proctor/config/toml"
)

var (
	exampleBlock = regexp.MustCompile("(?s)<!-- example: (\\S+) (\\S+) -->\n```go\n(.*?)```")
	diagramBlock = regexp.MustCompile("(?s)<!-- diagram -->\n```mermaid\n(.*?)```")
	tomlBlock    = regexp.MustCompile("(?s)```toml\n(.*?)```")
)

// The README's snippets are the examples that the tests run, and its diagram is
// the lifecycle's table. Run with -update to write them anew.
func TestTheReadmeShowsWhatIsTested(t *testing.T) {
	old, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := exampleBlock.ReplaceAllStringFunc(string(old), func(block string) string {
		m := exampleBlock.FindStringSubmatch(block)
		return fmt.Sprintf("<!-- example: %s %s -->\n```go\n%s```", m[1], m[2], snippet(t, "../"+m[1], m[2]))
	})
	readme = diagramBlock.ReplaceAllLiteralString(readme, "<!-- diagram -->\n```mermaid\n"+lifecycle.Diagram()+"```")
	switch {
	case readme == string(old):
	case *update:
		if err := os.WriteFile("../README.md", []byte(readme), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Error("README.md shows something else than the examples and the lifecycle's table; -update writes it anew")
	}
}

func TestTheReadmesConfigurationCanBeRead(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range tomlBlock.FindAllSubmatch(readme, -1) {
		if runtime.GOOS == "windows" && bytes.Contains(block[1], []byte(`["/`)) {
			continue // it names programs as Unix does: here their paths are not absolute
		}
		cfg, err := toml.Parse("README.md", block[1])
		if err != nil {
			t.Error(err)
		}
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// snippet is a function of a file, as it stands there: the body of an example,
// the whole of anything else.
func snippet(t *testing.T, file, name string) string {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	receiver, method, isMethod := strings.Cut(name, ".")
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || isMethod != (f.Recv != nil) {
			continue
		}
		if isMethod && (f.Name.Name != method || !strings.Contains(typeName(f.Recv.List[0].Type), receiver)) || !isMethod && f.Name.Name != name {
			continue
		}
		f.Doc = nil
		var b bytes.Buffer
		commented := &printer.CommentedNode{Node: f, Comments: parsed.Comments}
		if err := (&printer.Config{Mode: printer.UseSpaces | printer.TabIndent, Tabwidth: 8}).Fprint(&b, files, commented); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if strings.HasPrefix(name, "Example") {
			lines := strings.Split(text, "\n")
			lines = lines[1 : len(lines)-1]
			for i, line := range lines {
				lines[i] = strings.TrimPrefix(line, "\t")
			}
			text = strings.Join(lines, "\n")
		}
		return text + "\n"
	}
	t.Fatalf("%s has no %s", file, name)
	return ""
}

func typeName(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	return fmt.Sprint(e)
}
