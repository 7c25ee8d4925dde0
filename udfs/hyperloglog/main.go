// The aggregate hyperloglog: about how many different texts there were, from a sketch of a few hundred bytes.
//
// The state is HyperLogLog's registers (Flajolet, Fusy, Gandouet, Meunier 2007), one byte each, 2^precision of them. A text goes
// to the register that the low bits of its hash name; the register holds the highest rank so far, which is one more than the
// zeros at the end of the other bits. So a register says the same whoever wrote it: the hash is FNV-1a of the text's UTF-8, mixed
// as MurmurHash3 mixes at its end. Merging takes the higher of each two registers, and is exact: the sketch of two stretches
// of time is the sketch of both together, to the bit.
//
// The estimate is Ertl's (New cardinality estimation algorithms for HyperLogLog sketches, 2017, algorithm 6), which needs neither
// tables nor another formula for few values. Its standard error is 1.04 / √(2^precision).
package main

import (
	"errors"
	"math"
	"math/bits"

	"millrace"
	"millrace/aggregate"
)

func main() {}

func init() {
	aggregate.Register("hyperloglog", (*Sketch).Update, (*Sketch).Merge, (*Sketch).Evaluate)
}

// Options say how fine the sketch is.
type Options struct {
	Precision int64 `default:"11"`
}

// Check refuses sketches that are too coarse to be of use or too large for a state.
func (o *Options) Check() error {
	if o.Precision < 4 || o.Precision > 16 {
		return errors.New("`precision` must be within 4 and 16")
	}
	return nil
}

// Row is a text, or none.
type Row struct {
	Value *string
}

// Sketch is the state.
type Sketch struct {
	Registers []byte
}

// Distinct is the feature.
type Distinct struct {
	Distinct float64
}

// Initial is the sketch of nothing.
func (s *Sketch) Initial(o *Options) { s.Registers = make([]byte, 1<<o.Precision) }

// Update folds in a text; a null is none.
func (s *Sketch) Update(row Row, _ *Options) error {
	if row.Value != nil {
		s.add(hash(*row.Value))
	}
	return nil
}

func (s *Sketch) add(hash uint64) {
	registers := uint64(len(s.Registers))
	width := bits.TrailingZeros64(registers)
	// The bit above them ends a run of zeros that would have no end.
	rank := byte(1 + bits.TrailingZeros64(hash>>width|1<<(64-width)))
	at := hash & (registers - 1)
	s.Registers[at] = max(s.Registers[at], rank)
}

// Merge folds in the sketch of a later stretch of time.
func (s *Sketch) Merge(later *Sketch, _ *Options) {
	for i, rank := range later.Registers {
		s.Registers[i] = max(s.Registers[i], rank)
	}
}

// Evaluate is how many different texts there were, about.
func (s *Sketch) Evaluate(millrace.Window, *Options) Distinct { return Distinct{s.estimate()} }

func (s *Sketch) estimate() float64 {
	// How many registers there are of each rank.
	var counts [66]int
	for _, rank := range s.Registers {
		counts[min(int(rank), 65)]++
	}
	registers := float64(len(s.Registers))
	last := 64 - bits.TrailingZeros(uint(len(s.Registers)))
	z := registers * tau(1-float64(counts[last+1])/registers)
	for rank := last; rank > 0; rank-- {
		z = 0.5 * (z + float64(counts[rank]))
	}
	z += registers * sigma(float64(counts[0])/registers)
	return registers / (2 * math.Ln2) * registers / z
}

// sigma is x + Σ x^(2^k) · 2^(k−1), k from 1: what empty registers say.
func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	sum, weight := x, 1.0
	for before := -1.0; sum != before; weight += weight {
		x *= x
		before = sum
		sum += x * weight
	}
	return sum
}

// tau is (1 − x − Σ (1 − x^(2^−k))² · 2^−k) / 3, k from 1: what full registers say.
func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	sum, weight := 1-x, 1.0
	for before := -1.0; sum != before; {
		x = math.Sqrt(x)
		before = sum
		weight *= 0.5
		sum -= (1 - x) * (1 - x) * weight
	}
	return sum / 3
}

// hash is FNV-1a, and the end of MurmurHash3, which has every bit depend on every other.
func hash(text string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
