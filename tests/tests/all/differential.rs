//! Random events through random views: what comes out is what a plain engine computes that keeps every row.
//!
//! Each case is two streams and a project of some ten views, run in this process with random numbers of shards and rows
//! a batch. A short run has the same cases every time; `MILLRACE_SOAK` says how many new ones to draw: `make soak`. A
//! failure shrinks, and prints the project and the streams that it comes down to.

mod interleaving;
mod reference;
mod streams;
mod views;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millrace::config::plan::{OutputTarget, Plan, plan};
use millrace::config::read_text;
use millrace::room::Reserve;
use millrace::sink::Sink;
use millrace::sink::json_lines::JsonLinesSink;
use millrace::store::StoreError;
use millrace::store::dead_letter::{DeadLetterWriter, Limits};
use millrace::store::online::{OnlineBatch, OnlineWriter};
use millrace::store::state::StateStore;
use millrace::time::{Clock, ManualClock, SystemClock};
use millrace::topology::keeper::Summary;
use millrace::topology::outlets::Outlets;
use millrace::topology::resume::{Differences, Resume, differences};
use millrace::topology::{self, Memory, Start, State};
use millrace::wasm::{Engine, EngineOptions};
use millrace_tests::patience::{START, wait_for};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde_json::Value;
use tokio::sync::watch;

use interleaving::{IDLE, NOW, Pace, Story, opener};
use reference::{Expected, Given, expected, same_rows};
use streams::{Event, Fields, Stream, partitions, stream};
use views::{Feature, From, View, Window, views};

/// How many cases a short run has, those with every number of shards and rows a batch, and those that are cut short.
const CASES: u32 = 150;
const PERMUTED: u32 = 12;
const CUT: u32 = 60;

/// How many cases of one view.
const SMALL: u32 = 2_000;

/// How many cases are run in three interleavings.
const INTERLEAVED: u32 = 60;

/// How many cases are run with less memory than their state takes, and how many of them in three interleavings.
const PAGED: u32 = 60;
const PAGED_INTERLEAVED: u32 = 30;

/// So little memory: all that is not worked on lies on disk; some of it does; hardly any.
const MEMORY: [u64; 3] = [1, 16 << 10, 256 << 10];

/// How many cases run at once.
const THREADS: u8 = 6;

const SHARDS: [usize; 3] = [1, 2, 5];
const BATCHES: [usize; 3] = [1, 7, 1024];

/// The views are not online.
struct Nowhere;

impl OnlineWriter for Nowhere {
    fn write(&mut self, _: &OnlineBatch) -> Result<(), StoreError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A row that came out: the key, the time in microseconds, the features.
type Came = BTreeMap<(String, i64), Vec<Vec<Value>>>;

fn project(sources: &[Stream; 2], views: &[View]) -> String {
    let mut text = "[project]\nname = \"differential\"\n[entities.key]\nkeys = { k = \"utf8\" }\n".to_owned();
    for (name, source) in ["a", "b"].iter().zip(sources) {
        writeln!(
            text,
            "[sources.{name}]\ntype = \"file\"\npath = \"{name}.jsonl\"\n\
             schema = {{ at = \"timestamp\", k = \"utf8\", v = \"int64\", x = \"float64\", s = \"utf8\", big = \"int64\",\
             c = {{ type = \"timestamp\", format = \"epoch-millis\" }} }}\n\
             event-time = {{ column = \"at\", format = \"epoch-millis\" }}\nwatermark-delay = \"{}ms\"\n\
             idle-timeout = \"{IDLE}\"",
            source.delay
        )
        .unwrap();
        if source.created {
            text.push_str("created = \"c\"\n");
        }
    }
    (0..).zip(views).for_each(|(number, view)| text.push_str(&view.toml(number)));
    text
}

/// One engine and one runtime for all runs.
fn shared() -> &'static (Engine, tokio::runtime::Runtime) {
    static SHARED: OnceLock<(Engine, tokio::runtime::Runtime)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        (Engine::new(EngineOptions::default()).unwrap(), runtime.unwrap())
    })
}

/// The project, planned: once for all its runs.
fn planned(folder: &Path, text: &str) -> Arc<Plan> {
    let (project, text) = read_text("millrace.toml", text.to_owned(), folder, &|_| None, &[])
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    Arc::new(plan(&project, &text, &shared().0).unwrap_or_else(|error| panic!("{error}")))
}

/// How a run is cut short: after so many milliseconds, and whether it is told so or just ends.
#[derive(Clone, Copy, Debug)]
struct Cut {
    after: u64,
    crash: bool,
}

