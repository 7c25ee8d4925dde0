package column

import (
	"encoding/binary"
	"unsafe"
)

// Builder is a column being written.
type Builder struct {
	Rows    int
	Items   *Builder
	format  string
	valid   []byte // from the first null on
	values  []byte
	offsets []int32
}

// NewBuilder has room for rows rows.
func NewBuilder(format string, rows int) *Builder {
	builder := &Builder{format: format}
	switch {
	case hasOffsets(format):
		builder.offsets = append(make([]int32, 0, rows+1), 0)
		if format[0] == '+' {
			builder.Items = NewBuilder(Item(format), rows)
		} else {
			builder.values = make([]byte, 0, rows*8)
		}
	case format[0] == 'b':
		builder.values = make([]byte, 0, rows/8+1)
	default:
		builder.values = make([]byte, 0, rows*width(format))
	}
	return builder
}

func appendBit(bits []byte, row int, bit bool) []byte {
	if row%8 == 0 {
		bits = append(bits, 0)
	}
	if bit {
		bits[row/8] |= 1 << (row % 8)
	}
	return bits
}

func (b *Builder) next(present bool) {
	if b.valid != nil || !present {
		if b.valid == nil {
			b.valid = make([]byte, 0, cap(b.offsets)/8+8)
			for row := range b.Rows {
				b.valid = appendBit(b.valid, row, true)
			}
		}
		b.valid = appendBit(b.valid, b.Rows, present)
	}
	b.Rows++
}

// AppendNull appends a row without a value.
func (b *Builder) AppendNull() {
	switch bytes := width(b.format); {
	case b.offsets != nil:
		b.offsets = append(b.offsets, b.offsets[len(b.offsets)-1])
	case b.format[0] == 'b':
		b.values = appendBit(b.values, b.Rows, false)
	default:
		for range bytes {
			b.values = append(b.values, 0)
		}
	}
	b.next(false)
}

// AppendFixed appends a number of size bytes, 4 or 8.
func (b *Builder) AppendFixed(from unsafe.Pointer, size uintptr) {
	// Little-endian, as WebAssembly has it too.
	if size == 8 {
		b.values = binary.LittleEndian.AppendUint64(b.values, *(*uint64)(from))
	} else {
		b.values = binary.LittleEndian.AppendUint32(b.values, *(*uint32)(from))
	}
	b.present()
}

// present notes a row with a value.
func (b *Builder) present() {
	if b.valid != nil {
		b.next(true)
	} else {
		b.Rows++
	}
}

// AppendBool appends a boolean.
func (b *Builder) AppendBool(value bool) {
	b.values = appendBit(b.values, b.Rows, value)
	b.present()
}

// AppendText appends a text, or bytes.
func (b *Builder) AppendText(text string) {
	b.values = append(b.values, text...)
	b.offsets = append(b.offsets, int32(len(b.values)))
	b.present()
}

// AppendBytes appends bytes.
func (b *Builder) AppendBytes(bytes []byte) {
	b.AppendText(unsafe.String(unsafe.SliceData(bytes), len(bytes)))
}

// EndList ends the list of a row, whose items were appended to Items.
func (b *Builder) EndList() {
	b.offsets = append(b.offsets, int32(b.Items.Rows))
	b.next(true)
}

// Truncate takes the rows from rows on away again.
func (b *Builder) Truncate(rows int) {
	switch {
	case b.offsets != nil:
		b.offsets = b.offsets[:rows+1]
		if b.Items != nil {
			b.Items.Truncate(int(b.offsets[rows]))
		} else {
			b.values = b.values[:b.offsets[rows]]
		}
	case b.format[0] == 'b':
		b.values = truncateBits(b.values, rows)
	default:
		b.values = b.values[:rows*width(b.format)]
	}
	if b.valid != nil {
		b.valid = truncateBits(b.valid, rows)
	}
	b.Rows = rows
}

func truncateBits(bits []byte, rows int) []byte {
	bits = bits[:(rows+7)/8]
	if rows%8 != 0 {
		bits[rows/8] &= 1<<(rows%8) - 1
	}
	return bits
}

// Buffers are those of the column, as the contract orders them.
func (b *Builder) Buffers() [][]byte {
	if b.offsets == nil {
		return [][]byte{b.valid, b.values}
	}
	offsets := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b.offsets))), 4*len(b.offsets))
	if b.Items != nil {
		return append([][]byte{b.valid, offsets}, b.Items.Buffers()...)
	}
	return [][]byte{b.valid, offsets, b.values}
}
