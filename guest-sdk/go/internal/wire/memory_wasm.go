package wire

import (
	"encoding/binary"
	"runtime/debug"
	"unsafe"
)

// A batch leaves much behind that lives no longer than its call: collecting less often costs memory that is there anyway, up to
// what is sure to stay below the 64 MiB that a UDF has unless its project says otherwise.
func init() {
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(40 << 20)
}

//go:wasmimport millrace:feature/log@0.1.0 log
func hostLog(level uint32, message unsafe.Pointer, length uint32)

// Log writes a line to the host's log.
func Log(level uint32, message string) {
	hostLog(level, unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}

// What the host knows by its address alone, kept from the collector until the call is over: its arguments, and the result.
// Arguments are never written over: texts of the batch may be kept as any Go string.
var kept [][]byte

// Forget ends a call.
func Forget() {
	clear(kept)
	kept = kept[:0]
}

func keep(bytes []byte) uint32 {
	if len(bytes) == 0 {
		return 8
	}
	kept = append(kept, bytes)
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(bytes))))
}

// aligned is fresh memory for anything.
func aligned(size int) []byte {
	words := make([]uint64, (size+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), size)
}

//go:wasmexport cabi_realloc
func realloc(old, oldSize, _, size uint32) uint32 {
	if size == 0 {
		return 8
	}
	fresh := aligned(int(size))
	if oldSize > 0 {
		copy(fresh, At(old, oldSize))
	}
	return keep(fresh)
}

// At is what lies at an address.
func At(address, size uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(address))), size)
}

// String is a text at an address.
func String(address, size uint32) string {
	return unsafe.String((*byte)(unsafe.Pointer(uintptr(address))), size)
}

func pair(at []byte) (uint32, uint32) {
	return binary.LittleEndian.Uint32(at), binary.LittleEndian.Uint32(at[4:])
}

// Fields reads list<field>.
func Fields(address, count uint32) []Field {
	fields := make([]Field, count)
	all := At(address, count*20)
	for i := range fields {
		at := all[i*20:]
		fields[i] = Field{String(pair(at)), String(pair(at[8:])), at[16] != 0}
	}
	return fields
}

// ReadBatch reads a batch, whose buffers stay where they are.
func ReadBatch(rows, address, count uint32) Batch {
	batch := Batch{Rows: int(rows), Columns: make([][][]byte, count)}
	all := At(address, count*8)
	for i := range batch.Columns {
		address, count := pair(all[i*8:])
		column, buffers := make([][]byte, count), At(address, count*8)
		for j := range column {
			column[j] = At(pair(buffers[j*8:]))
		}
		batch.Columns[i] = column
	}
	return batch
}

// Area is a record being laid out.
type Area struct{ bytes []byte }

// NewArea is a record of size bytes, all zero.
func NewArea(size int) Area { return Area{aligned(size)} }

// Address hands it to the host.
func (a Area) Address() uint32 { return keep(a.bytes) }

// Byte lays a byte at offset.
func (a Area) Byte(offset int, value byte) { a.bytes[offset] = value }

// Word lays a u32 at offset.
func (a Area) Word(offset int, value uint32) { binary.LittleEndian.PutUint32(a.bytes[offset:], value) }

func (a Area) list(offset int, address uint32, count int) {
	a.Word(offset, address)
	a.Word(offset+4, uint32(count))
}

// Bytes lays a list<u8> at offset.
func (a Area) Bytes(offset int, bytes []byte) { a.list(offset, keep(bytes), len(bytes)) }

// Text lays a string at offset.
func (a Area) Text(offset int, text string) {
	a.Bytes(offset, unsafe.Slice(unsafe.StringData(text), len(text)))
}

// Texts lays a list<string> at offset.
func (a Area) Texts(offset int, texts []string) {
	list := NewArea(8 * len(texts))
	for i, text := range texts {
		list.Text(8*i, text)
	}
	a.list(offset, list.Address(), len(texts))
}

// Fields lays a list<field> at offset.
func (a Area) Fields(offset int, fields []Field) {
	list := NewArea(20 * len(fields))
	for i, field := range fields {
		list.Text(20*i, field.Name)
		list.Text(20*i+8, field.Format)
		if field.Nullable {
			list.Byte(20*i+16, 1)
		}
	}
	a.list(offset, list.Address(), len(fields))
}

// Batch lays a batch at offset.
func (a Area) Batch(offset int, batch Batch) {
	columns := NewArea(8 * len(batch.Columns))
	for i, column := range batch.Columns {
		buffers := NewArea(8 * len(column))
		for j, buffer := range column {
			buffers.Bytes(8*j, buffer)
		}
		columns.list(8*i, buffers.Address(), len(column))
	}
	a.Word(offset, uint32(batch.Rows))
	a.list(offset+4, columns.Address(), len(batch.Columns))
}

// Rejections lays a list<rejection> at offset.
func (a Area) Rejections(offset int, rejected []Rejection) {
	list := NewArea(12 * len(rejected))
	for i, one := range rejected {
		list.Word(12*i, one.Row)
		list.Text(12*i+4, one.Reason)
	}
	a.list(offset, list.Address(), len(rejected))
}

// Result is what a call returns: what lay puts into size bytes from offset 4 on, or the error.
func Result(size int, lay func(area Area) error) uint32 {
	area := NewArea(4 + max(size, 8))
	if err := guarded(func() error { return lay(area) }); err != nil {
		area.Byte(0, 1)
		area.Text(4, err.Error())
	}
	return area.Address()
}
