package aggregate

import (
	"errors"
	"reflect"
	"testing"
	"unsafe"

	"millrace"
	"millrace/internal/rows"
	"millrace/internal/wire"
)

type counts struct {
	Total  int64
	ByName map[string]int64
	Sketch []byte
}

type event struct {
	Name   string
	Refuse bool
}

func (c *counts) Initial(*struct{}) { c.Sketch = make([]byte, 4) }

// Update refuses after it has changed all that there is.
func (c *counts) Update(row event, _ *struct{}) error {
	c.Total++
	c.ByName[row.Name]++
	c.Sketch[len(row.Name)%4]++
	if row.Refuse {
		return errors.New("refused")
	}
	return nil
}

func (c *counts) Merge(later *counts, _ *struct{}) {}

func (c *counts) Evaluate(millrace.Window, *struct{}) struct{ Total int64 } {
	return struct{ Total int64 }{c.Total}
}

func batch(events []event) wire.Batch {
	schema := rows.Of(reflect.TypeFor[event](), false)
	builders := schema.Builders(len(events))
	for i := range events {
		schema.Write(builders, unsafe.Pointer(&events[i]))
	}
	return rows.Finish(builders, len(events))
}

func TestARefusedRowLeavesTheStateAsItWas(t *testing.T) {
	entries = nil
	Register("counts", (*counts).Update, (*counts).Merge, (*counts).Evaluate)
	_, bound, err := entries[0].bind([]wire.Field{{Name: "name", Format: "u"}, {Name: "refuse", Format: "b"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	var with, without []event
	var groups, kept []uint32
	for i := range 200 {
		one := event{[]string{"a", "bb", "ccc"}[i%3], i%5 == 3 || i%7 == 2}
		with, groups = append(with, one), append(groups, uint32(i%2))
		if !one.Refuse {
			without, kept = append(without, one), append(kept, uint32(i%2))
		}
	}
	got, rejected, err := bound.update(bound.initial(2), groups, batch(with))
	if err != nil {
		t.Fatal(err)
	}
	want, none, err := bound.update(bound.initial(2), kept, batch(without))
	if err != nil || len(none) != 0 || len(rejected) != len(with)-len(without) {
		t.Fatal(err, len(none), len(rejected))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%v", got, want)
	}
}
