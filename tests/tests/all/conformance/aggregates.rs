//! The aggregates over their events: folded together and in pieces, merged from panes cut anywhere, evaluated; the state
//! they keep is the same to the byte in all languages, so that one may take over what another has begun.

use millrace::engine::aggregate::Aggregate;
use serde_json::{Value, json};

use super::cells::{Cell, Row, assert_same, columns, fields, rows};
use super::expected;
use super::languages::{LIMITS, Language, languages};
use super::vectors::{self, Draws, column, cuts};

struct Udf {
    name: &'static str,
    input: &'static str,
    state: &'static str,
    expected: expected::Aggregate,
}

const MEAN: Udf =
    Udf { name: "mean", input: "value float64?", state: "sum float64, count int64", expected: expected::MEAN };
const SESSIONS: Udf = Udf {
    name: "sessions",
    input: "time timestamp?",
    state: "first timestamp?, last timestamp?, sessions int64",
    expected: expected::SESSIONS,
};
const REGISTERS: Udf =
    Udf { name: "registers", input: "text utf8?", state: "registers binary", expected: expected::REGISTERS };
const SEEN: Udf = Udf { name: "seen", input: "text utf8?", state: "counts binary", expected: expected::SEEN };

/// How many keys there are.
const KEYS: usize = 12;

impl Udf {
    fn bind(&self, language: &Language, options: &Value) -> Box<dyn Aggregate> {
        let bound = language.component.aggregate(Some(self.name), &fields(self.input), &options.to_string(), LIMITS);
        let factory = bound.unwrap_or_else(|error| panic!("{} {}: {error}", language.name, self.name));
        assert_eq!(factory.signature().state, fields(self.state), "{} {}", language.name, self.name);
        factory.create().unwrap_or_else(|error| panic!("{} {}: {error}", language.name, self.name))
    }

    /// Folds `input` by value, row i into key `groups[i]`; the rows that are refused.
    fn fold(&self, options: &Value, states: &mut [Row], groups: &[u32], input: &[Row]) -> Vec<(u32, String)> {
        let mut rejected = Vec::new();
        for ((index, row), group) in (0..).zip(input).zip(groups) {
            if let Err(reason) = (self.expected.update)(options, &mut states[*group as usize], row) {
                rejected.push((index, reason.to_owned()));
            }
        }
        rejected
    }

    fn check(&self, options: &Value, input: &[Row]) {
        let mut draws = Draws::new(31);
        let groups: Vec<u32> = input.iter().map(|_| u32::try_from(draws.below(KEYS)).unwrap()).collect();
        let initial = vec![(self.expected.initial)(); KEYS];
        let mut whole = initial.clone();
        let rejected = self.fold(options, &mut whole, &groups, input);
        for language in languages() {
            let run = Run { udf: self, place: format!("{} {} {options}", language.name, self.name) };
            for _ in 0..2 {
                let mut bound = self.bind(language, options);
                run.starts_empty(&mut bound, &initial);
                assert_eq!(
                    run.fold(&mut bound, &initial, &groups, input),
                    (whole.clone(), rejected.clone()),
                    "{}",
                    run.place
                );
                run.evaluates(&mut bound, &whole);
                run.folds_in_pieces(&mut bound, (&initial, &whole), &groups, input);
                run.merges(&mut bound, options, &groups, input);
            }
        }
    }
}

/// One language's aggregate, and how to call it in a message.
struct Run<'a> {
    udf: &'a Udf,
    place: String,
}

