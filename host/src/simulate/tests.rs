use std::path::Path;

use clap::Parser;
use futures_util::StreamExt;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};

use super::cards::Cards;
use super::stream::Kind;
use super::*;
use crate::time::{ManualClock, SECOND};

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    args: SimulateArgs,
}

fn plan(line: &str) -> Result<(Target, Options), String> {
    let line = std::iter::once("simulate").chain(line.split(' '));
    let args = CommandLine::try_parse_from(line).map_err(|error| error.to_string())?.args;
    let options = args.plan(&ManualClock::new(7 * SECOND)).map_err(|error| error.to_string())?;
    Ok((options.streams[0].0.clone(), options))
}

async fn simulate(line: &str) -> Result<Summary, SimulateError> {
    let (_, options) = plan(line).unwrap();
    let stop = watch::Sender::new(false);
    timeout(Duration::from_secs(30), run(options, stop.subscribe())).await.expect("the stream ends")
}

fn expected(events: u64) -> Vec<String> {
    let mut cards = Cards::new(&cards::Options { events: Some(events), ..cards::Options::default() }).unwrap();
    let mut out = Vec::new();
    while cards.write_next(&mut out).is_some() {}
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

/// An address that nobody listens on.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn the_command_line_says_what_is_simulated() {
    let (target, options) = plan("--events 2000000 --to file:transactions.jsonl").unwrap();
    assert_eq!(target, Target::File(Path::new("transactions.jsonl").into()));
    let shape = cards::Options { events: Some(2_000_000), ..cards::Options::default() };
    assert_eq!(options.streams[0].1, stream::Options { kind: Kind::Cards, shape });
    assert_eq!(options.speed, None);
    let (target, options) =
        plan("--duration 90s --rate 10 --start now --speed 60 --disorder 5s --to listen:ws://[::1]:7001/a/b").unwrap();
    assert_eq!(target, Target::Listen { address: "[::1]:7001".into(), path: "/a/b".into() });
    assert_eq!(
        (options.streams[0].1.shape.events, options.streams[0].1.shape.start, options.speed),
        (Some(900), 7 * SECOND, Some(60.0))
    );
    assert_eq!(options.streams[0].1.shape.disorder, 5 * SECOND);
    let shape = |line: &str| {
        let stream = plan(line).unwrap().1.streams.remove(0).1;
        (stream.kind, stream.shape.cards, stream.shape.rate)
    };
    assert_eq!(shape("--kind drivers --to -"), (Kind::Drivers, 100, 10));
    assert_eq!(shape("--kind trades --keys 7 --rate 1 --to -"), (Kind::Trades, 7, 1));
    assert_eq!(shape("--cards 5 --to -"), (Kind::Cards, 5, 1_000));
    let kafka = Target::Kafka { brokers: "a:1,b:2".into(), topic: "t".into() };
    assert_eq!(
        (plan("--to kafka:a:1,b:2/t").unwrap().0, plan("--to kafka://a:1,b:2/t").unwrap().0),
        (kafka.clone(), kafka)
    );
    assert_eq!(plan("--to -").unwrap().0, Target::Stdout);
    assert_eq!(plan("--to ws://h/p").unwrap().0, Target::Connect { url: "ws://h/p".into() });
    for (line, cause) in [
        ("--to elsewhere", "a target is file:PATH"),
        ("--to kafka:a:1", "a target is file:PATH"),
        ("--to - --start yesterday", "a time is 2025-01-01T00:00:00Z, or now"),
        ("--kind trade --to -", "similar value exists: 'trades'"),
        ("--kind book --kind trades --to -", "--kind is there 2 times and --to 1 times"),
        ("--to - --speed 0", "greater than 0"),
        ("--to - --speed NaN", "greater than 0"),
        ("--to - --events 1 --duration 1s", "cannot be used with"),
    ] {
        let error = plan(line).unwrap_err();
        assert!(error.contains(cause), "{error}");
    }
}

#[tokio::test]
async fn a_file_holds_the_whole_stream() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("transactions.jsonl");
    let summary = simulate(&format!("--events 20000 --to file:{}", path.display())).await.unwrap();
    let content = std::fs::read_to_string(&path).unwrap();
    assert!(content.lines().map(str::to_owned).eq(expected(20_000)));
    let until = cards::START + 19_999 * 1_000;
    assert_eq!(summary, Summary { events: 20_000, bytes: u64::try_from(content.len()).unwrap(), until });
    let error = simulate(&format!("--to file:{}", path.display())).await.unwrap_err().to_string();
    assert!(error.contains("a file needs an end: give --events or --duration"), "{error}");
    let error = simulate(&format!("--events 1 --to file:{}", folder.path().display())).await.unwrap_err().to_string();
    assert!(error.contains("Is a directory"), "{error}");
}

#[tokio::test]
async fn a_paced_stream_keeps_to_the_clock_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut options) = plan(&format!("--events 1 --to file:{}/t", folder.path().display())).unwrap();
    options.streams[0].1.shape.events = Some(1_000_000);
    options.speed = Some(10.0);
    let stop = watch::Sender::new(false);
    let running = tokio::spawn(run(options, stop.subscribe()));
    sleep(Duration::from_millis(500)).await;
    stop.send_replace(true);
    let summary = timeout(Duration::from_secs(2), running).await.expect("the stop is heard").unwrap().unwrap();
    assert!((2_000..=8_000).contains(&summary.events), "{} events in half a second at 10,000 a second", summary.events);
}

