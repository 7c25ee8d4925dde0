// Package millrace has what UDFs of both kinds are written with: the types of columns, and the host's log. Transforms are
// registered with package transform, aggregates with package aggregate; README.md is the way in.
package millrace

import (
	"errors"
	"unsafe"

	"millrace/internal/column"
)

// Timestamp is a moment: microseconds since 1970 in UTC.
type Timestamp int64

// Window is the stretch of time that a feature is asked for: [Since, Until). For `over` both are the row's time; at request
// time Until is the request's.
type Window struct{ Since, Until Timestamp }

// Null is a value of a column that may have none. It costs nothing, where a pointer costs an allocation for each row.
type Null[T any] struct {
	Value T
	Valid bool
}

// Some is a value that there is.
func Some[T any](value T) Null[T] { return Null[T]{value, true} }

// Drop, returned as a row function's error, filters the row out. Any other error refuses it: a dead letter, with the error's
// text as the reason.
var Drop = errors.New("filtered out")

// Number is what columns of numbers hold.
type Number interface {
	~int32 | ~int64 | ~float32 | ~float64
}

// Column is a whole column that came in. Write Column[Null[T]] for one that may hold nulls.
type Column[T any] struct{ Raw *column.Reader }

// Element is what one of its rows is, for the SDK to find.
func (c Column[T]) Element() (none T) { return none }

// Len is the number of rows.
func (c Column[T]) Len() int { return c.Raw.Rows }

// IsNull says whether a row has no value.
func (c Column[T]) IsNull(row int) bool { return !c.Raw.IsPresent(row) }

// Text is the text of a row of a column of string or []byte.
func (c Column[T]) Text(row int) string { return c.Raw.Text(row) }

// Bool is the value of a row of a column of bool.
func (c Column[T]) Bool(row int) bool { return c.Raw.Bit(row) }

// Values are the numbers of a column, one a row; what stands for a null means nothing.
func Values[N Number](c Column[N]) []N {
	return unsafe.Slice((*N)(c.Raw.Base()), c.Raw.Rows)
}

// NullableValues are those of a column that may hold nulls.
func NullableValues[N Number](c Column[Null[N]]) []N {
	return unsafe.Slice((*N)(c.Raw.Base()), c.Raw.Rows)
}

// Builder is a whole column that goes out. Write Builder[Null[T]] for one that may hold nulls.
type Builder[T any] struct{ Raw *column.Builder }

// Element is what one of its rows is, for the SDK to find.
func (b Builder[T]) Element() (none T) { return none }

// AppendNull appends a row without a value.
func (b Builder[T]) AppendNull() { b.Raw.AppendNull() }

// AppendText appends to a column of string or []byte.
func (b Builder[T]) AppendText(text string) { b.Raw.AppendText(text) }

// AppendBool appends to a column of bool.
func (b Builder[T]) AppendBool(value bool) { b.Raw.AppendBool(value) }

// Append appends a number.
func Append[N Number](b Builder[N], value N) {
	b.Raw.AppendFixed(unsafe.Pointer(&value), unsafe.Sizeof(value))
}

// AppendSome appends a number to a column that may hold nulls.
func AppendSome[N Number](b Builder[Null[N]], value N) {
	b.Raw.AppendFixed(unsafe.Pointer(&value), unsafe.Sizeof(value))
}
