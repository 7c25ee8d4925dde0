package main

import (
	"bytes"
	"math"
	"strconv"
	"testing"
)

func sketch(precision int64, from, to int) *Sketch {
	var s Sketch
	s.Initial(&Options{precision})
	for i := from; i < to; i++ {
		text := "user-" + strconv.Itoa(i)
		if err := s.Update(Row{&text}, nil); err != nil {
			panic(err)
		}
	}
	return &s
}

// What Python's integers say of the same formula.
func TestTheHashIsAsItIsWritten(t *testing.T) {
	for text, want := range map[string]uint64{
		"":          0xefd01f60ba992926,
		"a":         0x82a2a958a9bece5b,
		"user-1":    0x41a2fca5c68401c5,
		"Übergröße": 0x818d1cc2d76676a2,
	} {
		if got := hash(text); got != want {
			t.Errorf("%q: %#x, want %#x", text, got, want)
		}
	}
}

// Sketches of other texts each time: half of the estimates have to be better than the standard error says, and none worse than
// five of it.
func TestTheErrorIsTheOneThatIsStated(t *testing.T) {
	const sketches = 40
	for _, precision := range []int64{4, 8, 11, 14} {
		stated := 1.04 / math.Sqrt(float64(int(1)<<precision))
		for _, texts := range []int{1, 10, 100, 3_000, 50_000} {
			squares := 0.0
			for i := range sketches {
				got := sketch(precision, i*100_000, i*100_000+texts).estimate()
				off := got/float64(texts) - 1
				squares += off * off
				if math.Abs(off) > 5*stated+0.01 {
					t.Errorf("precision %d: %g of %d", precision, got, texts)
				}
			}
			// The root of the mean square of forty is within a third of what it is of all.
			if off := math.Sqrt(squares / sketches); off > 1.35*stated+0.002 {
				t.Errorf("precision %d, %d texts: off by %.4f, and stated is %.4f", precision, texts, off, stated)
			}
		}
	}
}

func TestNothingIsNothing(t *testing.T) {
	empty := sketch(11, 0, 0)
	if err := empty.Update(Row{}, nil); err != nil || empty.estimate() != 0 {
		t.Error(err, empty.estimate())
	}
	if got := sketch(11, 0, 1).estimate(); math.Abs(got-1) > 0.001 {
		t.Error("one text is", got)
	}
}

func TestMergingIsExactAndTextsCountOnce(t *testing.T) {
	both := sketch(11, 0, 5_000)
	merged := sketch(11, 0, 3_000)
	merged.Merge(sketch(11, 1_000, 5_000), nil)
	again := sketch(11, 0, 5_000)
	again.Merge(again, nil)
	for name, other := range map[string]*Sketch{"merged": merged, "again": again} {
		if !bytes.Equal(both.Registers, other.Registers) {
			t.Error(name, "differs")
		}
	}
	one := sketch(11, 3_000, 5_000)
	one.Merge(sketch(11, 0, 3_000), nil)
	if !bytes.Equal(both.Registers, one.Registers) {
		t.Error("the order counts")
	}
}

// A register's highest rank: one more than the bits that are left.
func TestRanksEnd(t *testing.T) {
	var s Sketch
	s.Initial(&Options{4})
	s.add(5)
	s.add(6 | 1<<4)
	if s.Registers[5] != 61 || s.Registers[6] != 1 {
		t.Error(s.Registers)
	}
	for i := range uint64(16) {
		s.add(i)
	}
	if got := s.estimate(); !math.IsInf(got, 1) {
		t.Error("full registers say nothing but many:", got)
	}
}

func TestPrecisionIsBounded(t *testing.T) {
	for precision, fine := range map[int64]bool{3: false, 4: true, 16: true, 17: false} {
		if err := (&Options{precision}).Check(); (err == nil) != fine {
			t.Error(precision, err)
		}
	}
}