/// How a case is run.
#[derive(Clone, Debug)]
struct Way {
    shards: usize,
    batch: usize,
    feed: Feed,
    /// How many bytes of state are in memory; none: all of it.
    memory: Option<u64>,
    /// What comes before it goes through: the shards of what comes after a cut are one more each.
    cuts: Vec<Cut>,
}

/// How the events come.
#[derive(Clone, Debug)]
enum Feed {
    /// From the files that the project names.
    Files,
    /// Given at this pace, with `max-skew` in milliseconds.
    Given(Pace, Option<u64>),
}

impl Way {
    fn straight(shards: usize, batch: usize) -> Self {
        Self { shards, batch, feed: Feed::Files, memory: None, cuts: Vec::new() }
    }
}

/// Runs the project in the folder; what came out of each view, and how the last run ended.
fn run(folder: &Path, plan: &Arc<Plan>, sources: &[Stream; 2], way: &Way) -> (Vec<Came>, Summary) {
    let data = tempfile::tempdir_in(folder).unwrap();
    for (number, cut) in way.cuts.iter().enumerate() {
        run_once(data.path(), plan, sources, &Way { shards: way.shards + number, ..way.clone() }, Some(*cut));
    }
    let last = Way { shards: way.shards + way.cuts.len(), ..way.clone() };
    let summary = run_once(data.path(), plan, sources, &last, None).expect("nothing has cut it");
    let came = plan.views.iter().map(|view| came(&folder.join(format!("{}.jsonl", view.name)))).collect();
    (came, summary)
}

/// The state, once whatever crashed has let go of it: its threads end a little later.
fn opened(folder: &Path) -> StateStore {
    wait_for("the state", START, || StateStore::open(folder, "differential").ok())
}

/// One run, from the last checkpoint on; how it ended, unless it crashed. A way without cuts keeps no state.
fn run_once(data: &Path, plan: &Arc<Plan>, sources: &[Stream; 2], way: &Way, cut: Option<Cut>) -> Option<Summary> {
    let limits = Limits { max_bytes: 1 << 20, max_age: Duration::from_secs(3_600) };
    let (mut state, mut marks) = (None, BTreeMap::new());
    if !way.cuts.is_empty() {
        let mut store = opened(&data.join("state"));
        let recovery = store.recover().unwrap();
        let epoch = recovery.next_epoch - 1;
        let resume = recovery.commit.as_ref().map(|commit| {
            assert_eq!(differences(plan, commit), Differences::default());
            Resume::from_commit(plan, &store, commit, epoch, way.memory.map(|memory| memory / 8)).unwrap()
        });
        let resume = resume.unwrap_or_else(|| Resume { epoch, ..Resume::default() });
        let before = recovery.commit;
        marks = before.as_ref().map(|commit| commit.outputs.clone()).unwrap_or_default();
        let term = store.next_term().unwrap();
        state = Some(State { store, term, resume, before, input: None, followed: None });
    }
    let outputs = plan.views.iter().map(|view| {
        let sinks = view.outputs.iter().map(|output| {
            let OutputTarget::File(path) = &output.target else { panic!("an output of another kind") };
            let length = marks.get(&path.display().to_string()).copied().unwrap_or(0);
            Sink::File(JsonLinesSink::resume(path, length).unwrap().with_form(output.form.clone()))
        });
        sinks.collect()
    });
    let outlets = Outlets {
        online: Box::new(Nowhere),
        filler: None,
        log: None,
        dead_letters: DeadLetterWriter::open(&data.join("dead-letters"), limits).unwrap(),
        outputs: outputs.collect(),
        services: Vec::new(),
        outbox: None,
        publishing: None,
    };
    shared().1.block_on(async {
        let stands = Arc::new(ManualClock::new(NOW));
        let (clock, opener, max_skew): (Arc<dyn Clock>, _, _) = match &way.feed {
            Feed::Files => (Arc::new(SystemClock), None, None),
            Feed::Given(pace, skew) => (stands.clone(), Some(opener(sources, pace.clone(), stands)), *skew),
        };
        // Its own: the threads of a run that crashed live on for a while.
        let spill = tempfile::tempdir_in(data).unwrap().keep();
        let running = topology::start(Start {
            plan: plan.clone(),
            workers: way.shards,
            batch_rows: way.batch,
            max_skew: max_skew.map(Duration::from_millis),
            memory: way.memory.map(|limit| Memory { limit, folder: spill }),
            interval: if cut.is_some() { Duration::from_millis(2) } else { Duration::from_secs(60) },
            stop_timeout: Duration::from_secs(60),
            until_idle: None,
            outlets,
            clock,
            opener,
            state,
            reserve: Reserve::new(0),
            udfs: std::collections::BTreeMap::new(),
        });
        let running = running.unwrap();
        let (stop, stopped) = watch::channel(false);
        let after = |cut: Cut| tokio::time::sleep(Duration::from_millis(cut.after));
        match cut {
            Some(cut) if cut.crash => tokio::select! {
                ended = running.wait(stopped) => Some(ended.unwrap()),
                () = after(cut) => None,
            },
            Some(cut) => {
                let stopping = async {
                    after(cut).await;
                    stop.send_replace(true);
                };
                Some(tokio::join!(running.wait(stopped), stopping).0.unwrap())
            }
            None => Some(running.wait(stopped).await.unwrap()),
        }
    })
}