#[tokio::test]
async fn clients_get_the_stream_and_a_close_at_its_end() {
    let address = free_address();
    let url = format!("ws://{address}/transactions");
    let running =
        tokio::spawn(
            async move { simulate(&format!("--events 5000 --once --to listen:{address}/transactions")).await },
        );
    let mut socket = loop {
        match connect_async(&url).await {
            Ok((socket, _)) => break socket,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    };
    let refused = connect_async(url.replace("transactions", "elsewhere")).await.unwrap_err().to_string();
    assert!(refused.contains("404"), "{refused}");
    let mut heard = Vec::new();
    let mut closed = false;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => heard.push(text.to_string()),
            Message::Close(_) => closed = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(closed);
    assert_eq!(heard, expected(5_000));
    assert_eq!(running.await.unwrap().unwrap().events, 5_000);
}

#[tokio::test]
async fn the_stream_rests_while_no_client_is_there() {
    let address = free_address();
    let url = format!("ws://{address}/t");
    let running =
        tokio::spawn(async move { simulate(&format!("--events 20000 --once --to listen:{address}/t")).await });
    let connect = || async {
        loop {
            match connect_async(&url).await {
                Ok((socket, _)) => return socket,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let mut first = connect().await;
    assert_eq!(first.next().await.unwrap().unwrap(), Message::text(expected(1).remove(0)));
    drop(first);
    sleep(Duration::from_millis(200)).await;
    assert!(!running.is_finished());
    let mut last = None;
    let mut second = connect().await;
    while let Some(Ok(message)) = second.next().await {
        last = message.is_text().then(|| message.to_string()).or(last);
    }
    assert_eq!(last, expected(20_000).pop(), "the second client hears the rest");
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_comes_later_gets_the_whole_stream() {
    let address = free_address();
    let line = format!("--events 5000 --to ws://{address}/ingest");
    let running = tokio::spawn(async move { simulate(&line).await });
    sleep(Duration::from_millis(100)).await;
    let listener = TcpListener::bind(&address).await.unwrap();
    let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
    let mut heard = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        heard.extend(message.is_text().then(|| message.to_string()));
    }
    assert_eq!(heard, expected(5_000));
    assert_eq!(running.await.unwrap().unwrap().events, 5_000);
}

#[tokio::test]
async fn a_server_that_goes_away_ends_the_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let line = format!("--to ws://{}/ingest", listener.local_addr().unwrap());
    let running = tokio::spawn(async move { simulate(&line).await });
    let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
    socket.next().await.unwrap().unwrap();
    socket.close(None).await.unwrap();
    drop(socket);
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, SimulateError::Target { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_gets_the_stream_keyed_by_card() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("cards", 3, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let summary = simulate(&format!("--events 3000 --cards 50 --to kafka:{brokers}/cards")).await.unwrap();
    assert_eq!(summary.events, 3_000);
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &brokers).set("group.id", "test").create().unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..3 {
        partitions.add_partition_offset("cards", partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut heard = 0;
    let mut homes = std::collections::HashMap::new();
    while heard < 3_000 {
        let message = consumer.poll(Duration::from_secs(10)).expect("an event").unwrap();
        let line: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        let key = std::str::from_utf8(message.key().unwrap()).unwrap().to_owned();
        assert_eq!(key, line["cc_num"].to_string());
        assert_eq!(*homes.entry(key).or_insert(message.partition()), message.partition(), "a card keeps its partition");
        heard += 1;
    }
    assert_eq!(homes.len(), 50);
    assert!((0..3).all(|partition| homes.values().any(|&home| home == partition)));
}

#[tokio::test]
async fn several_streams_go_together_and_may_share_an_address() {
    let address = free_address();
    let url = format!("ws://{address}");
    let streams = format!("--kind book --to listen:{address}/book --kind trades --to listen:{address}/trades");
    let running = tokio::spawn(async move { simulate(&format!("--duration 5s --once {streams}")).await });
    let connect = |path: &str| {
        let url = format!("{url}{path}");
        async move {
            loop {
                match connect_async(&url).await {
                    Ok((socket, _)) => return socket,
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
        }
    };
    let (book, trades) = (connect("/book").await, connect("/trades").await);
    let refused = connect_async(format!("{url}/elsewhere")).await.unwrap_err().to_string();
    assert!(refused.contains("404"), "{refused}");
    let hear = async |socket: WebSocketStream<MaybeTlsStream<TcpStream>>| {
        let texts = socket.filter_map(async |message| message.ok().filter(Message::is_text));
        texts.map(|text| serde_json::from_str(&text.to_string()).unwrap()).collect::<Vec<serde_json::Value>>().await
    };
    let (books, trades) = tokio::join!(hear(book), hear(trades));
    assert_eq!((books.len(), trades.len()), (500, 100));
    assert!(books.iter().all(|book| book["bids"].is_array()) && trades.iter().all(|trade| trade["side"].is_string()));
    assert_eq!(running.await.unwrap().unwrap().events, 600);
    let twice = format!("--kind book --to listen:{address}/a --kind trades --to listen:{address}/a --events 1");
    let error = simulate(&twice).await.unwrap_err().to_string();
    assert!(error.contains("another stream is at /a already"), "{error}");
}
