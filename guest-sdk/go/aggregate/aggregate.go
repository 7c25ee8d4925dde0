// Package aggregate registers aggregates: a state for each key that rows are folded into, states that are merged, and values
// made of them. The state is the host's: it comes as columns, and goes back as columns.
package aggregate

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"millrace"
	"millrace/internal/column"
	"millrace/internal/options"
	"millrace/internal/rows"
	"millrace/internal/wire"
)

type signature struct {
	input         []string
	state, output []wire.Field
	ordered       bool
}

// bound is an aggregate that knows its columns and options.
type bound interface {
	initial(rows int) wire.Batch
	update(state wire.Batch, groups []uint32, input wire.Batch) (wire.Batch, []wire.Rejection, error)
	merge(state wire.Batch, groups []uint32, partial wire.Batch) (wire.Batch, error)
	evaluate(state wire.Batch, since, until []millrace.Timestamp) (wire.Batch, error)
}

type entry struct {
	name string
	bind func(input []wire.Field, json string) (signature, bound, error)
}

var entries []entry

// Choice is how rows come.
type Choice byte

// Ordered has rows come sorted by event time, once the watermark has passed them.
const Ordered Choice = 1

// Register registers an aggregate by the methods of its state, as in
//
//	aggregate.Register("mean", (*Mean).Update, (*Mean).Merge, (*Mean).Evaluate)
//
// S is the state: each exported field is a column, and what is no scalar one of MessagePack. An update that returns an error
// refuses its row, and what it did to the state is undone. Where *S has a method Initial(options *P), it makes the state that
// holds nothing yet, which is all zero otherwise.
func Register[S, I, O, P any](
	name string,
	update func(state *S, row I, options *P) error,
	merge func(state *S, later *S, options *P),
	evaluate func(state *S, window millrace.Window, options *P) O,
	choices ...Choice,
) {
	entries = append(entries, entry{name, func(given []wire.Field, json string) (signature, bound, error) {
		b := &binding[S, I, O, P]{
			input:        rows.Of(reflect.TypeFor[I](), false),
			state:        rows.Of(reflect.TypeFor[S](), true),
			output:       rows.Of(reflect.TypeFor[O](), false),
			updateOne:    update,
			mergeOne:     merge,
			evaluateOne:  evaluate,
			optionValues: new(P),
		}
		var misfits error
		b.widenings, misfits = b.input.Fit(given, false)
		if err := rows.Joined(misfits, options.Read(json, b.optionValues)); err != nil {
			return signature{}, nil, err
		}
		return signature{b.input.Names(), b.state.Fields, b.output.Fields, len(choices) > 0}, b, nil
	}})
}

type binding[S, I, O, P any] struct {
	input, state, output *rows.Schema
	updateOne            func(*S, I, *P) error
	mergeOne             func(*S, *S, *P)
	evaluateOne          func(*S, millrace.Window, *P) O
	widenings            []column.Widening
	optionValues         *P
}

func (b *binding[S, I, O, P]) encode(states []S) wire.Batch {
	builders := b.state.Builders(len(states))
	for i := range states {
		b.state.Write(builders, unsafe.Pointer(&states[i]))
	}
	return rows.Finish(builders, len(states))
}

func (b *binding[S, I, O, P]) decode(batch wire.Batch) ([]S, []*column.Reader, error) {
	readers, err := b.state.Open(batch, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("state: %w", err)
	}
	states := make([]S, batch.Rows)
	for i := range states {
		if err := b.state.Read(readers, i, unsafe.Pointer(&states[i])); err != nil {
			return nil, nil, fmt.Errorf("state: %w", err)
		}
	}
	return states, readers, nil
}

func (b *binding[S, I, O, P]) initial(count int) wire.Batch {
	states := make([]S, count)
	for i := range states {
		if made, ok := any(&states[i]).(interface{ Initial(*P) }); ok {
			made.Initial(b.optionValues)
		}
	}
	return b.encode(states)
}

// updating is one call of update.
type updating[S, I, O, P any] struct {
	*binding[S, I, O, P]
	groups        []uint32
	input, before []*column.Reader
	refused       map[int]bool
	row           *I
}