fn came(file: &Path) -> Came {
    let mut came = Came::new();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let Value::Object(mut row) = serde_json::from_str(line).unwrap() else { panic!("no object: {line}") };
        let key = row.shift_remove("k").and_then(|key| key.as_str().map(ToOwned::to_owned));
        let time = row.shift_remove("at").and_then(|time| time.as_i64());
        let values = row.into_iter().map(|(_, value)| value).collect();
        came.entry((key.unwrap(), time.unwrap())).or_default().push(values);
    }
    came
}

/// What is wrong with what came out of a view that gives a row at each step, or nothing.
fn compare(view: &View, wanted: &[Given], mut came: Came) -> Result<(), String> {
    let mut groups: BTreeMap<(String, i64), Vec<&Given>> = BTreeMap::new();
    for given in wanted {
        groups.entry((given.key.clone(), given.time * 1_000)).or_default().push(given);
    }
    for (place, wanted) in groups {
        let mut rows = came.remove(&place).unwrap_or_default();
        let wrong = |rows: &[Vec<Value>]| Err(format!("{place:?}: wanted {wanted:?}, came {rows:?}, of {view:?}"));
        if wanted.iter().all(|given| given.optional) && rows.is_empty() {
            continue;
        }
        if wanted.iter().any(|given| given.again) {
            // Of rows that come again the last counts.
            rows.drain(..rows.len().saturating_sub(1));
        }
        let written = |values: &Vec<Value>| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut values: Vec<Vec<Value>> = wanted.iter().map(|given| given.values.clone()).collect();
        if values.len() > 1 {
            values.sort_by_key(written);
            rows.sort_by_key(written);
        }
        if rows.len() != values.len() || !rows.iter().zip(&values).all(|(row, values)| same_rows(row, values)) {
            return wrong(&rows);
        }
    }
    if came.is_empty() { Ok(()) } else { Err(format!("nobody wanted {came:?} of {view:?}")) }
}

/// Writes the files that the sources are read from where nothing else gives their events.
fn write(folder: &Path, sources: &[Stream; 2]) {
    for (name, source) in ["a.jsonl", "b.jsonl"].iter().zip(sources) {
        std::fs::write(folder.join(name), source.texts().concat()).unwrap();
    }
}

fn check(sources: &[Stream; 2], views: &[View], ways: &[Way]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), sources);
    let text = project(sources, views);
    let plan = planned(folder.path(), &text);
    let Expected { views: wanted, dead } = expected(sources, views);
    for way in ways {
        let (came, summary) = run(folder.path(), &plan, sources, way);
        let fail = |detail: String| {
            let [a, b] = sources;
            let (a, b) = (a.texts().join("---\n"), b.texts().join("---\n"));
            TestCaseError::fail(format!("{way:?}: {detail}\n{text}\na:\n{a}\nb:\n{b}"))
        };
        prop_assert!(summary.stopped.is_empty(), "{:?}\n{text}", summary.stopped);
        for (number, ((view, wanted), came)) in views.iter().zip(&wanted).zip(came).enumerate() {
            compare(view, wanted, came).map_err(|detail| fail(format!("view{number}: {detail}")))?;
        }
        if !way.cuts.is_empty() {
            // Each of the runs has its own letters.
            continue;
        }
        if summary.dead != dead {
            return Err(fail(format!("dead letters: wanted {dead:?}, came {:?}", summary.dead)));
        }
    }
    Ok(())
}

