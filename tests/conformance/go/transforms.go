package main

import (
	"errors"
	"strings"

	"millrace"
	"millrace/transform"
)

func init() {
	transform.Row("multiply", multiply)
	transform.Row("lower", lower)
	transform.Row("filter", filter)
	transform.FlatMap("flat_map", flatMap)
	transform.FlatMap("explode", explode)
	transform.Row("echo", echo)
	transform.Row("fail", fail)
}

type Number struct{ Value millrace.Null[float64] }

type Factor struct {
	Factor float64 `default:"2.0"`
}

func multiply(row Number, o *Factor) (Number, error) {
	row.Value.Value *= o.Factor
	return row, nil
}

type Text struct{ Text *string }

func lower(row Text, _ *None) (Text, error) {
	if row.Text == nil {
		return row, nil
	}
	lowered := strings.Map(func(c rune) rune {
		switch {
		case c == 0xd7 || c == 0x3a2:
			return c
		case 0x41 <= c && c <= 0x5a, 0xc0 <= c && c <= 0xde, 0x391 <= c && c <= 0x3a9, 0x410 <= c && c <= 0x42f:
			return c + 32
		case 0x400 <= c && c <= 0x40f:
			return c + 80
		}
		return c
	}, *row.Text)
	return Text{&lowered}, nil
}

type Above struct{ Above float64 }

func filter(row Number, o *Above) (Number, error) {
	if row.Value.Valid && row.Value.Value > o.Above {
		return row, nil
	}
	return row, millrace.Drop
}

type Word struct {
	Word     string
	Position int64
}

func flatMap(row Text, _ *None, emit func(Word)) error {
	if row.Text == nil {
		return nil
	}
	position := int64(0)
	for _, word := range strings.Split(*row.Text, " ") {
		if word != "" {
			emit(Word{word, position})
			position++
		}
	}
	return nil
}

type Items struct{ Items *[]millrace.Null[float64] }

type Item struct{ Item millrace.Null[float64] }

func explode(row Items, _ *None, emit func(Item)) error {
	if row.Items == nil {
		return errors.New("no list")
	}
	for _, item := range *row.Items {
		emit(Item{item})
	}
	return nil
}

type Every struct {
	B  *bool
	I  *int64
	F  *float64
	T  *millrace.Timestamp
	S  *string
	Z  *[]byte
	LF *[]*float64
	LS *[]*string
}

type Echo struct {
	B2  *bool
	I2  *int64
	F2  *float64
	T2  *millrace.Timestamp
	S2  *string
	Z2  *[]byte
	LF2 *[]*float64
	LS2 *[]*string
}

func echo(row Every, _ *None) (Echo, error) {
	return Echo{row.B, row.I, row.F, row.T, row.S, row.Z, row.LF, row.LS}, nil
}

type Whole struct{ Value *int64 }

func fail(row Whole, _ *None) (Whole, error) {
	if row.Value != nil && *row.Value == 1 {
		panic("one is not welcome")
	}
	if row.Value != nil && *row.Value == 2 {
		return row, errors.New("two is refused")
	}
	return row, nil
}
