// The work of bench_transform in Go: row by row, and over whole columns.
package main

import (
	"strings"

	"millrace"
	"millrace/transform"
)

func main() {}

func init() {
	transform.Row("row_closure", rowClosure)
	transform.Columns("vectorised", vectorised)
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