impl Run<'_> {
    fn starts_empty(&self, bound: &mut Box<dyn Aggregate>, initial: &[Row]) {
        let place = &self.place;
        for count in [1, KEYS] {
            let state = bound.initial(count).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_same(&rows(&state), &initial[..count], &format!("{place}: the empty state"));
        }
    }

    fn fold(
        &self,
        bound: &mut Box<dyn Aggregate>,
        before: &[Row],
        groups: &[u32],
        input: &[Row],
    ) -> (Vec<Row>, Vec<(u32, String)>) {
        let state = columns(&fields(self.udf.state), before);
        let updated = bound.update(state, groups, &columns(&fields(self.udf.input), input));
        let updated = updated.unwrap_or_else(|error| panic!("{}: {error}", self.place));
        (rows(&updated.state), updated.rejected.into_iter().map(|one| (one.row, one.reason)).collect())
    }

    fn evaluates(&self, bound: &mut Box<dyn Aggregate>, states: &[Row]) {
        let wanted: Vec<_> = states.iter().map(self.udf.expected.evaluate).collect();
        let state = columns(&fields(self.udf.state), states);
        let times = vec![0; states.len()];
        let output = bound.evaluate(&state, &times, &times).unwrap_or_else(|error| panic!("{}: {error}", self.place));
        assert_same(&rows(&output), &wanted, &format!("{}: the value", self.place));
    }

    /// However the rows are cut, the state is the same.
    fn folds_in_pieces(
        &self,
        bound: &mut Box<dyn Aggregate>,
        (before, after): (&[Row], &[Row]),
        groups: &[u32],
        input: &[Row],
    ) {
        for (seed, longest) in [(1, input.len()), (2, 500), (3, 40)] {
            let mut state = before.to_vec();
            for (from, to) in cuts(&mut Draws::new(seed), input.len(), longest) {
                state = self.fold(bound, &state, &groups[from..to], &input[from..to]).0;
            }
            assert_same(&state, after, &format!("{}, cut at most {longest} long", self.place));
        }
    }

    /// Panes are folded each for itself and merged, the later into the earlier, some of them at once.
    fn merges(&self, bound: &mut Box<dyn Aggregate>, options: &Value, groups: &[u32], input: &[Row]) {
        let schema = fields(self.udf.state);
        let initial = vec![(self.udf.expected.initial)(); KEYS];
        for seed in 4..8 {
            let mut draws = Draws::new(seed);
            let mut partials = Vec::new();
            for (from, to) in cuts(&mut draws, input.len(), input.len() / 3 + 1) {
                let mut pane = initial.clone();
                self.udf.fold(options, &mut pane, &groups[from..to], &input[from..to]);
                partials.extend((0..).zip(pane));
            }
            let mut wanted = initial.clone();
            for (key, partial) in &partials {
                (self.udf.expected.merge)(options, &mut wanted[*key as usize], partial);
            }
            let mut state = initial.clone();
            for (from, to) in cuts(&mut draws, partials.len(), partials.len()) {
                let (into, part): (Vec<u32>, Vec<Row>) = partials[from..to].iter().cloned().unzip();
                let merged = bound.merge(columns(&schema, &state), &into, &columns(&schema, &part));
                state = rows(&merged.unwrap_or_else(|error| panic!("{}: {error}", self.place)));
            }
            assert_same(&state, &wanted, &format!("{}, merged", self.place));
            self.evaluates(bound, &wanted);
        }
    }
}

#[test]
fn means_are_folded_merged_and_evaluated() {
    MEAN.check(&json!({}), &column(11, 4_000, vectors::finite));
    MEAN.check(&json!({}), &[vec![super::cells::float(-0.0)], vec![Cell::Null]]);
}

#[test]
fn sessions_are_counted_in_order() {
    let mut time = 1_700_000_000_000_000;
    let times = column(12, 4_000, |draws| {
        time += i64::try_from(draws.below(60_000_000) * usize::from(draws.below(5) > 0)).unwrap();
        if draws.below(20) == 0 { Cell::Null } else { Cell::Time(time) }
    });
    for options in [json!({}), json!({ "gap_us": 0 }), json!({ "gap_us": 400_000_000 })] {
        SESSIONS.check(&options, &times);
    }
}

#[test]
fn a_sketch_keeps_its_registers() {
    let mut texts = column(13, 4_000, vectors::words);
    texts.push(vec![vectors::huge()]);
    REGISTERS.check(&json!({}), &texts);
}

#[test]
fn a_map_is_kept_as_sorted_message_pack() {
    let mut texts = column(14, 3_000, vectors::words);
    texts.extend((0..400).map(|_| vec![Cell::Text("often".into())]));
    texts.push(vec![Cell::Text("long ".repeat(60))]);
    texts.push(vec![Cell::Text("longer ".repeat(12_000))]);
    SEEN.check(&json!({}), &texts);
}

#[test]
fn a_hundred_thousand_rows_fold_like_any_others() {
    let values = column(15, 100_000, vectors::finite);
    let groups: Vec<u32> = (0..100_000_u32).map(|row| row * 7 % 5_000).collect();
    let initial = vec![(MEAN.expected.initial)(); 5_000];
    let mut wanted = initial.clone();
    MEAN.fold(&json!({}), &mut wanted, &groups, &values);
    for language in languages() {
        let run = Run { udf: &MEAN, place: format!("{} mean of many", language.name) };
        let mut bound = MEAN.bind(language, &json!({}));
        let (state, rejected) = run.fold(&mut bound, &initial, &groups, &values);
        assert_same(&state, &wanted, &run.place);
        assert_eq!(rejected, []);
    }
}