func (b *binding[S, I, O, P]) update(state wire.Batch, groups []uint32, input wire.Batch) (wire.Batch, []wire.Rejection, error) {
	states, before, err := b.decode(state)
	if err != nil {
		return wire.Batch{}, nil, err
	}
	readers, err := b.input.Open(input, b.widenings)
	if err != nil {
		return wire.Batch{}, nil, err
	}
	if err := check(groups, input.Rows, len(states)); err != nil {
		return wire.Batch{}, nil, err
	}
	u := updating[S, I, O, P]{b, groups, readers, before, map[int]bool{}, new(I)}
	var rejected []wire.Rejection
	// States that a row was refused for: from then on, each is copied before a row is tried.
	careful := map[uint32]bool{}
	for i, group := range groups {
		state := &states[group]
		before := *state
		if careful[group] {
			before = b.copied(state)
		}
		err := u.fold(state, i)
		if err == nil {
			continue
		}
		*state = before
		if b.state.SharesMemory() && !careful[group] {
			// What the row did to a map cannot be taken out of it: the rows before it are folded anew.
			*state = u.replayed(i)
			careful[group] = true
		}
		u.refused[i] = true
		rejected = append(rejected, wire.Rejection{Row: uint32(i), Reason: err.Error()})
	}
	return b.encode(states), rejected, nil
}

func (u *updating[S, I, O, P]) fold(state *S, i int) error {
	*u.row = *new(I)
	if err := u.binding.input.Read(u.input, i, unsafe.Pointer(u.row)); err != nil {
		return err
	}
	return u.updateOne(state, *u.row, u.optionValues)
}

// replayed is the state of row end's key, with the rows before it.
func (u *updating[S, I, O, P]) replayed(end int) S {
	var state S
	group := u.groups[end]
	if err := u.state.Read(u.before, int(group), unsafe.Pointer(&state)); err != nil {
		panic(err)
	}
	for i := range end {
		if u.groups[i] == group && !u.refused[i] {
			if err := u.fold(&state, i); err != nil {
				panic("an update refused a row that it took before: " + err.Error())
			}
		}
	}
	return state
}

// copied is a state that shares nothing with the other.
func (b *binding[S, I, O, P]) copied(state *S) S {
	one, _, err := b.decode(b.encode(unsafe.Slice(state, 1)))
	if err != nil {
		panic(err)
	}
	return one[0]
}

func check(groups []uint32, rows, states int) error {
	if len(groups) != rows {
		return fmt.Errorf("%d groups for %d rows", len(groups), rows)
	}
	for _, group := range groups {
		if int(group) >= states {
			return fmt.Errorf("group %d is not among the state's rows", group)
		}
	}
	return nil
}

func (b *binding[S, I, O, P]) merge(state wire.Batch, groups []uint32, partial wire.Batch) (wire.Batch, error) {
	states, _, err := b.decode(state)
	if err != nil {
		return wire.Batch{}, err
	}
	partials, _, err := b.decode(partial)
	if err != nil {
		return wire.Batch{}, err
	}
	if err := check(groups, len(partials), len(states)); err != nil {
		return wire.Batch{}, err
	}
	for i, group := range groups {
		b.mergeOne(&states[group], &partials[i], b.optionValues)
	}
	return b.encode(states), nil
}

func (b *binding[S, I, O, P]) evaluate(state wire.Batch, since, until []millrace.Timestamp) (wire.Batch, error) {
	states, _, err := b.decode(state)
	if err != nil {
		return wire.Batch{}, err
	}
	if len(since) != len(states) || len(until) != len(states) {
		return wire.Batch{}, errors.New("not a window for each state")
	}
	builders, made := b.output.Builders(len(states)), new(O)
	for i := range states {
		*made = b.evaluateOne(&states[i], millrace.Window{Since: since[i], Until: until[i]}, b.optionValues)
		b.output.Write(builders, unsafe.Pointer(made))
	}
	return rows.Finish(builders, len(states)), nil
}
