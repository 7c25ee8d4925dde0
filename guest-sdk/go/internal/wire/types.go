// Package wire is the contract as it crosses: its records, and how they lie in memory. Go's own structs lie otherwise, since
// its pointers are eight bytes wide even in WebAssembly.
package wire

// Field is a column of a schema.
type Field struct {
	Name, Format string
	Nullable     bool
}

// Batch is rows as columns, each its buffers.
type Batch struct {
	Rows    int
	Columns [][][]byte
}

// Rejection is an input row that is refused.
type Rejection struct {
	Row    uint32
	Reason string
}

// Log levels.
const (
	Debug uint32 = iota
	Info
	Warn
	Error
)
