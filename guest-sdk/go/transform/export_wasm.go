package transform

import (
	"errors"
	"strings"
	"unsafe"

	"millrace/internal/wire"
)

// What this instance was bound to.
var bound apply

var unbound = errors.New("called before bind")

//go:wasmexport millrace:feature/transform@0.1.0#names
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

//go:wasmexport millrace:feature/transform@0.1.0#bind
func exportBind(name, nameSize, input, inputs, json, jsonSize uint32) uint32 {
	return wire.Result(16, func(area wire.Area) error {
		wanted := wire.String(name, nameSize)
		for _, entry := range entries {
			if entry.name != wanted {
				continue
			}
			signature, apply, err := entry.bind(wire.Fields(input, inputs), wire.String(json, jsonSize))
			if err != nil {
				return err
			}
			bound = apply
			area.Texts(4, signature.input)
			area.Fields(12, signature.output)
			return nil
		}
		return errors.New("no transform `" + wanted + "` in this component; it has `" + strings.Join(names(), "`, `") + "`")
	})
}

//go:wasmexport millrace:feature/transform@0.1.0#apply
func exportApply(rows, columns, count uint32) uint32 {
	return wire.Result(32, func(area wire.Area) error {
		if bound == nil {
			return unbound
		}
		output, err := bound(wire.ReadBatch(rows, columns, count))
		if err != nil {
			return err
		}
		area.Batch(4, output.batch)
		if output.origin != nil {
			area.Byte(16, 1)
			area.Bytes(20, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(output.origin))), 4*len(output.origin)))
		}
		area.Rejections(28, output.rejected)
		return nil
	})
}

//go:wasmexport cabi_post_millrace:feature/transform@0.1.0#names
func afterNames(uint32) { wire.Forget() }

//go:wasmexport cabi_post_millrace:feature/transform@0.1.0#bind
func afterBind(uint32) { wire.Forget() }

//go:wasmexport cabi_post_millrace:feature/transform@0.1.0#apply
func afterApply(uint32) { wire.Forget() }
