package aggregate

import (
	"errors"
	"strings"
	"unsafe"

	"millrace"
	"millrace/internal/wire"
)

// What this instance was bound to.
var current bound

var unbound = errors.New("called before bind")

//go:wasmexport millrace:feature/aggregate@0.1.0#names
func exportNames() uint32 {
	area := wire.NewArea(8)
	area.Texts(0, names())
	return area.Address()
}

func names() []string {
	all := make([]string, len(entries))
	for i, entry := range entries {
		all[i] = entry.name
	}
	return all
}

//go:wasmexport millrace:feature/aggregate@0.1.0#bind
func exportBind(name, nameSize, input, inputs, json, jsonSize uint32) uint32 {
	return wire.Result(28, func(area wire.Area) error {
		wanted := wire.String(name, nameSize)
		for _, entry := range entries {
			if entry.name != wanted {
				continue
			}
			signature, bound, err := entry.bind(wire.Fields(input, inputs), wire.String(json, jsonSize))
			if err != nil {
				return err
			}
			current = bound
			area.Texts(4, signature.input)
			area.Fields(12, signature.state)
			area.Fields(20, signature.output)
			if signature.ordered {
				area.Byte(28, 1)
			}
			return nil
		}
		return errors.New("no aggregate `" + wanted + "` in this component; it has `" + strings.Join(names(), "`, `") + "`")
	})
}

// numbers are the little-endian numbers at an address, as this machine has them too.
func numbers[T any](address, size uint32) []T {
	bytes := wire.At(address, size)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(bytes))), uintptr(len(bytes))/unsafe.Sizeof(*new(T)))
}

// batch is a call that returns a batch.
func batch(call func() (wire.Batch, error)) uint32 {
	return wire.Result(12, func(area wire.Area) error {
		if current == nil {
			return unbound
		}
		batch, err := call()
		if err == nil {
			area.Batch(4, batch)
		}
		return err
	})
}

//go:wasmexport millrace:feature/aggregate@0.1.0#initial
func exportInitial(rows uint32) uint32 {
	return batch(func() (wire.Batch, error) { return current.initial(int(rows)), nil })
}

//go:wasmexport millrace:feature/aggregate@0.1.0#update
func exportUpdate(states, state, fields, groups, groupsSize, rows, columns, count uint32) uint32 {
	return wire.Result(20, func(area wire.Area) error {
		if current == nil {
			return unbound
		}
		before, input := wire.ReadBatch(states, state, fields), wire.ReadBatch(rows, columns, count)
		after, rejected, err := current.update(before, numbers[uint32](groups, groupsSize), input)
		if err != nil {
			return err
		}
		area.Batch(4, after)
		area.Rejections(16, rejected)
		return nil
	})
}

//go:wasmexport millrace:feature/aggregate@0.1.0#merge
func exportMerge(states, state, fields, groups, groupsSize, rows, columns, count uint32) uint32 {
	return batch(func() (wire.Batch, error) {
		before, partial := wire.ReadBatch(states, state, fields), wire.ReadBatch(rows, columns, count)
		return current.merge(before, numbers[uint32](groups, groupsSize), partial)
	})
}

//go:wasmexport millrace:feature/aggregate@0.1.0#evaluate
func exportEvaluate(states, state, fields, since, sinceSize, until, untilSize uint32) uint32 {
	return batch(func() (wire.Batch, error) {
		from, to := numbers[millrace.Timestamp](since, sinceSize), numbers[millrace.Timestamp](until, untilSize)
		return current.evaluate(wire.ReadBatch(states, state, fields), from, to)
	})
}

//go:wasmexport cabi_post_millrace:feature/aggregate@0.1.0#names
func afterNames(uint32) { wire.Forget() }

//go:wasmexport cabi_post_millrace:feature/aggregate@0.1.0#bind
func afterBind(uint32) { wire.Forget() }

//go:wasmexport cabi_post_millrace:feature/aggregate@0.1.0#initial
func afterInitial(uint32) { wire.Forget() }

//go:wasmexport cabi_post_millrace:feature/aggregate@0.1.0#update
func afterUpdate(uint32) { wire.Forget() }

//go:wasmexport cabi_post_millrace:feature/aggregate@0.1.0#merge
func afterMerge(uint32) { wire.Forget() }

//go:wasmexport cabi_post_millrace:feature/aggregate@0.1.0#evaluate
func afterEvaluate(uint32) { wire.Forget() }
