use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server;

use super::super::contract::{self, Stage};
use super::*;

/// A server that sends the messages of `script`, a list a connection, and closes after each but the last.
fn serve(script: Vec<Vec<Message>>) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/cards", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    let (said, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let last = script.len();
        for (number, messages) in script.into_iter().enumerate() {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = Arc::new(Mutex::new(String::new()));
            #[expect(clippy::result_large_err, reason = "the library's own signature")]
            let look = |request: &server::Request, response: server::Response| {
                let key = request.headers().get("api-key").map(|key| key.to_str().unwrap().to_owned());
                *seen.lock().unwrap() = format!("{} {}", request.uri().path(), key.unwrap_or_default());
                Ok(response)
            };
            let mut socket = accept_hdr_async(stream, look).await.unwrap();
            said.send(seen.lock().unwrap().clone()).ok();
            let mut open = true;
            for message in messages {
                open = open && socket.feed(message).await.is_ok();
            }
            open = open && socket.flush().await.is_ok();
            if open && number + 1 < last {
                socket.close(None).await.ok();
            }
            while let Some(Ok(message)) = socket.next().await {
                said.send(message.to_string()).ok();
            }
            said.send("gone".into()).ok();
        }
    });
    (url, heard)
}

#[tokio::test]
async fn keeps_the_contract_of_sources() {
    contract::holds(|stage, events| {
        let messages = events.into_iter().map(|event| Message::text(String::from_utf8(event.to_vec()).unwrap()));
        let (url, _) = serve(vec![messages.collect()]);
        stage.run(|context| run(Options::new(url), context));
    })
    .await;
}

#[tokio::test]
async fn frames_of_both_kinds_and_of_several_lines_are_events() {
    let lines: String = (0..100).map(|line| format!("{line}\n")).collect();
    let (url, mut heard) = serve(vec![vec![
        Message::text("a"),
        Message::binary(&b"b"[..]),
        Message::Ping(Bytes::from_static(b"are you there")),
        Message::text(" \n"),
        Message::text(lines),
    ]]);
    let mut stage = Stage::new(16);
    let options = Options { first: 7, send: vec!["subscribe".into()], ..Options::new(url) };
    let options = Options { headers: vec![("api-key".into(), "secret".into())], ..options };
    stage.run(|context| run(options, context));
    let seen = stage.take(102).await;
    let payloads: Vec<_> = seen.events(0).iter().map(|(_, payload)| payload.clone()).collect();
    assert_eq!(&payloads[..3], ["a", "b", "0"]);
    assert_eq!(payloads[101], "99");
    assert!(seen.events(0).iter().map(|(offset, _)| *offset).eq(7..109));
    assert_eq!(heard.recv().await.as_deref(), Some("/cards secret"));
    assert_eq!(heard.recv().await.as_deref(), Some("subscribe"));
    assert_eq!(heard.recv().await.as_deref(), Some("are you there"), "the pong");
    stage.stop().await.unwrap();
    let goodbye = [heard.recv().await, heard.recv().await];
    assert_eq!(goodbye[1].as_deref(), Some("gone"), "{goodbye:?}");
}

#[tokio::test]
async fn a_lone_frame_goes_out_at_once() {
    let (url, _) = serve(vec![vec![Message::text("alone")]]);
    let mut stage = Stage::new(1024);
    stage.run(|context| run(Options::new(url), context));
    assert_eq!(stage.take(1).await.events(0), [(0, "alone".into())]);
    stage.stop().await.unwrap();
}

#[tokio::test]
async fn a_closed_connection_is_made_again_and_numbers_run_on() {
    let (url, _) = serve(vec![vec![Message::text("a")], vec![], vec![Message::text("b")]]);
    let mut stage = Stage::new(1024);
    stage.run(|context| run(Options::new(url), context));
    assert_eq!(stage.take(2).await.events(0), [(0, "a".into()), (1, "b".into())]);
    stage.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for_and_a_stop_heard_meanwhile() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut stage = Stage::new(1024);
    stage.run(|context| run(Options::new(format!("ws://127.0.0.1:{port}/")), context));
    sleep(Duration::from_millis(300)).await;
    assert_eq!(stage.take(0).await.events(0), []);
    stage.stop().await.unwrap();
}

#[tokio::test]
async fn a_frame_beyond_the_limit_ends_the_connection_and_no_more() {
    let (url, _) = serve(vec![vec![Message::text("x".repeat(2000))], vec![Message::text("b")]]);
    let mut stage = Stage::new(1024);
    stage.run(|context| run(Options { max_frame: 1000, ..Options::new(url) }, context));
    assert_eq!(stage.take(1).await.events(0), [(0, "b".into())]);
    stage.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_refused() {
    let header = |name: &str, value: &str| Options {
        headers: vec![(name.into(), value.into())],
        ..Options::new("ws://127.0.0.1/")
    };
    for (options, cause) in [
        (Options::new("wss://host/"), "TLS is not spoken here"),
        (Options::new("http://host/"), "an address begins with ws://"),
        (Options::new("cards"), "cards: "),
        (header("a b", "c"), "header \"a b\""),
        (header("key", "se\ncret"), "value of header key"),
    ] {
        let stage = Stage::new(8);
        stage.run(|context| run(options, context));
        let error = stage.ended().await.unwrap_err().to_string();
        assert!(error.contains(cause) && !error.contains("cret"), "{error}");
    }
}

#[tokio::test]
async fn frames_may_be_events_as_a_whole() {
    let frames: [&'static [u8]; 3] = [b"\n\xff\n", b"a\nb", b" "];
    let (url, _) = serve(vec![frames.iter().map(|frame| Message::binary(*frame)).collect()]);
    let mut stage = Stage::new(1024);
    stage.run(|context| run(Options { whole: true, ..Options::new(url) }, context));
    let seen = stage.take(3).await;
    assert!(seen.events(0).iter().map(|(_, payload)| &payload[..]).eq(frames));
}
