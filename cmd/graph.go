package cmd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/proctord/proctor/config"
	"github.com/proctord/proctor/messages"
	"github.com/spf13/cobra"
)

func (a *app) graphCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "graph",
		Short: "Show who waits for whom, and what the last start took",
		Long: `Graph shows all collectors, each after those that it waits for, and what made the
last start take as long as it did: the critical path. With --format it prints the
graph for Graphviz (dot) or for Mermaid; solid lines are what is required, dashed
ones what is only waited for, dotted ones what is started along.
` + exitStatus,
		Example: `  proctor graph
  proctor graph --format dot | dot -Tsvg > graph.svg
  proctor graph --format mermaid
  proctor graph -o json`,
		Args: cobra.NoArgs,
	}
	format := c.Flags().String("format", "text", "text, dot or mermaid")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]cobra.Completion{"text", "dot", "mermaid"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(cc *cobra.Command, args []string) error {
		if err := oneOf("--format", *format, []string{"text", "dot", "mermaid"}); err != nil {
			return err
		}
		return a.remote(func(c *call, _ []string) error {
			graph, err := c.Graph(c.ctx)
			if err != nil {
				return err
			}
			if c.structured() {
				return c.print(graphDocumentOf(graph))
			}
			draw := map[string]func(messages.Graph) string{"text": c.graphText, "dot": dotOf, "mermaid": mermaidOf}[*format]
			return c.write([]byte(draw(graph)))
		})(cc, args)
	}
	return c
}

// An edge is one collector that another one waits for.
type edge struct {
	from, to  string
	condition config.Condition
	kind      string // "requires", "after", "wants" or "order"
}

func edgesOf(n messages.Node) (edges []edge) {
	for _, d := range n.Requires {
		edges = append(edges, edge{n.ID, d.ID, d.Condition, "requires"})
	}
	for _, d := range n.After {
		edges = append(edges, edge{n.ID, d.ID, d.Condition, "after"})
	}
	if n.Previous != "" {
		edges = append(edges, edge{n.ID, n.Previous, "", "order"})
	}
	for _, id := range n.Wants {
		edges = append(edges, edge{n.ID, id, "", "wants"})
	}
	return edges
}

// graphText is the graph for people: what each waits for, and how long its last
// start took.
func (c *call) graphText(graph messages.Graph) string {
	if len(graph.Nodes) == 0 {
		return "no collectors are known\n"
	}
	color := c.colored(c.stdout)
	rows, notes := make([][]string, len(graph.Nodes)), make([]string, len(graph.Nodes))
	for i, n := range graph.Nodes {
		group := "-"
		if n.Group != "" {
			group = config.GroupMark + n.Group
		}
		rows[i] = []string{n.ID, paint(color, stateColors[min(int(n.State), len(stateColors)-1)], n.State.String()), group, took(n.Asked, n.Ordered), took(n.Ordered, n.Up)}
		var words []string
		for _, e := range edgesOf(n) {
			word := e.kind + " " + e.to
			switch {
			case e.kind == "order":
				word = "comes after " + e.to
			case e.condition != "":
				word += " (" + string(e.condition) + ")"
			}
			words = append(words, word)
		}
		notes[i] = strings.Join(words, ", ")
	}
	text := tabulate([]column{{"ID", 0}, {"STATE", 0}, {"GROUP", 2}, {"WAITED", 3}, {"CAME UP IN", 4}}, rows, "WAITS FOR", notes, c.width())
	if path, whole := criticalPath(graph); len(path) > 0 {
		steps := make([]string, len(path))
		for i, step := range path {
			steps[i] = fmt.Sprintf("%s %s", step.id, duration(step.took))
		}
		text += "\n" + indented(fmt.Sprintf("The last start took %s: %s", duration(whole), strings.Join(steps, " → ")), 0, c.width())
	}
	return text
}

func took(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return "-"
	}
	return duration(max(to.Sub(from), 0))
}

// A step is one collector of a critical path, and how long it kept the others.
type step struct {
	id   string
	took time.Duration
}

// criticalPath is what the collector that came up last has waited for, what that
// had waited for, and so on; and how long that took together.
func criticalPath(graph messages.Graph) (path []step, whole time.Duration) {
	nodes := map[string]messages.Node{}
	var last messages.Node
	for _, n := range graph.Nodes {
		nodes[n.ID] = n
		if n.Up.After(last.Up) {
			last = n
		}
	}
	if last.Up.IsZero() {
		return nil, 0
	}
	for n, seen := last, map[string]bool{}; !seen[n.ID]; {
		seen[n.ID] = true
		var before messages.Node
		for _, e := range edgesOf(n) {
			if d := nodes[e.to]; e.kind != "wants" && d.Up.After(before.Up) && d.Up.After(n.Asked) && !d.Up.After(n.Up) {
				before = d
			}
		}
		begin := n.Asked
		if before.ID != "" {
			begin = before.Up
		}
		path = append(path, step{n.ID, n.Up.Sub(begin)})
		whole += n.Up.Sub(begin)
		if before.ID == "" {
			break
		}
		n = before
	}
	slices.Reverse(path)
	return path, whole
}

