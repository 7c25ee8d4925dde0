// Package column lays columns out as Arrow's columnar format does: buffers to values, and values to buffers.
package column

import (
	"errors"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// Widening is what is done to a column's numbers before they are read.
type Widening byte

const (
	AsItIs Widening = iota
	Integers
	Floats
)

// Reader is a column that came in.
type Reader struct {
	Rows    int
	Items   *Reader
	valid   []byte
	values  []byte
	offsets []int32
	text    string
}

// width is the number of bytes of a value; 0 for bits and for what has offsets.
func width(format string) int {
	switch format[0] {
	case 'i', 'f':
		return 4
	case 'l', 'g', 't':
		return 8
	}
	return 0
}

func hasOffsets(format string) bool { return format[0] == 'u' || format[0] == 'z' || format[0] == '+' }

// Item is the format of a list's items.
func Item(format string) string { return format[len("+l<") : len(format)-1] }

func short(what string, got, wanted int) error {
	return errors.New(what + " of " + strconv.Itoa(got) + " bytes where " + strconv.Itoa(wanted) + " belong")
}

// Open makes a column of its buffers, and returns those that are left. format is what is read, after widening.
func Open(format string, buffers [][]byte, rows int, widening Widening) (*Reader, [][]byte, error) {
	if len(buffers) < 2 {
		return nil, nil, errors.New("fewer buffers than its type has")
	}
	reader := &Reader{Rows: rows, valid: buffers[0]}
	if bytes := (rows + 7) / 8; len(reader.valid) > 0 && len(reader.valid) < bytes {
		return nil, nil, short("a validity bitmap", len(reader.valid), bytes)
	}
	next, rest := buffers[1], buffers[2:]
	if !hasOffsets(format) {
		bytes := rows * width(format)
		switch {
		case format[0] == 'b':
			bytes = (rows + 7) / 8
		case widening != AsItIs:
			bytes = rows * 4
		}
		if len(next) < bytes {
			return nil, nil, short("values", len(next), bytes)
		}
		if widening != AsItIs {
			next = widen(next, rows, widening)
		}
		reader.values = next
		return reader, rest, nil
	}
	reader.offsets = []int32{0}
	if len(next) > 0 || rows > 0 {
		if len(next) < 4*(rows+1) {
			return nil, nil, short("offsets", len(next), 4*(rows+1))
		}
		reader.offsets = unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(next))), rows+1)
	}
	end := int(reader.offsets[rows])
	if format[0] == '+' {
		items, rest, err := Open(Item(format), rest, end, widening)
		reader.Items = items
		return reader, rest, err
	}
	if len(rest) < 1 || len(rest[0]) < end {
		return nil, nil, errors.New("offsets beyond its values")
	}
	reader.values, rest = rest[0], rest[1:]
	reader.text = unsafe.String(unsafe.SliceData(reader.values), len(reader.values))
	if format[0] == 'u' && !utf8.ValidString(reader.text) {
		return nil, nil, errors.New("text that is not UTF-8")
	}
	return reader, rest, nil
}

func widen(narrow []byte, rows int, widening Widening) []byte {
	wide := make([]byte, rows*8)
	from, to := unsafe.Pointer(unsafe.SliceData(narrow)), unsafe.Pointer(unsafe.SliceData(wide))
	for row := range rows {
		if widening == Integers {
			*(*int64)(unsafe.Add(to, row*8)) = int64(*(*int32)(unsafe.Add(from, row*4)))
		} else {
			*(*float64)(unsafe.Add(to, row*8)) = float64(*(*float32)(unsafe.Add(from, row*4)))
		}
	}
	return wide
}

// IsPresent says whether a row has a value.
func (r *Reader) IsPresent(row int) bool {
	return len(r.valid) == 0 || r.valid[row/8]>>(row%8)&1 == 1
}

// HasNulls says whether some row may have none.
func (r *Reader) HasNulls() bool { return len(r.valid) > 0 }

// Base is where numbers begin.
func (r *Reader) Base() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(r.values)) }

// Bit is a boolean.
func (r *Reader) Bit(row int) bool { return r.values[row/8]>>(row%8)&1 == 1 }

// Range is where a row's text, bytes or items begin and end.
func (r *Reader) Range(row int) (int, int) { return int(r.offsets[row]), int(r.offsets[row+1]) }

// Text shares the memory of the batch, which nobody writes to.
func (r *Reader) Text(row int) string { return r.text[r.offsets[row]:r.offsets[row+1]] }

// Bytes are the author's to write to.
func (r *Reader) Bytes(row int) []byte {
	from, to := r.Range(row)
	return r.values[from:to:to]
}
