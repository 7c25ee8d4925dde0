//! Every language twice over the same events, in processes of their own: the same bytes come out, and the same lie in the
//! states, also where the language would look at a clock, draw numbers, or walk through a hash map.
//!
//! The processes are this very test's, started anew: each tells what came out, a line a UDF.

use std::env;
use std::process::{Command, Stdio};

use millrace::record::Columns;

use super::cells::{Row, columns, fields, rows};
use super::languages::{LIMITS, Language, languages};
use super::vectors::{self, Draws, column, cuts};

/// Said to the process that is to tell.
const TELL: &str = "MILLRACE_TELL";

/// How a line that is told begins.
const TOLD: &str = "told: ";

const EVERY: &str =
    "b boolean?, i int64?, f float64?, t timestamp?, s utf8?, z binary?, lf list<float64>?, ls list<utf8>?";

/// The rows of a UDF, by its name.
fn input(name: &str, number: usize) -> (&'static str, Vec<Row>) {
    let seed = 77;
    match name {
        "multiply" | "filter" => ("value float64?", column(seed, number, vectors::floats)),
        "mean" => ("value float64?", column(seed, number, vectors::finite)),
        "explode" => ("items list<float64>?", column(seed, number, |draws| vectors::lists(draws, vectors::floats))),
        "fail" => ("value int64?", column(seed, number, vectors::ints)),
        "echo" => {
            let mut draws = Draws::new(seed);
            (EVERY, (0..number).map(|_| vectors::every(&mut draws)).collect())
        }
        "sessions" => ("time timestamp?", (0..).take(number).map(|row| vec![vectors::second(row * 17)]).collect()),
        _ => ("text utf8?", column(seed, number, vectors::words)),
    }
}

/// FNV-1a of whatever there is to say.
fn digest(said: &impl std::fmt::Debug) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    format!("{said:?}").bytes().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// What one transform makes of its rows, cut into batches.
fn transformed(language: &Language, name: &str) -> Vec<Row> {
    let (given, input) = input(name, 300);
    let given = fields(given);
    let bound = language.component.transform(Some(name), &given, "{}", LIMITS).unwrap();
    let mut instance = bound.create().unwrap();
    let mut out = Vec::new();
    for (from, to) in cuts(&mut Draws::new(5), input.len(), 90) {
        let done = instance.apply(&columns(&given, &input[from..to]));
        out.extend(rows(&done.unwrap_or_else(|error| panic!("{} {name}: {error}", language.name)).output));
    }
    out
}

/// All states of one aggregate after each call, and what they come to.
fn folded(language: &Language, name: &str) -> Vec<Vec<Row>> {
    let (given, input) = input(name, 300);
    let given = fields(given);
    let bound = language.component.aggregate(Some(name), &given, "{}", LIMITS).unwrap();
    let mut instance = bound.create().unwrap();
    let mut state = instance.initial(4).unwrap();
    let mut out = vec![rows(&state)];
    let panicked = |error: &dyn std::fmt::Display| -> ! { panic!("{} {name}: {error}", language.name) };
    let keep = |out: &mut Vec<Vec<Row>>, columns: &Columns| out.push(rows(columns));
    for (from, to) in cuts(&mut Draws::new(6), input.len(), 90) {
        let groups: Vec<u32> = (0..).take(to - from).map(|row: u32| row % 4).collect();
        let done = instance.update(state, &groups, &columns(&given, &input[from..to]));
        state = done.unwrap_or_else(|error| panicked(&error)).state;
        keep(&mut out, &state);
    }
    let merged = instance.merge(state.clone(), &[1, 1, 3, 0], &state).unwrap_or_else(|error| panicked(&error));
    keep(&mut out, &merged);
    keep(&mut out, &instance.evaluate(&merged, &[0; 4], &[9; 4]).unwrap_or_else(|error| panicked(&error)));
    out
}

/// Tells a process that asks for it what every UDF of every language makes of the same events; to others it says nothing.
#[test]
fn a_process_tells() {
    if env::var_os(TELL).is_none() {
        return;
    }
    for language in languages() {
        for name in language.component.transforms() {
            let out = transformed(language, name);
            assert!(!out.is_empty(), "{name}");
            println!("{TOLD}{} {name} {:016x} {:?}", language.name, digest(&out), out[0]);
        }
        for name in language.component.aggregates() {
            let out = folded(language, name);
            println!("{TOLD}{} {name} {:016x} {:?}", language.name, digest(&out), out[out.len() - 1][0]);
        }
    }
}

fn told() -> Vec<String> {
    let test = "conformance::determinism::a_process_tells";
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(TELL, "1").stdin(Stdio::null());
    let done = command.output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    // The harness may have begun the line.
    said.lines().filter_map(|line| Some(line.split_once(TOLD)?.1.to_owned())).collect()
}

#[test]
fn two_processes_give_the_same_bytes_and_keep_the_same_states() {
    // So that only one process compiles what is not compiled yet.
    let udfs: usize =
        languages().iter().map(|one| one.component.transforms().len() + one.component.aggregates().len()).sum();
    let (first, second) = (told(), told());
    assert_eq!(first.len(), udfs, "{first:#?}");
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first, second);
    }
    assert_eq!(second.len(), udfs);
}

/// What a language says of chance in its first row, to see that it was asked at all.
#[test]
fn clocks_stand_still_where_there_are_any() {
    for language in languages() {
        let said = format!("{:?}", transformed(language, "chance")[0]);
        let clock = match language.name.as_str() {
            "python" => "1970-01-01 00:00:00",
            "javascript" => "1970-01-01T00:00:00.000Z",
            "go" => "1970-01-01 00:00:01",
            "c" | "cpp" => " 1 1.000000000 ",
            // It has no clock at all.
            "rust" => "",
            other => panic!("what does the clock of {other} say? {said}"),
        };
        println!("{}: {said}", language.name);
        assert!(said.contains(clock), "{}: {said}", language.name);
        assert!(said.len() > 20, "{}: {said}", language.name);
        // Whoever draws again in the same process, from an instance of its own, draws the same.
        assert_eq!(transformed(language, "chance"), transformed(language, "chance"), "{}", language.name);
    }
}
