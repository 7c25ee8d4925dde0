use std::collections::HashSet;

use super::*;

#[derive(serde::Deserialize)]
struct Line {
    tid: String,
    datetime: i64,
    cc_num: i64,
    amount: f64,
    merchant: String,
}

fn lines(options: Options) -> Vec<Line> {
    let (mut cards, mut out) = (Cards::new(&options).unwrap(), Vec::new());
    while cards.write_next(&mut out).is_some() {}
    assert_eq!(out.last(), Some(&b'\n'));
    out.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[test]
fn the_same_options_give_the_same_bytes() {
    let mut cards = Cards::new(&Options { events: Some(10_000), ..Options::default() }).unwrap();
    let mut out = Vec::new();
    assert_eq!(cards.write_next(&mut out), Some(Transaction { time: START, card: 4_444_589_943_435_832 }));
    let first = std::str::from_utf8(&out).unwrap();
    let expected = r#"{"tid":"6c3b9aa7-67f7-85b5-37c0-d8ba5fa54677","datetime":1735689600000,"cc_num":4444589943435832,"amount":58.31,"merchant":"HARDWARE DEPOT*2378  SAN FRANCISCO CA REF BRXK9V24CWQ8"}"#;
    assert_eq!(first.trim_end(), expected);
    while cards.write_next(&mut out).is_some() {}
    assert_eq!(xxhash_rust::xxh3::xxh3_64(&out), 0x641afd6b3d3b4453);
    assert!((185..195).contains(&(out.len() / 10_000)), "{} bytes a line", out.len() / 10_000);
}

#[test]
fn the_seed_changes_everything_but_the_times() {
    let events = |seed| lines(Options { events: Some(100), seed, ..Options::default() });
    let (one, two) = (events(1), events(2));
    assert!(one.iter().zip(&two).all(|(one, two)| one.datetime == two.datetime && one.tid != two.tid));
    assert!(one.iter().zip(&two).any(|(one, two)| one.cc_num != two.cc_num));
}

#[test]
fn transactions_are_what_they_claim_to_be() {
    let events = 20_000;
    let lines = lines(Options { events: Some(events), cards: 500, ..Options::default() });
    assert_eq!(lines.len(), 20_000);
    let start = START / MILLISECOND;
    assert!(lines.iter().zip(0..).all(|(line, number)| line.datetime == start + number), "1,000 a second");
    let cards: HashSet<_> = lines.iter().map(|line| line.cc_num).collect();
    assert_eq!(cards, (0..500).map(number).collect(), "every card pays, and no other");
    let tids: HashSet<_> = lines.iter().map(|line| &line.tid).collect();
    assert_eq!((tids.len(), tids.iter().all(|tid| tid.len() == 36)), (20_000, true));
    let checks = lines.iter().filter(|line| line.amount == 0.0).count();
    assert!((50..200).contains(&checks), "{checks} card checks");
    assert!(lines.iter().all(|line| (0.0..2_000.0).contains(&line.amount)));
    let merchants: HashSet<_> = lines.iter().map(|line| &line.merchant).collect();
    assert!(merchants.len() > 19_900, "hardly one merchant is written twice alike");
}

#[test]
fn rates_that_do_not_divide_a_second_keep_their_mean() {
    let mut cards = Cards::new(&Options { rate: 7, events: Some(15), start: 0, ..Options::default() }).unwrap();
    let mut times = Vec::new();
    while let Some(time) = cards.upcoming() {
        times.push(time);
        cards.write_next(&mut Vec::new());
    }
    assert_eq!((times[0], times[1], times[7], times[14]), (0, 142_857, SECOND, 2 * SECOND));
    assert!(cards.write_next(&mut Vec::new()).is_none());
}

#[test]
fn disorder_holds_events_back_and_no_further_than_it_says() {
    let disorder = 5 * SECOND;
    let lines = lines(Options { events: Some(20_000), disorder, ..Options::default() });
    let behind: Vec<_> =
        lines.iter().zip(0..).map(|(line, number)| START / MILLISECOND + number - line.datetime).collect();
    assert!(behind.iter().all(|behind| (0..=5_000).contains(behind)));
    assert!(behind.iter().any(|&behind| behind > 4_500) && behind.iter().any(|&behind| behind < 500));
}

#[test]
fn skew_favours_some_cards() {
    let share = |skew| {
        let lines = lines(Options { events: Some(10_000), cards: 100, skew, ..Options::default() });
        let favoured: HashSet<_> = (0..10).map(number).collect();
        lines.iter().filter(|line| favoured.contains(&line.cc_num)).count()
    };
    assert!((800..1_200).contains(&share(0)));
    assert!((4_000..5_500).contains(&share(5)));
}

#[test]
fn options_that_make_no_stream_are_refused() {
    for options in [
        Options { cards: 0, ..Options::default() },
        Options { rate: 0, ..Options::default() },
        Options { disorder: -1, ..Options::default() },
    ] {
        assert!(Cards::new(&options).is_err());
    }
}