/// Runs so many cases, or those of a soak; the short ones are drawn alike every time, each thread's its own.
fn runner(short: u32, thread: u8) -> TestRunner {
    let soak: Option<u32> = std::env::var("MILLRACE_SOAK").ok().and_then(|cases| cases.parse().ok());
    let cases = soak.unwrap_or(short).div_ceil(u32::from(THREADS));
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        max_shrink_time: 30_000,
        ..Config::default()
    };
    match soak {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[thread; 32])),
    }
}

fn streams(most: usize) -> impl Strategy<Value = [Stream; 2]> {
    (stream(most, false), stream(most, true)).prop_map(|(a, b)| [a, b])
}

/// Runs the cases on several threads, since a run mostly waits for its own threads.
fn through<S>(short: u32, strategy: impl Fn() -> S + Sync)
where
    S: Strategy<Value = ([Stream; 2], Vec<View>, Vec<Way>)>,
{
    let some = |thread: u8| {
        let result = runner(short, thread).run(&strategy(), |(sources, views, ways)| check(&sources, &views, &ways));
        // The message holds all that there is to know: the values themselves would only say it again.
        match result {
            Ok(()) => None,
            Err(TestError::Fail(reason, _)) => Some(reason.to_string()),
            Err(error) => Some(error.to_string()),
        }
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || some(thread))).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

fn way() -> impl Strategy<Value = Way> {
    let (shards, batches) = (prop::sample::select(SHARDS.to_vec()), prop::sample::select(BATCHES.to_vec()));
    (shards, batches).prop_map(|(shards, batch)| Way::straight(shards, batch))
}

#[test]
fn what_comes_out_is_what_a_plain_engine_computes() {
    through(CASES, || (streams(60), views(24), way().prop_map(|way| vec![way])));
}

/// Many streams through one view each, beside the few through many.
#[test]
fn one_view_gives_what_a_plain_engine_computes() {
    through(SMALL, || (streams(40), views(1), way().prop_map(|way| vec![way])));
}

#[test]
fn a_run_that_is_cut_short_goes_on_where_it_was() {
    let cut = || (0_u64..30, any::<bool>()).prop_map(|(after, crash)| Cut { after, crash });
    let cuts = move || prop::collection::vec(cut(), 1..4);
    let ways = move || (way(), cuts()).prop_map(|(way, cuts)| vec![Way { cuts, ..way }]);
    through(CUT, || (streams(120), views(12), ways()));
}

fn memory() -> impl Strategy<Value = Option<u64>> {
    prop::sample::select(MEMORY.to_vec()).prop_map(Some)
}

#[test]
fn how_much_of_the_state_is_in_memory_changes_nothing() {
    let cut = || (0_u64..60, any::<bool>()).prop_map(|(after, crash)| Cut { after, crash });
    let cuts = move || prop::collection::vec(cut(), 0..3);
    let ways = move || (way(), cuts(), memory()).prop_map(|(way, cuts, memory)| vec![Way { cuts, memory, ..way }]);
    through(PAGED, || (streams(120), views(12), ways()));
}

#[test]
fn nor_does_it_where_partitions_come_and_pause() {
    let paged = |(sources, ways): ([Stream; 2], Vec<Way>), memory: Option<u64>| {
        (sources, ways.into_iter().map(|way| Way { memory, ..way }).collect::<Vec<_>>())
    };
    let interleaved = move || (interleaved(20), memory()).prop_map(move |(case, memory)| paged(case, memory));
    through(PAGED_INTERLEAVED, || {
        (interleaved(), views(12)).prop_map(|((sources, ways), views)| (sources, views, ways))
    });
}

#[test]
fn shards_and_batches_change_nothing() {
    let ways: Vec<_> = SHARDS.iter().flat_map(|shards| BATCHES.map(|batch| Way::straight(*shards, batch))).collect();
    through(PERMUTED, || (streams(120), views(12), Just(ways.clone())));
}

/// Two streams of several partitions, and three ways in which their events come: in an order in which partitions fall
/// silent until they are idle and wake, in any other order, and all at once, with pauses and some held back by `max-skew`.
fn interleaved(most: usize) -> impl Strategy<Value = ([Stream; 2], Vec<Way>)> {
    let way = || (prop::sample::select(SHARDS.to_vec()), prop::sample::select(BATCHES.to_vec()), any::<u64>());
    let skew = prop::option::of(prop::sample::select(vec![1_u64, 500, 5_000, 60_000]));
    (partitions(1..=4, most, false), partitions(1..=3, most, true), way(), way(), way(), skew).prop_map(
        |(a, b, first, second, third, skew)| {
            let way = |(shards, batch, _), feed| Way { feed, ..Way::straight(shards, batch) };
            let (story, sources) = Story::with_silence([a, b], first.2);
            let other = Story::of(&sources, second.2);
            let ways = vec![
                way(first, Feed::Given(Pace::InTurns(story), None)),
                way(second, Feed::Given(Pace::InTurns(other), None)),
                way(third, Feed::Given(Pace::Freely(third.2), skew)),
            ];
            (sources, ways)
        },
    )
}

