// Package msgpack writes what is no column of its own as MessagePack: keys sorted, all in the shortest form, so that equal
// values are equal bytes.
package msgpack

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
)

var truncated = errors.New("it ends too early")

// Append writes a value behind bytes.
func Append(bytes []byte, value reflect.Value) []byte {
	switch value.Kind() {
	case reflect.Bool:
		if value.Bool() {
			return append(bytes, 0xc3)
		}
		return append(bytes, 0xc2)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendInt(bytes, value.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return appendUint(bytes, value.Uint())
	case reflect.Float32, reflect.Float64:
		return binary.BigEndian.AppendUint64(append(bytes, 0xcb), math.Float64bits(value.Float()))
	case reflect.String:
		return append(appendLength(bytes, value.Len(), 0xa0, 32, 0xd9, 0xda), value.String()...)
	case reflect.Slice, reflect.Array:
		if value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Uint8 {
			return append(appendLength(bytes, value.Len(), 0, 0, 0xc4, 0xc5), value.Bytes()...)
		}
		bytes = appendLength(bytes, value.Len(), 0x90, 16, 0, 0xdc)
		for i := range value.Len() {
			bytes = Append(bytes, value.Index(i))
		}
		return bytes
	case reflect.Map:
		return appendMap(bytes, value)
	case reflect.Struct:
		fields := structFields(value.Type())
		bytes = appendLength(bytes, len(fields), 0x80, 16, 0, 0xde)
		for _, field := range fields {
			bytes = Append(bytes, reflect.ValueOf(field.Name))
			bytes = Append(bytes, value.FieldByIndex(field.Index))
		}
		return bytes
	case reflect.Pointer:
		if value.IsNil() {
			return append(bytes, 0xc0)
		}
		return Append(bytes, value.Elem())
	}
	panic(fmt.Sprintf("a state cannot hold a %s", value.Type()))
}

// structFields are the exported fields, by their names.
func structFields(of reflect.Type) []reflect.StructField {
	var fields []reflect.StructField
	for _, field := range reflect.VisibleFields(of) {
		if field.IsExported() && !field.Anonymous {
			fields = append(fields, field)
		}
	}
	slices.SortFunc(fields, func(a, b reflect.StructField) int { return cmp.Compare(a.Name, b.Name) })
	return fields
}

func appendMap(bytes []byte, value reflect.Value) []byte {
	keys := value.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		switch {
		case a.Kind() == reflect.String:
			return cmp.Compare(a.String(), b.String())
		case a.CanInt():
			return cmp.Compare(a.Int(), b.Int())
		case a.CanUint():
			return cmp.Compare(a.Uint(), b.Uint())
		}
		panic(fmt.Sprintf("a state's map cannot have keys of %s", a.Type()))
	})
	bytes = appendLength(bytes, len(keys), 0x80, 16, 0, 0xde)
	for _, key := range keys {
		bytes = Append(Append(bytes, key), value.MapIndex(key))
	}
	return bytes
}

// appendLength writes a length: in one byte with fixed below bound, else behind one8 (0: there is none), or one16 and the next.
func appendLength(bytes []byte, length int, fixed byte, bound int, one8, one16 byte) []byte {
	switch {
	case length < bound:
		return append(bytes, fixed|byte(length))
	case length < 1<<8 && one8 != 0:
		return append(bytes, one8, byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(bytes, one16), uint16(length))
	}
	return binary.BigEndian.AppendUint32(append(bytes, one16+1), uint32(length))
}

func appendUint(bytes []byte, value uint64) []byte {
	switch {
	case value < 1<<7:
		return append(bytes, byte(value))
	case value < 1<<8:
		return append(bytes, 0xcc, byte(value))
	case value < 1<<16:
		return binary.BigEndian.AppendUint16(append(bytes, 0xcd), uint16(value))
	case value < 1<<32:
		return binary.BigEndian.AppendUint32(append(bytes, 0xce), uint32(value))
	}
	return binary.BigEndian.AppendUint64(append(bytes, 0xcf), value)
}

func appendInt(bytes []byte, value int64) []byte {
	switch {
	case value >= 0:
		return appendUint(bytes, uint64(value))
	case value >= -32:
		return append(bytes, byte(value))
	case value >= math.MinInt8:
		return append(bytes, 0xd0, byte(value))
	case value >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(bytes, 0xd1), uint16(value))
	case value >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(bytes, 0xd2), uint32(value))
	}
	return binary.BigEndian.AppendUint64(append(bytes, 0xd3), uint64(value))
}

