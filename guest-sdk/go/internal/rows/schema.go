package rows

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unsafe"

	"millrace/internal/column"
	"millrace/internal/wire"
)

// Schema is the columns of a struct.
type Schema struct {
	Fields []wire.Field
	codecs []codec
	places []uintptr
	// reference says that a copy of the struct shares memory with it.
	reference bool
}

// Of finds the columns of a struct; state packs what is no scalar. A type that is no struct of columns is the author's to
// change, and found in every test.
func Of(t reflect.Type, state bool) *Schema {
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("%s is no struct: its fields would be the columns", t))
	}
	schema := &Schema{}
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.IsExported() {
			continue
		}
		codec, err := of(field.Type, state)
		if err != nil {
			panic(fmt.Sprintf("%s.%s: %v", t, field.Name, err))
		}
		schema.add(wire.Field{Name: Name(field), Format: codec.format, Nullable: codec.nullable}, codec, field.Offset)
		switch field.Type.Kind() {
		case reflect.Slice, reflect.Map, reflect.Pointer, reflect.Struct, reflect.Array:
			_, isNull := nullValue(field.Type)
			schema.reference = schema.reference || !isNull
		}
	}
	return schema
}

// OfColumns finds those of a struct of millrace.Column or millrace.Builder, whose one field is where the column goes.
func OfColumns(t reflect.Type, element func(wrapper reflect.Type) reflect.Type) *Schema {
	schema := &Schema{}
	for i := range t.NumField() {
		field := t.Field(i)
		codec, err := of(element(field.Type), false)
		if err != nil {
			panic(fmt.Sprintf("%s.%s: %v", t, field.Name, err))
		}
		schema.add(wire.Field{Name: Name(field), Format: codec.format, Nullable: codec.nullable}, codec, field.Offset)
	}
	return schema
}

func (s *Schema) add(field wire.Field, codec codec, place uintptr) {
	s.Fields = append(s.Fields, field)
	s.codecs = append(s.codecs, codec)
	s.places = append(s.places, place)
}

// Names are those of the columns.
func (s *Schema) Names() []string {
	names := make([]string, len(s.Fields))
	for i, field := range s.Fields {
		names[i] = field.Name
	}
	return names
}

// SharesMemory says that a copy of the struct is no copy of all that is in it.
func (s *Schema) SharesMemory() bool { return s.reference }

// Place is where column i is in the struct at base.
func (s *Schema) Place(base unsafe.Pointer, i int) unsafe.Pointer {
	return unsafe.Add(base, s.places[i])
}

// Name is what a field's column, or option, is called: what its tag `millrace:"name"` says, or its own name in snake case: `UserIDs` is
// `user_ids`.
func Name(field reflect.StructField) string {
	if name, _, _ := strings.Cut(field.Tag.Get("millrace"), ","); name != "" {
		return name
	}
	letters := []rune(field.Name)
	var name strings.Builder
	for i, letter := range letters {
		if unicode.IsUpper(letter) && i > 0 &&
			(unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1]) && string(letters[i+1:]) != "s") {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToLower(letter))
	}
	return name.String()
}

// Open makes a batch's columns ready to read. widenings may be nil.
func (s *Schema) Open(batch wire.Batch, widenings []column.Widening) ([]*column.Reader, error) {
	if len(batch.Columns) != len(s.Fields) {
		return nil, fmt.Errorf("%d columns where %d were agreed on", len(batch.Columns), len(s.Fields))
	}
	readers := make([]*column.Reader, len(s.Fields))
	for i, field := range s.Fields {
		widening := column.AsItIs
		if widenings != nil {
			widening = widenings[i]
		}
		reader, _, err := column.Open(field.Format, batch.Columns[i], batch.Rows, widening)
		if err != nil {
			return nil, fmt.Errorf("column `%s`: %w", field.Name, err)
		}
		readers[i] = reader
	}
	return readers, nil
}

// Read reads a row into the zero struct at into. The error is the reason to refuse the row.
func (s *Schema) Read(from []*column.Reader, row int, into unsafe.Pointer) error {
	for i := range s.codecs {
		if !s.codecs[i].read(from[i], row, unsafe.Add(into, s.places[i])) {
			return errors.New("`" + s.Fields[i].Name + "` is null, or holds a null")
		}
	}
	return nil
}

// Builders are empty columns with room for rows rows.
func (s *Schema) Builders(rows int) []*column.Builder {
	builders := make([]*column.Builder, len(s.Fields))
	for i, field := range s.Fields {
		builders[i] = column.NewBuilder(field.Format, rows)
	}
	return builders
}

// Write appends the struct at from.
func (s *Schema) Write(to []*column.Builder, from unsafe.Pointer) {
	for i := range s.codecs {
		s.codecs[i].write(to[i], unsafe.Add(from, s.places[i]))
	}
}

// Finish is what was written.
func Finish(builders []*column.Builder, rows int) wire.Batch {
	batch := wire.Batch{Rows: rows, Columns: make([][][]byte, len(builders))}
	for i, builder := range builders {
		batch.Columns[i] = builder.Buffers()
	}
	return batch
}
