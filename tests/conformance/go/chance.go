package main

import (
	"crypto/rand"
	"fmt"
	"hash/maphash"
	mathrand "math/rand"
	"time"

	"millrace"
	"millrace/aggregate"
	"millrace/transform"
)

func init() {
	transform.Row("chance", chance)
	aggregate.Register("chances", (*Chances).Update, (*Chances).Merge, (*Chances).Evaluate)
}

type Said struct{ Said string }

// chancesOf is what differs from process to process where nobody sees to it.
func chancesOf(text string) string {
	words, order := map[string]int{}, ""
	for i := range 20 {
		words[fmt.Sprint(text, i)] = i
	}
	for _, i := range words {
		order += fmt.Sprint(i, " ")
	}
	drawn := make([]byte, 4)
	_, err := rand.Read(drawn)
	ready, chosen := make(chan int, 1), make(chan int, 1)
	ready <- 1
	chosen <- 2
	var first int
	select {
	case first = <-ready:
	case first = <-chosen:
	}
	return fmt.Sprint(len(text), order, mathrand.Int63(), drawn, err, maphash.String(maphash.MakeSeed(), text), time.Now(), first)
}

func chance(row Text, _ *None) (Said, error) {
	if row.Text == nil {
		return Said{chancesOf("")}, nil
	}
	return Said{chancesOf(*row.Text)}, nil
}

type Chances struct{ Said string }

func (s *Chances) Update(row Text, _ *None) error {
	said, err := chance(row, nil)
	s.Said = said.Said
	return err
}

func (s *Chances) Merge(later *Chances, _ *None) { s.Said = chancesOf(s.Said + later.Said) }

func (s *Chances) Evaluate(millrace.Window, *None) Said { return Said{chancesOf(s.Said)} }