var graphColors = [messages.NumStates]string{
	messages.Stopped: "gray", messages.Starting: "orange", messages.Running: "darkgreen",
	messages.Paused: "orange", messages.Stopping: "orange", messages.Failed: "red",
}

func dotOf(graph messages.Graph) string {
	var b strings.Builder
	b.WriteString("digraph proctor {\n  rankdir = BT;\n  node [shape = box, fontname = \"sans-serif\"];\n")
	each := func(group, indent string) {
		for _, n := range graph.Nodes {
			if n.Group == group {
				_, _ = fmt.Fprintf(&b, "%s%q [color = %s, tooltip = %q];\n", indent, n.ID, graphColors[min(int(n.State), len(graphColors)-1)], n.State.String())
			}
		}
	}
	each("", "  ")
	for _, group := range groupsIn(graph) {
		_, _ = fmt.Fprintf(&b, "  subgraph %q {\n    label = %q;\n", "cluster_"+group, group)
		each(group, "    ")
		b.WriteString("  }\n")
	}
	styles := map[string]string{"requires": "solid", "after": "dashed", "order": "dashed", "wants": "dotted"}
	for _, n := range graph.Nodes {
		for _, e := range edgesOf(n) {
			label := string(e.condition)
			_, _ = fmt.Fprintf(&b, "  %q -> %q [style = %s, label = %q];\n", e.from, e.to, styles[e.kind], label)
		}
	}
	return b.String() + "}\n"
}

func mermaidOf(graph messages.Graph) string {
	names := map[string]string{}
	for i, n := range graph.Nodes {
		names[n.ID] = fmt.Sprintf("n%d", i)
	}
	var b strings.Builder
	b.WriteString("flowchart BT\n")
	each := func(group, indent string) {
		for _, n := range graph.Nodes {
			if n.Group == group {
				_, _ = fmt.Fprintf(&b, "%s%s[\"%s (%v)\"]\n", indent, names[n.ID], n.ID, n.State)
			}
		}
	}
	each("", "  ")
	for i, group := range groupsIn(graph) {
		_, _ = fmt.Fprintf(&b, "  subgraph g%d [\"%s\"]\n", i, group)
		each(group, "    ")
		b.WriteString("  end\n")
	}
	arrows := map[string]string{"requires": "-->", "after": "-.->", "order": "-.->", "wants": "-..->"}
	for _, n := range graph.Nodes {
		for _, e := range edgesOf(n) {
			label := ""
			if e.condition != "" {
				label = "|" + string(e.condition) + "|"
			}
			if names[e.to] != "" {
				_, _ = fmt.Fprintf(&b, "  %s %s%s %s\n", names[e.from], arrows[e.kind], label, names[e.to])
			}
		}
	}
	return b.String()
}

func groupsIn(graph messages.Graph) (groups []string) {
	for _, n := range graph.Nodes {
		if n.Group != "" && !slices.Contains(groups, n.Group) {
			groups = append(groups, n.Group)
		}
	}
	return groups
}

type graphDocument struct {
	Nodes        []nodeDocument `json:"nodes"`
	CriticalPath []stepDocument `json:"critical_path"`
	TookSeconds  float64        `json:"took_seconds"`
}

type nodeDocument struct {
	ID       string               `json:"id"`
	Group    string               `json:"group"`
	State    messages.State       `json:"state"`
	Requires []dependencyDocument `json:"requires"`
	Wants    []string             `json:"wants"`
	After    []dependencyDocument `json:"after"`
	Previous string               `json:"previous"`
	Asked    *time.Time           `json:"asked"`
	Ordered  *time.Time           `json:"ordered"`
	Up       *time.Time           `json:"up"`
}

type dependencyDocument struct {
	ID        string `json:"id"`
	Condition string `json:"condition"`
}

type stepDocument struct {
	ID          string  `json:"id"`
	TookSeconds float64 `json:"took_seconds"`
}

func graphDocumentOf(graph messages.Graph) graphDocument {
	path, whole := criticalPath(graph)
	d := graphDocument{Nodes: []nodeDocument{}, CriticalPath: []stepDocument{}, TookSeconds: whole.Seconds()}
	dependencies := func(list []config.Dependency) []dependencyDocument {
		documents := []dependencyDocument{}
		for _, d := range list {
			documents = append(documents, dependencyDocument{d.ID, string(d.Condition)})
		}
		return documents
	}
	for _, n := range graph.Nodes {
		d.Nodes = append(d.Nodes, nodeDocument{
			n.ID, n.Group, n.State, dependencies(n.Requires), list(n.Wants), dependencies(n.After), n.Previous, moment(n.Asked), moment(n.Ordered), moment(n.Up),
		})
	}
	for _, s := range path {
		d.CriticalPath = append(d.CriticalPath, stepDocument{s.id, s.took.Seconds()})
	}
	return d
}
