package main

import (
	"errors"
	"math/bits"

	"millrace"
	"millrace/aggregate"
)

func init() {
	aggregate.Register("mean", (*Mean).Update, (*Mean).Merge, (*Mean).Evaluate)
	aggregate.Register("sessions", (*Sessions).Update, (*Sessions).Merge, (*Sessions).Evaluate, aggregate.Ordered)
	aggregate.Register("registers", (*Registers).Update, (*Registers).Merge, (*Registers).Evaluate)
	aggregate.Register("seen", (*Seen).Update, (*Seen).Merge, (*Seen).Evaluate)
}

type Mean struct {
	Sum   float64
	Count int64
}

type MeanOf struct{ Mean millrace.Null[float64] }

func (s *Mean) Update(row Number, _ *None) error {
	if row.Value.Valid {
		s.Sum += row.Value.Value
		s.Count++
	}
	return nil
}

func (s *Mean) Merge(later *Mean, _ *None) {
	s.Sum += later.Sum
	s.Count += later.Count
}

func (s *Mean) Evaluate(millrace.Window, *None) MeanOf {
	if s.Count == 0 {
		return MeanOf{}
	}
	return MeanOf{millrace.Some(s.Sum / float64(s.Count))}
}

type Timed struct {
	Time millrace.Null[millrace.Timestamp]
}

type Gap struct {
	GapUs int64 `default:"30000000"`
}

type Sessions struct {
	First, Last millrace.Null[millrace.Timestamp]
	Sessions    int64
}

type Count struct{ Sessions int64 }

func (s *Sessions) Update(row Timed, o *Gap) error {
	switch {
	case !row.Time.Valid:
		return errors.New("no time")
	case !s.Last.Valid:
		s.First, s.Sessions = row.Time, 1
	case int64(row.Time.Value-s.Last.Value) > o.GapUs:
		s.Sessions++
	}
	s.Last = row.Time
	return nil
}

func (s *Sessions) Merge(later *Sessions, o *Gap) {
	switch {
	case !later.Last.Valid:
	case !s.Last.Valid:
		*s = *later
	default:
		s.Sessions += later.Sessions
		if int64(later.First.Value-s.Last.Value) <= o.GapUs {
			s.Sessions--
		}
		s.Last = later.Last
	}
}

func (s *Sessions) Evaluate(millrace.Window, *Gap) Count { return Count{s.Sessions} }

type Registers struct{ Registers []byte }

type Filled struct {
	Registers []byte
	Filled    int64
}

func (s *Registers) Initial(*None) { s.Registers = make([]byte, 64) }

func (s *Registers) Update(row Text, _ *None) error {
	if row.Text == nil {
		return nil
	}
	h := uint64(0xcbf29ce484222325)
	for i := range len(*row.Text) {
		h = (h ^ uint64((*row.Text)[i])) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	rank := byte(1 + bits.TrailingZeros64(h>>6|1<<57))
	s.Registers[h&63] = max(s.Registers[h&63], rank)
	return nil
}

func (s *Registers) Merge(later *Registers, _ *None) {
	for i, register := range later.Registers {
		s.Registers[i] = max(s.Registers[i], register)
	}
}

func (s *Registers) Evaluate(millrace.Window, *None) Filled {
	filled := Filled{Registers: s.Registers}
	for _, register := range s.Registers {
		if register != 0 {
			filled.Filled++
		}
	}
	return filled
}

type Seen struct{ Counts map[string]int64 }

type Top struct{ Top *string }

func (s *Seen) Update(row Text, _ *None) error {
	if row.Text != nil {
		s.Counts[*row.Text]++
	}
	return nil
}

func (s *Seen) Merge(later *Seen, _ *None) {
	for text, count := range later.Counts {
		s.Counts[text] += count
	}
}

func (s *Seen) Evaluate(millrace.Window, *None) Top {
	var top Top
	most := int64(0)
	for text, count := range s.Counts {
		if count > most || count == most && text < *top.Top {
			top.Top, most = &text, count
		}
	}
	return top
}
