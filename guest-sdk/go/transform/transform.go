// Package transform registers transforms: functions from rows to rows, or from columns to columns.
//
// Each is registered in init, under the name that a project calls it by; the component exports all of them.
package transform

import (
	"errors"
	"reflect"
	"unsafe"

	"millrace"
	"millrace/internal/column"
	"millrace/internal/options"
	"millrace/internal/rows"
	"millrace/internal/wire"
)

type signature struct {
	input  []string
	output []wire.Field
}

type output struct {
	batch    wire.Batch
	origin   []uint32 // nil: one for one
	rejected []wire.Rejection
}

type apply func(input wire.Batch) (output, error)

type entry struct {
	name string
	bind func(input []wire.Field, json string) (signature, apply, error)
}

var entries []entry

// Row registers a function of one row: it gives one row, drops it with the error millrace.Drop, or refuses it with any other.
// I and O are structs whose exported fields are the columns, P one of the options.
func Row[I, O, P any](name string, function func(row I, options *P) (O, error)) {
	register(name, func(row I, options *P, emit func(O)) error {
		out, err := function(row, options)
		if err == nil {
			emit(out)
		}
		return err
	})
}

// FlatMap registers a function that gives any number of rows for one, by emit. Where it refuses the row, those go again.
func FlatMap[I, O, P any](name string, function func(row I, options *P, emit func(O)) error) {
	register(name, function)
}

func register[I, O, P any](name string, function func(row I, options *P, emit func(O)) error) {
	entries = append(entries, entry{name, func(given []wire.Field, json string) (signature, apply, error) {
		in, out := rows.Of(reflect.TypeFor[I](), false), rows.Of(reflect.TypeFor[O](), false)
		parsed := new(P)
		widenings, misfits := in.Fit(given, false)
		if err := rows.Joined(misfits, options.Read(json, parsed)); err != nil {
			return signature{}, nil, err
		}
		apply := func(batch wire.Batch) (output, error) {
			readers, err := in.Open(batch, widenings)
			if err != nil {
				return output{}, err
			}
			sink := sink{builders: out.Builders(batch.Rows)}
			row, made := new(I), new(O)
			emit := func(one O) {
				*made = one
				sink.push()
				out.Write(sink.builders, unsafe.Pointer(made))
			}
			for sink.row = range batch.Rows {
				*row = *new(I)
				err := in.Read(readers, sink.row, unsafe.Pointer(row))
				before := sink.rows
				if err == nil {
					err = function(*row, parsed, emit)
				}
				if err != nil {
					sink.undo(before, err)
				}
			}
			return sink.finish(batch.Rows), nil
		}
		return signature{in.Names(), out.Fields}, apply, nil
	}})
}

// sink collects rows. Origins are kept from the first row that is not one for one.
type sink struct {
	builders  []*column.Builder
	row, rows int
	origin    []uint32
	rejected  []wire.Rejection
}

func (s *sink) push() {
	if s.origin == nil && s.row != s.rows {
		s.origin = identity(s.rows)
	}
	if s.origin != nil {
		s.origin = append(s.origin, uint32(s.row))
	}
	s.rows++
}

func identity(rows int) []uint32 {
	origin := make([]uint32, rows, rows+64)
	for i := range origin {
		origin[i] = uint32(i)
	}
	return origin
}

func (s *sink) undo(rows int, err error) {
	if s.rows != rows {
		for _, builder := range s.builders {
			builder.Truncate(rows)
		}
		s.rows = rows
		if s.origin != nil {
			s.origin = s.origin[:rows]
		}
	}
	if !errors.Is(err, millrace.Drop) {
		s.rejected = append(s.rejected, wire.Rejection{Row: uint32(s.row), Reason: err.Error()})
	}
}

func (s *sink) finish(rows int) output {
	if s.origin == nil && s.rows != rows {
		s.origin = identity(s.rows)
	}
	return output{rowsOf(s.builders, s.rows), s.origin, s.rejected}
}

func rowsOf(builders []*column.Builder, count int) wire.Batch { return rows.Finish(builders, count) }

// Columns registers a function of whole columns: I is a struct of millrace.Column, O one of millrace.Builder, and a row comes
// out for each that went in. An error is the call's.
func Columns[I, O, P any](name string, function func(in *I, out *O, rows int, options *P) error) {
	entries = append(entries, entry{name, func(given []wire.Field, json string) (signature, apply, error) {
		in, out := rows.OfColumns(reflect.TypeFor[I](), element), rows.OfColumns(reflect.TypeFor[O](), element)
		parsed := new(P)
		widenings, misfits := in.Fit(given, true)
		if err := rows.Joined(misfits, options.Read(json, parsed)); err != nil {
			return signature{}, nil, err
		}
		apply := func(batch wire.Batch) (output, error) {
			readers, err := in.Open(batch, widenings)
			if err != nil {
				return output{}, err
			}
			builders := out.Builders(batch.Rows)
			from, to := new(I), new(O)
			for i, reader := range readers {
				*(**column.Reader)(in.Place(unsafe.Pointer(from), i)) = reader
			}
			for i, builder := range builders {
				*(**column.Builder)(out.Place(unsafe.Pointer(to), i)) = builder
			}
			if err := function(from, to, batch.Rows, parsed); err != nil {
				return output{}, err
			}
			for i, builder := range builders {
				if builder.Rows != batch.Rows {
					return output{}, errors.New("column `" + out.Fields[i].Name + "` has not a row for each that came in")
				}
			}
			return output{batch: rows.Finish(builders, batch.Rows)}, nil
		}
		return signature{in.Names(), out.Fields}, apply, nil
	}})
}

// element is T of millrace.Column[T] and millrace.Builder[T].
func element(wrapper reflect.Type) reflect.Type {
	method, ok := wrapper.MethodByName("Element")
	if !ok {
		panic(wrapper.String() + " is no millrace.Column or millrace.Builder")
	}
	return method.Type.Out(0)
}
