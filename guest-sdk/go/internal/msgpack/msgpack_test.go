package msgpack

import (
	"bytes"
	"math"
	"reflect"
	"testing"
)

func TestNumbersTakeTheirShortestForm(t *testing.T) {
	sizes := map[int64]int{0: 1, 127: 1, 128: 2, 255: 2, 256: 3, 65535: 3, 65536: 5, 1 << 32: 9, math.MaxInt64: 9,
		-1: 1, -32: 1, -33: 2, -128: 2, -129: 3, -32769: 5, math.MinInt64: 9}
	for number, size := range sizes {
		packed := Append(nil, reflect.ValueOf(number))
		var back int64
		rest, err := Read(packed, reflect.ValueOf(&back).Elem())
		if len(packed) != size || back != number || len(rest) != 0 || err != nil {
			t.Errorf("%d: %x, %d, %v", number, packed, back, err)
		}
		if _, err := Read(packed[:size-1], reflect.ValueOf(&back).Elem()); err == nil {
			t.Errorf("%x is read", packed[:size-1])
		}
	}
}

type inner struct {
	B []byte
	A string
}

type outer struct {
	Counts map[string]int64
	Lists  [][]float64
	Inner  *inner
	None   *inner
	By     map[int32]bool
	Small  uint8
	Array  [2]float32
}

func TestEqualValuesAreEqualBytes(t *testing.T) {
	value := outer{map[string]int64{"é": -5, "a": 300, "b": 1}, [][]float64{{1.5}, {}}, &inner{[]byte{1, 2}, "x"}, nil,
		map[int32]bool{-1: true, 7: false}, 200, [2]float32{1, 2}}
	packed := Append(nil, reflect.ValueOf(value))
	for range 20 {
		var back outer
		if rest, err := Read(packed, reflect.ValueOf(&back).Elem()); err != nil || len(rest) != 0 {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(value, back) || !bytes.Equal(packed, Append(nil, reflect.ValueOf(back))) {
			t.Fatalf("%+v became %+v", value, back)
		}
	}
	want := []byte{0x83, 0xa1, 'a', 0xcd, 1, 44, 0xa1, 'b', 1, 0xa2, 0xc3, 0xa9, 0xfb}
	if counts := Append(nil, reflect.ValueOf(value.Counts)); !bytes.Equal(counts, want) {
		t.Errorf("%x", counts)
	}
}

func TestWhatIsDamagedIsAnError(t *testing.T) {
	packed := Append(nil, reflect.ValueOf(outer{Counts: map[string]int64{"a": 300}, Inner: &inner{}}))
	for cut := range packed {
		var back outer
		if _, err := Read(packed[:cut], reflect.ValueOf(&back).Elem()); err == nil {
			t.Errorf("%d bytes of %d are read", cut, len(packed))
		}
		for _, wrong := range []byte{0xc1, 0xff, 0xdf, 0x00} {
			damaged := bytes.Clone(packed)
			damaged[cut] = wrong
			Read(damaged, reflect.ValueOf(&back).Elem())
		}
	}
}
