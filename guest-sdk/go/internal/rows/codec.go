// Package rows reads structs from columns and writes them back: which columns a struct has is found out once, in bind.
package rows

import (
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"millrace/internal/column"
	"millrace/internal/msgpack"
)

// codec is how one Go type lies in a column.
type codec struct {
	format   string
	nullable bool
	// read reads a row into the value at into; false where there is a null that the type cannot hold.
	read func(from *column.Reader, row int, into unsafe.Pointer) bool
	// write appends the value at from.
	write func(to *column.Builder, from unsafe.Pointer)
}

func fixed[T any](format string) codec {
	size := unsafe.Sizeof(*new(T))
	return codec{
		format: format,
		read: func(from *column.Reader, row int, into unsafe.Pointer) bool {
			*(*T)(into) = *(*T)(unsafe.Add(from.Base(), uintptr(row)*size))
			return from.IsPresent(row)
		},
		write: func(to *column.Builder, from unsafe.Pointer) { to.AppendFixed(from, size) },
	}
}

var text = codec{
	format: "u",
	read: func(from *column.Reader, row int, into unsafe.Pointer) bool {
		*(*string)(into) = from.Text(row)
		return from.IsPresent(row)
	},
	write: func(to *column.Builder, from unsafe.Pointer) { to.AppendText(*(*string)(from)) },
}

var bytes = codec{
	format: "z",
	read: func(from *column.Reader, row int, into unsafe.Pointer) bool {
		*(*[]byte)(into) = from.Bytes(row)
		return from.IsPresent(row)
	},
	write: func(to *column.Builder, from unsafe.Pointer) { to.AppendBytes(*(*[]byte)(from)) },
}

// copied are bytes of a state: its author writes to them, and may have to have them back as they were.
var copied = codec{
	format: "z",
	read: func(from *column.Reader, row int, into unsafe.Pointer) bool {
		*(*[]byte)(into) = slices.Clone(from.Bytes(row))
		return from.IsPresent(row)
	},
	write: bytes.write,
}

var boolean = codec{
	format: "b",
	read: func(from *column.Reader, row int, into unsafe.Pointer) bool {
		*(*bool)(into) = from.Bit(row)
		return from.IsPresent(row)
	},
	write: func(to *column.Builder, from unsafe.Pointer) { to.AppendBool(*(*bool)(from)) },
}

// of finds the codec of a type. In a state, what is no scalar is packed.
func of(t reflect.Type, state bool) (codec, error) {
	switch t.Kind() {
	case reflect.Bool:
		return boolean, nil
	case reflect.Int32:
		return fixed[int32]("i"), nil
	case reflect.Int64:
		if t.PkgPath() == "millrace" && t.Name() == "Timestamp" {
			return fixed[int64]("tsu:UTC"), nil
		}
		return fixed[int64]("l"), nil
	case reflect.Float32:
		return fixed[float32]("f"), nil
	case reflect.Float64:
		return fixed[float64]("g"), nil
	case reflect.String:
		return text, nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && state {
			return copied, nil
		}
		if t.Elem().Kind() == reflect.Uint8 {
			return bytes, nil
		}
		if !state {
			return list(t)
		}
	case reflect.Pointer:
		return pointer(t, state)
	case reflect.Struct:
		if value, ok := nullValue(t); ok {
			return null(t, value, state)
		}
	}
	if state {
		return packed(t), nil
	}
	return codec{}, fmt.Errorf("%s is no column: use bool, int32, int64, float32, float64, millrace.Timestamp, string, []byte, "+
		"a slice of these, and a pointer or millrace.Null where there may be nulls", t)
}

// nullValue is T of millrace.Null[T].
func nullValue(t reflect.Type) (reflect.StructField, bool) {
	if t.PkgPath() != "millrace" || len(t.Name()) < 5 || t.Name()[:5] != "Null[" {
		return reflect.StructField{}, false
	}
	return t.Field(0), true
}

func null(t reflect.Type, value reflect.StructField, state bool) (codec, error) {
	inner, err := of(value.Type, state)
	valid, _ := t.FieldByName("Valid")
	return codec{
		format:   inner.format,
		nullable: true,
		read: func(from *column.Reader, row int, into unsafe.Pointer) bool {
			if !from.IsPresent(row) {
				return true
			}
			*(*bool)(unsafe.Add(into, valid.Offset)) = true
			return inner.read(from, row, into)
		},
		write: func(to *column.Builder, from unsafe.Pointer) {
			if *(*bool)(unsafe.Add(from, valid.Offset)) {
				inner.write(to, from)
			} else {
				to.AppendNull()
			}
		},
	}, err
}

func pointer(t reflect.Type, state bool) (codec, error) {
	inner, err := of(t.Elem(), state)
	return codec{
		format:   inner.format,
		nullable: true,
		read: func(from *column.Reader, row int, into unsafe.Pointer) bool {
			if !from.IsPresent(row) {
				*(*unsafe.Pointer)(into) = nil
				return true
			}
			fresh := reflect.New(t.Elem()).UnsafePointer()
			*(*unsafe.Pointer)(into) = fresh
			return inner.read(from, row, fresh)
		},
		write: func(to *column.Builder, from unsafe.Pointer) {
			if value := *(*unsafe.Pointer)(from); value != nil {
				inner.write(to, value)
			} else {
				to.AppendNull()
			}
		},
	}, err
}

func list(t reflect.Type) (codec, error) {
	item, err := of(t.Elem(), false)
	size := t.Elem().Size()
	return codec{
		format: "+l<" + item.format + ">",
		read: func(from *column.Reader, row int, into unsafe.Pointer) bool {
			start, end := from.Range(row)
			slice := reflect.MakeSlice(t, end-start, end-start)
			reflect.NewAt(t, into).Elem().Set(slice)
			ok := from.IsPresent(row)
			for i := range end - start {
				ok = item.read(from.Items, start+i, unsafe.Add(slice.UnsafePointer(), uintptr(i)*size)) && ok
			}
			return ok
		},
		write: func(to *column.Builder, from unsafe.Pointer) {
			slice := reflect.NewAt(t, from).Elem()
			for i := range slice.Len() {
				item.write(to.Items, unsafe.Add(slice.UnsafePointer(), uintptr(i)*size))
			}
			to.EndList()
		},
	}, err
}

func packed(t reflect.Type) codec {
	return codec{
		format: "z",
		read: func(from *column.Reader, row int, into unsafe.Pointer) bool {
			if !from.IsPresent(row) {
				return false
			}
			if rest, err := msgpack.Read(from.Bytes(row), reflect.NewAt(t, into).Elem()); err != nil || len(rest) > 0 {
				panic(fmt.Sprintf("a state's column holds something else than %s: %v", t, err))
			}
			return true
		},
		write: func(to *column.Builder, from unsafe.Pointer) {
			to.AppendBytes(msgpack.Append(nil, reflect.NewAt(t, from).Elem()))
		},
	}
}
