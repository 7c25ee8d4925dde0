//! What a hostile guest costs its neighbours: how long the workload of [`cards`] takes while another view of the same source runs
//! a guest of `udfs/hostile`, beside a guest of the same shape with nothing wrong, and beside none.
//!
//! A fault shows in one row of a thousand, so that each has to be found, or in every call, so that the guest does nothing else.
//! All limits are on, and rows at fault go to the dead letters; a view whose faults cost too much stops, and the others go on.
//! The kinds take turns, so that what else the machine does meets all of them. Prints events a second of the good view, the
//! ratios' medians, and the longest that it stood still. Needs `make guests`; MILLRACE_BENCH_EVENTS says how many
//! events, MILLRACE_BENCH_ROUNDS how many rounds, and an argument which faults.

mod cards;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cards::{Failure, Keep};
use millrace::wasm::{Engine, EngineOptions};

/// The allocator of the `millrace` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The view beside, which gives every row on and keeps none.
const NEIGHBOUR: &str = r#"
[udfs.neighbour]
component = "hostile_faults.wasm#@fault"
options = { when = "@when" }
limits = { time = "@time" }
[views.neighbour]
entity = "card"
from = "transactions"
transform = [{ udf = "neighbour", input = { value = "CASE WHEN tid LIKE '%7f0' OR tid LIKE '%ab1' OR tid LIKE '%0c2' OR tid LIKE '%3d4' THEN 'poison' ELSE merchant END" } }]
online = false
offline = false
features = { copied = { expr = "copied" } }
"#;

/// What runs beside.
const NEIGHBOURS: [(&str, &str); 14] = [
    ("honest", "poison"),
    ("trap", "poison"),
    ("trap", "always"),
    ("endless_loop", "poison"),
    ("endless_loop", "always"),
    ("memory_bomb", "poison"),
    ("memory_bomb", "always"),
    ("log_flood", "poison"),
    ("log_flood", "always"),
    ("output_giant", "poison"),
    ("deep_recursion", "poison"),
    ("utf8_invalid", "poison"),
    ("slow", "poison"),
    ("error", "poison"),
];

/// Fewer events are over before there is anything to see.
const MANY: u64 = 2_000_000;

/// What one call of the neighbour may take.
const TIME: &str = "100ms";

/// One way to run: its events a second, and how long the good view stood still at most.
#[derive(Default)]
struct Seen {
    rates: Vec<f64>,
    still: Vec<Duration>,
    ended: String,
}

fn median<T: PartialOrd + Copy>(values: &[T]) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    sorted.get(sorted.len() / 2).copied()
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn main() -> Result<(), Failure> {
    let events = cards::events().max(MANY);
    let rounds = number("MILLRACE_BENCH_ROUNDS", 3);
    let time = std::env::var("MILLRACE_BENCH_TIME").unwrap_or_else(|_| TIME.to_owned());
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = tempfile::tempdir()?;
    let file = cards::prepare(folder.path(), events, cards::RECORDED)?;
    let hostile = cards::components().join("hostile_faults.wasm");
    std::fs::copy(&hostile, folder.path().join("hostile_faults.wasm"))?;
    let engine = Engine::new(EngineOptions::default())?;

    let mut kinds: Vec<_> = vec![("none".to_owned(), String::new())];
    for (fault, when) in NEIGHBOURS {
        let name = if fault == "honest" { fault.to_owned() } else { format!("{fault}, {when}") };
        if fault == "honest" || wanted.as_ref().is_none_or(|wanted| name.contains(wanted.as_str())) {
            let text = NEIGHBOUR.replace("@fault", fault).replace("@when", when).replace("@time", &time);
            kinds.push((name, text));
        }
    }
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    for round in 0..rounds {
        for (name, neighbour) in &kinds {
            let run = run(folder.path(), &engine, neighbour)?;
            let rate = events as f64 / run.took.as_secs_f64();
            let (seen, ended) = (seen.entry(name).or_default(), ended(&run.summary));
            eprintln!("round {round}: {name:24} {:.2} M events/s, still for {:.2?}; {ended}", rate / 1e6, run.still);
            seen.rates.push(rate);
            seen.still.push(run.still);
            seen.ended = ended;
        }
    }
    std::fs::remove_file(file)?;
    let of = |name: &str| seen.get(name).map(|seen| seen.rates.clone()).unwrap_or_default();
    let ratio = |rates: &[f64], to: &[f64]| {
        let ratios: Vec<_> = rates.iter().zip(to).map(|(rate, to)| rate / to).collect();
        median(&ratios).unwrap_or(f64::NAN)
    };
    println!("| beside | M events a second | of beside none | of beside `honest` | stood still | |");
    println!("|---|---|---|---|---|---|");
    for (name, _) in &kinds {
        let Some(Seen { rates, still, ended }) = seen.get(name.as_str()) else { continue };
        let rate = median(rates).unwrap_or(f64::NAN) / 1e6;
        let (none, honest) = (ratio(rates, &of("none")), ratio(rates, &of("honest")));
        let still = median(still).unwrap_or_default();
        println!("| {name} | {rate:.2} | {none:.2} | {honest:.2} | {still:.2?} | {ended} |");
    }
    Ok(())
}

fn run(folder: &Path, engine: &Engine, neighbour: &str) -> Result<cards::Run, Failure> {
    cards::run_beside(folder, engine, cards::RECORDED, Keep { interval: None, state: false }, neighbour)
}

/// What became of the neighbour.
fn ended(summary: &millrace::topology::keeper::Summary) -> String {
    let dead: u64 = summary.dead.values().sum();
    let how = if summary.stopped.is_empty() { "ran to the end" } else { "stopped" };
    format!("{how}, {dead} dead letters")
}
