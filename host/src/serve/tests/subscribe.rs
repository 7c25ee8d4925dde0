//! Rows to subscribers.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::fixture::{Server, Setup};
use crate::serve::Limits;
use crate::sink::Sink;
use crate::sink::json_lines::RowForm;
use crate::sink::subscribers::{Hub, QUEUE, StreamKind};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn setup(limits: Limits) -> Setup {
    let hub = Hub::new([
        (StreamKind::View, "cards".to_owned(), Some(RowForm::default())),
        (StreamKind::View, "silent".to_owned(), None),
        (StreamKind::Service, "model".to_owned(), Some(RowForm::default())),
    ]);
    Setup { hub: Arc::new(hub), limits, ..Setup::feast() }
}

fn feed(setup: &Setup, kind: StreamKind, name: &str) -> Sink {
    Sink::Subscribers(setup.hub.feed(kind, name).unwrap())
}

async fn connect(server: &Server, query: &str) -> Result<Client, Error> {
    connect_async(format!("ws://{}/v1/subscribe?{query}", server.address)).await.map(|(client, _)| client)
}

fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    RecordBatch::try_from_iter([("n", numbers)]).unwrap()
}

/// All rows until the close, with its code and reason.
async fn hear(client: &mut Client) -> (Vec<String>, Option<(u16, String)>) {
    let mut heard = Vec::new();
    let all = async {
        loop {
            match client.next().await {
                Some(Ok(Message::Text(text))) => heard.push(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    let end = timeout(Duration::from_secs(20), all).await.expect("an end");
    (heard, end)
}

#[tokio::test]
async fn a_subscriber_hears_rows_until_there_are_no_more() {
    let setup = setup(Limits::default());
    let server = setup.start().await;
    let mut cards = feed(&setup, StreamKind::View, "cards");
    let mut model = feed(&setup, StreamKind::Service, "model");
    let mut final_rows = connect(&server, "view=cards").await.unwrap();
    let mut all_rows = connect(&server, "view=cards&updates=true").await.unwrap();
    let mut combined = connect(&server, "service=model").await.unwrap();
    cards.write(&rows(0..2), None).unwrap();
    cards.show(&rows(2..3)).unwrap();
    model.write(&rows(9..10), None).unwrap();
    drop((cards, model));
    let finished = Some((1000, "there are no more rows".to_owned()));
    assert_eq!(hear(&mut final_rows).await, (vec![r#"{"n":0}"#.into(), r#"{"n":1}"#.into()], finished.clone()));
    let provisional = r#"{"n":2,"__provisional":true}"#;
    assert_eq!(hear(&mut all_rows).await.0, [r#"{"n":0}"#, r#"{"n":1}"#, provisional]);
    assert_eq!(hear(&mut combined).await, (vec![r#"{"n":9}"#.into()], finished));
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_and_told() {
    let setup = setup(Limits::default());
    let server = setup.start().await;
    let mut cards = feed(&setup, StreamKind::View, "cards");
    let mut slow = connect(&server, "view=cards").await.unwrap();
    let mut quick = connect(&server, "view=cards").await.unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 20)]));
    let row = RecordBatch::try_from_iter([("text", text)]).unwrap();
    // What the sockets' buffers take, and then the queue.
    let count = 3 * QUEUE / (1 << 20) + 32;
    for _ in 0..count {
        cards.write(&row, None).unwrap();
        let frame = timeout(Duration::from_secs(10), quick.next()).await.expect("a row").unwrap().unwrap();
        assert_eq!(frame.len(), (1 << 20) + 11);
    }
    let (heard, end) = hear(&mut slow).await;
    assert!(heard.len() < count, "{} rows", heard.len());
    assert_eq!(end, Some((1008, "cut off: too slow for these rows, which nobody holds back".to_owned())));
    drop(cards);
    assert_eq!(hear(&mut quick).await.1.map(|(code, _)| code), Some(1000));
}

#[tokio::test]
async fn what_cannot_be_listened_to_is_said_with_the_fix() {
    let server = setup(Limits::default()).start().await;
    let cases = [
        ("", 422, "bad-subscription", "say what to listen to: ?view=NAME or ?service=NAME"),
        ("view=a&service=b", 422, "bad-subscription", "one view or one service at a time"),
        ("view=cards&updates=yes", 422, "bad-subscription", "updates=yes is neither true nor false"),
        ("service=model&updates=true", 422, "bad-subscription", "a service has no provisional rows"),
        ("views=cards", 422, "bad-subscription", "there is no parameter views"),
        ("view=card", 404, "unknown-stream", "there is no view card; did you mean cards?"),
        ("service=cards", 404, "unknown-stream", "there is no service cards"),
        ("view=silent", 422, "not-listened-to", "add output = { type = \"websocket\" } to [views.silent]"),
        ("view=cards", 426, "websocket-only", "connect with ws://"),
    ];
    for (query, status, code, message) in cases {
        let answer = server.request("GET", &format!("/v1/subscribe?{query}"), b"").await;
        assert_eq!((answer.status, super::code(&answer).1.as_str()), (status, code), "{query}");
        assert!(answer.body.contains(&message.replace('"', "\\\"")), "{query}: {}", answer.body);
    }
}

#[tokio::test]
async fn subscribers_are_limited_and_the_server_stops_with_them() {
    let setup = setup(Limits { subscribers: 1, ..Limits::default() });
    let server = setup.start().await;
    let _cards = feed(&setup, StreamKind::View, "cards");
    let mut first = connect(&server, "view=cards").await.unwrap();
    let Err(Error::Http(refusal)) = connect(&server, "view=cards").await else { panic!("one is the most") };
    assert_eq!(refusal.status(), 503);
    first.send(Message::text("anything")).await.unwrap();
    first.close(None).await.unwrap();
    while let Some(Ok(_)) = first.next().await {}
    let mut second = loop {
        match connect(&server, "view=cards").await {
            Ok(client) => break client,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    };
    server.stop.send_replace(true);
    assert_eq!(hear(&mut second).await.1, Some((1001, "Millrace stops".to_owned())));
    timeout(Duration::from_secs(5), server.ended()).await.expect("the server ends").unwrap();
}

#[tokio::test]
async fn a_subscriber_that_is_gone_without_a_word_is_noticed() {
    let setup = setup(Limits { quiet: Duration::from_millis(100), ..Limits::default() });
    let server = setup.start().await;
    let _cards = feed(&setup, StreamKind::View, "cards");
    // It never reads, so it never answers a ping.
    let mut silent = connect(&server, "view=cards").await.unwrap();
    sleep(Duration::from_millis(500)).await;
    let ended = timeout(Duration::from_secs(5), async { while let Some(Ok(_)) = silent.next().await {} }).await;
    ended.expect("the connection ends");
}
