use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use arrow::array::{ArrayRef, Int64Array, StringArray};

use super::*;

fn hub() -> Hub {
    Hub::new([
        (StreamKind::View, "on".to_owned(), Some(RowForm::default())),
        (StreamKind::View, "off".to_owned(), None),
        (StreamKind::Service, "on".to_owned(), Some(RowForm::default())),
    ])
}

fn rows(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    RecordBatch::try_from_iter([("n", numbers)]).unwrap()
}

/// What is there now; nothing if one would have to wait.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn heard(subscription: &mut Subscription) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(Ok(frames)) = now(subscription.next()) {
        heard.extend(frames.rows().iter().map(|row| String::from_utf8(row.to_vec()).unwrap()));
    }
    heard
}

#[test]
fn everybody_hears_what_comes_after_they_came() {
    let hub = hub();
    let feed = hub.feed(StreamKind::View, "on").unwrap();
    feed.write(&rows([0]), None).unwrap();
    let mut early = hub.subscribe(StreamKind::View, "on", false).unwrap();
    feed.write(&rows([1, 2]), None).unwrap();
    let mut late = hub.subscribe(StreamKind::View, "on", true).unwrap();
    feed.write(&rows([3, 4, 5]), Some(&BooleanArray::from(vec![false, true, false]))).unwrap();
    feed.write_updates(&rows([6])).unwrap();
    assert_eq!(heard(&mut early), [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#, r#"{"n":5}"#]);
    assert_eq!(heard(&mut late), [r#"{"n":3}"#, r#"{"n":5}"#, r#"{"n":6,"__provisional":true}"#]);
    drop(feed);
    assert_eq!(now(early.next()).unwrap().unwrap_err(), End::Finished);
    let mut after = hub.subscribe(StreamKind::View, "on", false).unwrap();
    assert_eq!(now(after.next()).unwrap().unwrap_err(), End::Finished);
}

#[test]
fn nothing_is_done_while_nobody_listens() {
    let hub = hub();
    let feed = hub.feed(StreamKind::Service, "on").unwrap();
    // Rows that could not even be written.
    let broken: ArrayRef = Arc::new(arrow::array::Int16Array::from(vec![1]));
    let broken = RecordBatch::try_from_iter([("n", broken)]).unwrap();
    feed.write(&broken, None).unwrap();
    let subscription = hub.subscribe(StreamKind::Service, "on", false).unwrap();
    feed.write_updates(&broken).unwrap();
    feed.write(&broken, None).unwrap_err();
    drop(subscription);
    feed.write(&broken, None).unwrap();
}

#[test]
fn who_does_not_keep_up_is_cut_off_and_the_others_are_not() {
    let hub = hub();
    let feed = hub.feed(StreamKind::View, "on").unwrap();
    let mut slow = hub.subscribe(StreamKind::View, "on", false).unwrap();
    let mut quick = hub.subscribe(StreamKind::View, "on", false).unwrap();
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(QUEUE / 2 - 100)]));
    let long = RecordBatch::try_from_iter([("text", long)]).unwrap();
    for _ in 0..3 {
        feed.write(&long, None).unwrap();
        assert_eq!(heard(&mut quick).len(), 1);
        assert!(now(slow.cut_off()).is_none(), "three halves are the limit and one batch");
    }
    feed.write(&long, None).unwrap();
    assert_eq!(heard(&mut quick).len(), 1);
    assert!(now(slow.cut_off()).is_some());
    assert_eq!(now(slow.next()).unwrap().unwrap_err(), End::CutOff);
    // One batch alone never does it, however large.
    let mut patient = hub.subscribe(StreamKind::View, "on", false).unwrap();
    let huge: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(2 * QUEUE)]));
    feed.write(&RecordBatch::try_from_iter([("text", huge)]).unwrap(), None).unwrap();
    assert_eq!(heard(&mut patient).len(), 1);
    feed.write(&long, None).unwrap();
    assert_eq!(heard(&mut patient).len(), 1, "what was taken counts no more");
}

#[test]
fn a_stream_that_is_off_is_told_from_one_that_is_not_there() {
    let hub = hub();
    assert_eq!(hub.subscribe(StreamKind::View, "off", false).unwrap_err(), NoStream::Off);
    assert_eq!(hub.subscribe(StreamKind::View, "none", false).unwrap_err(), NoStream::Unknown);
    assert_eq!(hub.subscribe(StreamKind::Service, "off", false).unwrap_err(), NoStream::Unknown);
    assert!(hub.names(StreamKind::View).eq(["on", "off"]));
}