#[test]
fn the_order_in_which_partitions_come_and_pauses_change_nothing() {
    through(INTERLEAVED, || (interleaved(20), views(12)).prop_map(|((sources, ways), views)| (sources, views, ways)));
}

/// Rows of key `k0` at these times.
fn at(times: &[i64]) -> Stream {
    let row = |at: &i64| Event::Row(Fields { key: Some(0), at: *at, v: Some(1), x: None, s: None, big: None, c: None });
    Stream { delay: 0, created: false, partitions: vec![times.iter().map(row).collect()] }
}

/// A view of `a` that counts, and one of that view that sums its counts: the last one's rows at one row and at 1,024 rows a batch.
fn cut(times: &[i64], windows: [Window; 2]) -> [Came; 2] {
    let [inner, outer] = windows;
    let views = [View::counting(From::A, inner), View::counting(From::View(0), outer)];
    let sources = [at(times), at(&[])];
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &sources);
    let plan = planned(folder.path(), &project(&sources, &views));
    [1, 1024].map(|batch| run(folder.path(), &plan, &sources, &Way::straight(1, batch)).0.pop().unwrap())
}

/// After the window was empty at 4,750 a row behind the watermark comes, and the window that it has left is given again:
/// that is not what the row after the empty one is held against.
#[test]
fn the_row_after_an_empty_window_is_given_whatever_is_given_again() {
    let window = Window::Grid { size: 4_000, step: 1_000, offset: 750 };
    let view = View { lateness: 6_500, ..View::counting(From::A, window) };
    let sources = [Stream { delay: 2_000, ..at(&[0, 2_000, 6_000, 7_000, -2_000]) }, at(&[])];
    let other = |event: &mut Event| match event {
        Event::Row(fields) if matches!(fields.at, 2_000 | 7_000) => fields.key = Some(1),
        _ => {}
    };
    let [mut a, b] = sources;
    a.partitions[0].iter_mut().for_each(other);
    let view = [view, View::counting(From::B, Window::Latest)];
    check(&[a, b], &view, &[1, 1_024].map(|batch| Way::straight(1, batch))).unwrap();
}

/// The feature's own window fires at every other end of the view's. When the row of 400 comes it has left all windows
/// by 4,500: the row that says so is the last one, though the feature's next end is only 6,500.
#[test]
fn a_row_behind_gives_no_row_after_it_has_left_all_windows() {
    let grid = |size, step| Window::Grid { size, step, offset: 500 };
    let mut view = View { lateness: 5_000, skip_unchanged: false, ..View::counting(From::A, grid(4_000, 1_000)) };
    let own = Feature { window: Some(grid(3_000, 2_000)), ..view.features[0].clone() };
    view.features.push(own);
    let mut a = at(&[7_000, 400]);
    if let Some(Event::Row(fields)) = a.partitions[0].first_mut() {
        fields.key = Some(1);
    }
    check(
        &[a, at(&[])],
        &[view, View::counting(From::B, Window::Latest)],
        &[1, 1_024].map(|batch| Way::straight(1, batch)),
    )
    .unwrap();
}

/// The inner window `[0, 2000)` has fired or not when the row of 1,500 comes: so the row is late there, though two more
/// windows hold it.
#[test]
fn a_view_of_a_sliding_view_does_not_depend_on_batches() {
    let inner = Window::Grid { size: 4_000, step: 1_000, offset: 0 };
    let outer = Window::Over { range: None, rows: None };
    let [one, many] = cut(&[1_000, 2_500, 1_500, 9_000], [inner, outer]);
    assert_eq!(one, many);
}

/// A view without a window knows no lateness, but `over` behind it does: the row of 1,000 is late there.
#[test]
fn over_a_view_of_all_rows_does_not_depend_on_batches() {
    let [one, many] = cut(&[2_000, 5_000, 1_000], [Window::Latest, Window::Over { range: None, rows: None }]);
    assert_eq!(one, many);
}
