//! Aggregates: a count of rows, but for the fault. The state also remembers whether a poisonous row went in, for the
//! faults of calls that see no rows, and a text, to grow.

use std::cell::RefCell;

use crate::Faults;
use crate::bindings::exports::millrace::feature::aggregate::{Guest, Signature, Updated};
use crate::bindings::millrace::feature::columns::{Batch, Column, Field, Rejection};
use crate::catalogue::AGGREGATES;
use crate::columns::{Bound, bits, boolean, check_input, field, i64s, int64, texts, u32s, utf8};
use crate::crash;

/// What `state_giant` adds to a state with every row: some thousand times what a state may hold.
const GIANT: usize = 4 << 20;

thread_local! {
    static BOUND: RefCell<Bound> = RefCell::default();
}

/// State rows, by column.
#[derive(Default)]
struct States {
    counts: Vec<i64>,
    poisoned: Vec<bool>,
    texts: Vec<Vec<u8>>,
}

impl States {
    fn empty(rows: usize) -> Self {
        Self { counts: vec![0; rows], poisoned: vec![false; rows], texts: vec![Vec::new(); rows] }
    }

    fn decode(batch: &Batch) -> Self {
        let buffer = |column: usize| {
            batch.columns.get(column).and_then(|column| column.buffers.get(1)).map_or(&[][..], Vec::as_slice)
        };
        let text = Batch { rows: batch.rows, columns: batch.columns.iter().skip(2).cloned().collect() };
        Self {
            counts: i64s(buffer(0)),
            poisoned: bits(buffer(1), batch.rows as usize),
            texts: texts(&text).map(<[u8]>::to_vec).collect(),
        }
    }

    fn encode(&self) -> Batch {
        Batch {
            rows: u32::try_from(self.counts.len()).expect("as many as came in"),
            columns: vec![int64(&self.counts), boolean(&self.poisoned), utf8(&self.texts)],
        }
    }

    fn encode_one_fewer(mut self) -> Batch {
        self.counts.pop();
        self.poisoned.pop();
        self.texts.pop();
        self.encode()
    }
}

fn bound() -> Bound {
    BOUND.with_borrow(Clone::clone)
}

fn is_poison(text: &[u8]) -> bool {
    text == b"poison"
}

impl Guest for Faults {
    fn names() -> Vec<String> {
        AGGREGATES.iter().map(|name| (*name).to_owned()).collect()
    }

    fn bind(name: String, input: Vec<Field>, options: String) -> Result<Signature, String> {
        if !AGGREGATES.contains(&name.as_str()) {
            return Err(format!("no aggregate `{name}`"));
        }
        let mut state = vec![field("count", "l", false), field("poisoned", "b", false), field("text", "u", false)];
        match name.as_str() {
            "bind_state_unknown_format" => state.push(field("more", "w:16", false)),
            "bind_state_same_twice" => state.push(field("count", "l", false)),
            _ => {}
        }
        BOUND.set(Bound::new(name, &options));
        let output = vec![field("count", "l", false)];
        Ok(Signature { input: check_input(&input)?, state, output, ordered: false })
    }

    fn initial(rows: u32) -> Result<Batch, String> {
        let bound = bound();
        let states = States::empty(rows as usize);
        match bound.name.as_str() {
            "initial_trap" if bound.shows_in_any(&[]) => panic!("nothing to begin with"),
            "initial_rows_too_few" if bound.shows_in_any(&[]) => Ok(states.encode_one_fewer()),
            _ => Ok(states.encode()),
        }
    }

    fn update(state: Batch, groups: Vec<u8>, input: Batch) -> Result<Updated, String> {
        let bound = bound();
        let shows = bound.shows_in(&input);
        let mut states = States::decode(&state);
        for (group, text) in u32s(&groups).into_iter().zip(texts(&input)) {
            let place = states.counts.get_mut(group).zip(states.poisoned.get_mut(group));
            let (count, poisoned) = place.ok_or("a group beyond the state")?;
            *count += 1;
            *poisoned |= is_poison(text);
        }
        let mut rejected = Vec::new();
        if shows {
            match bound.name.as_str() {
                "update_trap" => panic!("poisoned"),
                "update_loop" => crash::endless_loop(),
                "update_error" => return Err("the UDF will not".to_owned()),
                "update_rejected_out_of_range" => {
                    rejected.push(Rejection { row: input.rows, reason: "refused".to_owned() });
                }
                "state_rows_too_few" => return Ok(Updated { state: states.encode_one_fewer(), rejected }),
                "state_rows_too_many" => {
                    states.counts.push(0);
                    states.poisoned.push(false);
                    states.texts.push(Vec::new());
                }
                "state_of_other_types" => {
                    let mut state = states.encode();
                    state.columns.rotate_left(1);
                    return Ok(Updated { state, rejected });
                }
                "state_buffers_missing" => {
                    let columns = vec![Column { buffers: Vec::new() }; state.columns.len()];
                    return Ok(Updated { state: Batch { rows: state.rows, columns }, rejected });
                }
                "state_giant" => states.texts.iter_mut().take(1).for_each(|text| text.resize(text.len() + GIANT, b'x')),
                "counts_calls" => states.counts.iter_mut().for_each(|count| *count += 1),
                _ => {}
            }
        }
        Ok(Updated { state: states.encode(), rejected })
    }

    fn merge(state: Batch, groups: Vec<u8>, partial: Batch) -> Result<Batch, String> {
        let bound = bound();
        let mut states = States::decode(&state);
        let partials = States::decode(&partial);
        for (row, group) in u32s(&groups).into_iter().enumerate() {
            let place = states.counts.get_mut(group).zip(states.poisoned.get_mut(group));
            let (count, poisoned) = place.ok_or("a group beyond the state")?;
            *count += partials.counts.get(row).copied().unwrap_or_default();
            *poisoned |= partials.poisoned.get(row).copied().unwrap_or_default();
        }
        let shows = bound.shows_in_any(&states.poisoned);
        match bound.name.as_str() {
            "merge_trap" if shows => panic!("poisoned"),
            "merge_rows_too_few" if shows => Ok(states.encode_one_fewer()),
            _ => Ok(states.encode()),
        }
    }

    fn evaluate(state: Batch, _: Vec<u8>, _: Vec<u8>) -> Result<Batch, String> {
        let bound = bound();
        let mut states = States::decode(&state);
        let shows = bound.shows_in_any(&states.poisoned);
        match bound.name.as_str() {
            "evaluate_trap" if shows => panic!("poisoned"),
            "evaluate_rows_too_few" if shows => drop(states.counts.pop()),
            "evaluate_of_other_types" if shows => {
                return Ok(Batch { rows: state.rows, columns: vec![utf8(&states.texts)] });
            }
            _ => {}
        }
        let rows = u32::try_from(states.counts.len()).expect("as many as came in");
        Ok(Batch { rows, columns: vec![int64(&states.counts)] })
    }
}