// Read reads a value, and returns what is behind it.
func Read(bytes []byte, into reflect.Value) ([]byte, error) {
	if len(bytes) == 0 {
		return nil, truncated
	}
	head := bytes[0]
	wrong := fmt.Errorf("0x%02x where %s belongs", head, into.Type())
	switch into.Kind() {
	case reflect.Bool:
		into.SetBool(head == 0xc3)
		if head != 0xc2 && head != 0xc3 {
			return nil, wrong
		}
		return bytes[1:], nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		value, rest, ok := readInt(bytes)
		if !ok || into.OverflowInt(value) {
			return nil, wrong
		}
		into.SetInt(value)
		return rest, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		value, rest, ok := readInt(bytes)
		if !ok || head >= 0xd0 || into.OverflowUint(uint64(value)) {
			return nil, wrong
		}
		into.SetUint(uint64(value))
		return rest, nil
	case reflect.Float32, reflect.Float64:
		if head != 0xcb || len(bytes) < 9 {
			return nil, wrong
		}
		into.SetFloat(math.Float64frombits(binary.BigEndian.Uint64(bytes[1:])))
		return bytes[9:], nil
	case reflect.String:
		text, rest, ok := readBytes(bytes, 0xa0, 32, 0xd9, 0xda)
		if !ok {
			return nil, wrong
		}
		into.SetString(string(text))
		return rest, nil
	case reflect.Slice, reflect.Array:
		return readItems(bytes, into, wrong)
	case reflect.Map:
		return readMap(bytes, into, wrong)
	case reflect.Struct:
		return readStruct(bytes, into, wrong)
	case reflect.Pointer:
		if head == 0xc0 {
			into.SetZero()
			return bytes[1:], nil
		}
		into.Set(reflect.New(into.Type().Elem()))
		return Read(bytes, into.Elem())
	}
	return nil, wrong
}

func readInt(bytes []byte) (int64, []byte, bool) {
	head := bytes[0]
	if head < 0x80 || head >= 0xe0 {
		return int64(int8(head)), bytes[1:], true
	}
	if head < 0xcc || head > 0xd3 {
		return 0, nil, false
	}
	size := 1 << ((head - 0xcc) % 4)
	if len(bytes) <= size {
		return 0, nil, false
	}
	var number uint64
	for _, one := range bytes[1 : 1+size] {
		number = number<<8 | uint64(one)
	}
	if head >= 0xd0 {
		shift := 64 - 8*size
		return int64(number) << shift >> shift, bytes[1+size:], true
	}
	return int64(number), bytes[1+size:], true
}

func readLength(bytes []byte, fixed byte, bound int, one8, one16 byte) (int, []byte, bool) {
	head, rest := bytes[0], bytes[1:]
	switch {
	case bound > 0 && head >= fixed && int(head) < int(fixed)+bound:
		return int(head - fixed), rest, true
	case one8 != 0 && head == one8 && len(rest) >= 1:
		return int(rest[0]), rest[1:], true
	case head == one16 && len(rest) >= 2:
		return int(binary.BigEndian.Uint16(rest)), rest[2:], true
	case head == one16+1 && len(rest) >= 4:
		return int(binary.BigEndian.Uint32(rest)), rest[4:], true
	}
	return 0, nil, false
}

func readBytes(bytes []byte, fixed byte, bound int, one8, one16 byte) ([]byte, []byte, bool) {
	length, rest, ok := readLength(bytes, fixed, bound, one8, one16)
	if !ok || len(rest) < length {
		return nil, nil, false
	}
	return rest[:length], rest[length:], true
}

func readItems(bytes []byte, into reflect.Value, wrong error) ([]byte, error) {
	slice := into.Kind() == reflect.Slice
	if slice && into.Type().Elem().Kind() == reflect.Uint8 {
		content, rest, ok := readBytes(bytes, 0, 0, 0xc4, 0xc5)
		if !ok {
			return nil, wrong
		}
		into.SetBytes(slices.Clone(content))
		return rest, nil
	}
	length, rest, ok := readLength(bytes, 0x90, 16, 0, 0xdc)
	if !ok || length > len(rest) || !slice && length != into.Len() {
		return nil, wrong
	}
	if slice {
		into.Set(reflect.MakeSlice(into.Type(), length, length))
	}
	for i := range length {
		var err error
		if rest, err = Read(rest, into.Index(i)); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func readMap(bytes []byte, into reflect.Value, wrong error) ([]byte, error) {
	length, rest, ok := readLength(bytes, 0x80, 16, 0, 0xde)
	if !ok || length > len(rest) {
		return nil, wrong
	}
	into.Set(reflect.MakeMapWithSize(into.Type(), length))
	for range length {
		key, value := reflect.New(into.Type().Key()).Elem(), reflect.New(into.Type().Elem()).Elem()
		var err error
		if rest, err = Read(rest, key); err == nil {
			rest, err = Read(rest, value)
		}
		if err != nil {
			return nil, err
		}
		into.SetMapIndex(key, value)
	}
	return rest, nil
}

func readStruct(bytes []byte, into reflect.Value, wrong error) ([]byte, error) {
	length, rest, ok := readLength(bytes, 0x80, 16, 0, 0xde)
	if !ok {
		return nil, wrong
	}
	for range length {
		if len(rest) == 0 {
			return nil, truncated
		}
		name, behind, ok := readBytes(rest, 0xa0, 32, 0xd9, 0xda)
		field := into.FieldByName(string(name))
		if !ok || !field.IsValid() {
			return nil, fmt.Errorf("%s has no field `%s`", into.Type(), name)
		}
		var err error
		if rest, err = Read(behind, field); err != nil {
			return nil, err
		}
	}
	return rest, nil
}
