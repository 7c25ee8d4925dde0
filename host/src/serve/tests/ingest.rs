//! Events over a WebSocket that Millrace accepts.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::fixture::{Server, Setup};
use crate::serve::Limits;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(server: &Server, path: &str) -> Result<Client, Error> {
    connect_async(format!("ws://{}{path}", server.address)).await.map(|(client, _)| client)
}

/// The code that the server closes with; none where it just goes.
async fn farewell(client: &mut Client) -> Option<u16> {
    let waiting = async {
        loop {
            match client.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    timeout(Duration::from_secs(10), waiting).await.expect("a farewell")
}

async fn until(setup: &Setup, events: usize) -> Vec<String> {
    let waiting = async {
        loop {
            let seen = setup.store.events.lock().unwrap().clone();
            if seen.len() >= events {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.expect("all events arrive")
}

#[tokio::test]
async fn text_binary_and_lines_arrive_in_order() {
    let setup = Setup::feast();
    let server = setup.start().await;
    let mut client = connect(&server, "/ingest/events").await.unwrap();
    client.send(Message::text("{\"a\":1}")).await.unwrap();
    client.send(Message::binary(&b"{\"a\":2}"[..])).await.unwrap();
    client.send(Message::Ping("x".into())).await.unwrap();
    client.send(Message::text("{\"a\":3}\n{\"a\":4}\n")).await.unwrap();
    assert_eq!(until(&setup, 4).await, [1, 2, 3, 4].map(|n| format!("{{\"a\":{n}}}")));
    for n in 0..10_000 {
        client.feed(Message::text(n.to_string())).await.unwrap();
    }
    client.close(None).await.unwrap();
    let seen = until(&setup, 10_004).await;
    assert!(seen[4..].iter().enumerate().all(|(n, event)| *event == n.to_string()));
}

#[tokio::test]
async fn a_stop_says_good_bye() {
    let setup = Setup::feast();
    let server = setup.start().await;
    let mut client = connect(&server, "/ingest/events").await.unwrap();
    server.stop.send(true).unwrap();
    assert_eq!(farewell(&mut client).await, Some(1001));
    timeout(Duration::from_secs(5), server.ended()).await.expect("sockets do not hold the server").unwrap();
}

#[tokio::test]
async fn what_came_before_a_bad_message_is_kept() {
    let limits = Limits { message: 1_000, ..Limits::default() };
    let setup = Setup { limits, ..Setup::feast() };
    let server = setup.start().await;
    let mut client = connect(&server, "/ingest/events").await.unwrap();
    client.feed(Message::text("good")).await.unwrap();
    client.send(Message::text("x".repeat(1_001))).await.unwrap();
    let end = farewell(&mut client).await;
    assert!(matches!(end, None | Some(1008)), "{end:?}");
    assert_eq!(until(&setup, 1).await, ["good"]);
    // The next connection is served.
    let mut client = connect(&server, "/ingest/events").await.unwrap();
    client.send(Message::text("more")).await.unwrap();
    assert_eq!(until(&setup, 2).await, ["good", "more"]);
}

#[tokio::test]
async fn a_source_that_takes_nothing_closes_the_connection() {
    let setup = Setup::feast();
    setup.store.close_pushes();
    let server = setup.start().await;
    let mut client = connect(&server, "/ingest/events").await.unwrap();
    client.send(Message::text("{}")).await.unwrap();
    assert_eq!(farewell(&mut client).await, Some(1013));
}

#[tokio::test]
async fn a_source_without_room_is_waited_for() {
    let setup = Setup::feast();
    setup.store.be_full(true);
    let server = setup.start().await;
    let mut client = connect(&server, "/ingest/events").await.unwrap();
    for n in 0..3 {
        client.send(Message::text(n.to_string())).await.unwrap();
    }
    assert!(timeout(Duration::from_millis(300), client.next()).await.is_err(), "nothing is said");
    assert!(setup.store.events.lock().unwrap().is_empty());
    setup.store.be_full(false);
    assert_eq!(until(&setup, 3).await, ["0", "1", "2"]);
    setup.store.be_full(true);
    client.send(Message::text("3")).await.unwrap();
    server.stop.send(true).unwrap();
    let end = farewell(&mut client).await;
    assert!(matches!(end, Some(1001 | 1013)), "{end:?}");
}

#[tokio::test]
async fn connections_are_bounded_and_silent_ones_given_up() {
    let limits = Limits { sockets: 1, quiet: Duration::from_millis(50), ..Limits::default() };
    let server = Setup { limits, ..Setup::feast() }.start().await;
    // Never read, so that no pong goes out.
    let silent = connect(&server, "/ingest/events").await.unwrap();
    let refused = connect(&server, "/ingest/events").await;
    assert!(matches!(&refused, Err(Error::Http(answer)) if answer.status() == 503), "{refused:?}");
    let next = async {
        loop {
            match connect(&server, "/ingest/events").await {
                Ok(client) => return client,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let mut client = timeout(Duration::from_secs(10), next).await.expect("the silent one's place becomes free");
    // One that reads answers the pings, and stays.
    let ended = async { while let Some(Ok(_)) = client.next().await {} };
    assert!(timeout(Duration::from_millis(400), ended).await.is_err(), "it answers, and is closed all the same");
    drop(silent);
}

#[tokio::test]
async fn other_paths_are_no_endpoints() {
    let server = Setup::feast().start().await;
    let refused = connect(&server, "/ingest/other").await;
    assert!(matches!(&refused, Err(Error::Http(answer)) if answer.status() == 404), "{refused:?}");
}
