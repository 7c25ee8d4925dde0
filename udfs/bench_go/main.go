// The work of bench_transform in Go: row by row, and over whole columns; and its aggregate.
package main

import (
	"strings"

	"millrace"
	"millrace/aggregate"
	"millrace/transform"
)

func main() {}

func init() {
	transform.Row("row_closure", rowClosure)
	transform.Columns("vectorised", vectorised)
	aggregate.Register("mean", (*Mean).Update, (*Mean).Merge, (*Mean).Evaluate)
}

// None are the options of a UDF that has none.
type None struct{}

// Row is a row of the benchmark.
type Row struct {
	Value float64
	Flag  bool
	Text  string
}

func rowClosure(row Row, _ *None) (Row, error) {
	return Row{row.Value*1.5 + 1.0, !row.Flag, strings.ToLower(row.Text)}, nil
}

// In are its columns.
type In struct {
	Value millrace.Column[float64]
	Flag  millrace.Column[bool]
	Text  millrace.Column[string]
}

// Out are those that come of them.
type Out struct {
	Value millrace.Builder[float64]
	Flag  millrace.Builder[bool]
	Text  millrace.Builder[string]
}

func vectorised(in *In, out *Out, rows int, _ *None) error {
	for _, value := range millrace.Values(in.Value) {
		millrace.Append(out.Value, value*1.5+1.0)
	}
	for row := range rows {
		out.Flag.AppendBool(!in.Flag.Bool(row))
		out.Text.AppendText(strings.ToLower(in.Text.Text(row)))
	}
	return nil
}

// Value is what is averaged.
type Value struct{ Value float64 }

// Mean is the state of a mean.
type Mean struct {
	Sum   float64
	Count int64
}

// MeanOf is the mean of it.
type MeanOf struct{ Mean millrace.Null[float64] }

// Update takes a row.
func (s *Mean) Update(row Value, _ *None) error {
	s.Sum += row.Value
	s.Count++
	return nil
}

// Merge takes what came later.
func (s *Mean) Merge(later *Mean, _ *None) {
	s.Sum += later.Sum
	s.Count += later.Count
}

// Evaluate gives the mean, and null of no row.
func (s *Mean) Evaluate(_ millrace.Window, _ *None) MeanOf {
	if s.Count == 0 {
		return MeanOf{}
	}
	return MeanOf{millrace.Some(s.Sum / float64(s.Count))}
}
