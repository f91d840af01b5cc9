package cmd

import (
	"fmt"
	"io"
	"math"

	"github.com/proctord/proctor/config"
)

// An exposureDocument is how exposed a collector is, in JSON.
type exposureDocument struct {
	Collector string                `json:"collector"`
	Exposure  float64               `json:"exposure"`
	Level     string                `json:"level"`
	Findings  []exposureFindingItem `json:"findings"`
}

type exposureFindingItem struct {
	Key     string  `json:"key"`
	Setting string  `json:"setting"`
	Why     string  `json:"why"`
	Lowers  float64 `json:"lowers"`
}

func exposuresOf(all []config.Exposure) []exposureDocument {
	documents := make([]exposureDocument, len(all))
	for i, e := range all {
		documents[i] = exposureDocument{e.Collector, tenths(e.Score), e.Level, []exposureFindingItem{}}
		for _, f := range e.Findings {
			documents[i].Findings = append(documents[i].Findings, exposureFindingItem{f.Key, f.Setting, f.Why, hundredths(f.Lowers)})
		}
	}
	return documents
}

func tenths(x float64) float64     { return math.Round(x*10) / 10 }
func hundredths(x float64) float64 { return math.Round(x*100) / 100 }

func (e *exposureDocument) print(out io.Writer) {
	_, _ = fmt.Fprintf(out, "%s: exposure %.1f of 10, %s\n", e.Collector, e.Exposure, e.Level)
	for _, f := range e.Findings {
		_, _ = fmt.Fprintf(out, "  -%.2f  %-42s %s\n", f.Lowers, f.Setting, f.Why)
	}
}
