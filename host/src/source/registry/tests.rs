use std::sync::Mutex as StdMutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::batch::BatchBuilder;
use super::super::contract::{self, Stage};
use super::super::push;
use super::*;
use crate::record::Origin;

/// A registry that answers paths with what it is told to, and remembers who asked for what.
#[derive(Clone, Default)]
struct Fake {
    answers: Arc<StdMutex<HashMap<String, (u16, String)>>>,
    asked: Arc<StdMutex<Vec<Asked>>>,
}

/// The path that was asked for, and who asked.
type Asked = (String, Option<String>);

impl Fake {
    fn answer(&self, path: &str, status: u16, body: &str) {
        self.answers.lock().unwrap().insert(path.into(), (status, body.into()));
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    /// Answers on a port of its own, or on `port`.
    async fn serve(&self, port: u16) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fake = self.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap();
                let path = request.split(' ').nth(1).unwrap().to_owned();
                let who = request.lines().find_map(|line| line.strip_prefix("authorization: ")).map(ToOwned::to_owned);
                let answer = fake.answers.lock().unwrap().get(&path).cloned();
                fake.asked.lock().unwrap().push((path, who));
                let (status, body) = answer.unwrap_or((404, "<html>".into()));
                let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
        });
        port
    }
}

fn registry(port: u16, user: &str) -> Registry {
    Registry::new(&Options { url: format!("http://{user}127.0.0.1:{port}/api/"), kind: "AVRO" }).unwrap()
}

fn batch(ids: &[u8]) -> RawBatch {
    let mut builder = BatchBuilder::new(Origin::default(), 100);
    builder.push(b"no frame", 0, 0);
    ids.iter().for_each(|id| builder.push(&[0, 0, 0, 0, *id, 7], 0, 0));
    builder.take().unwrap()
}

#[tokio::test]
async fn schemas_are_fetched_once_with_what_they_refer_to() {
    let fake = Fake::default();
    fake.answer("/api/schemas/ids/1", 200, r#"{"schema": "\"string\""}"#);
    let two = r#"{"schema": "two", "schemaType": "AVRO", "references": [
        {"name": "a.A", "subject": "a/x", "version": 3}, {"name": "b.B", "subject": "b", "version": 1}]}"#;
    fake.answer("/api/schemas/ids/2", 200, two);
    let a = r#"{"schema": "a", "references": [{"name": "b.B", "subject": "b", "version": 1}]}"#;
    fake.answer("/api/subjects/a%2Fx/versions/3", 200, a);
    fake.answer("/api/subjects/b/versions/1", 200, r#"{"schema": "b"}"#);
    fake.answer("/api/schemas/ids/3", 404, r#"{"error_code": 40403, "message": "Schema 3 not found"}"#);
    fake.answer("/api/schemas/ids/4", 200, r#"{"schema": "message X {}", "schemaType": "PROTOBUF"}"#);
    let registry = registry(fake.serve(0).await, "me:p%40ss@");
    let stage = Stage::new(8);
    let context = stage.context();
    let known = registry.resolve(&batch(&[2, 1, 2, 3, 4]), &context).await;
    let text = |id: u32| known[&id].as_ref().map(|schema| schema.text.as_str());
    assert_eq!((text(1), text(2)), (Ok("\"string\""), Ok("two")));
    let references = [("b.B".to_owned(), "b".to_owned()), ("a.A".to_owned(), "a".to_owned())];
    assert_eq!(known[&2].as_ref().unwrap().references, references);
    assert_eq!(text(3).unwrap_err(), "the schema registry has no schema 3: Schema 3 not found");
    assert_eq!(text(4).unwrap_err(), "schema 4 is PROTOBUF, and the source is AVRO");
    let asked = fake.asked().len();
    registry.resolve(&batch(&[1, 2, 3, 4]), &context).await;
    assert_eq!((asked, fake.asked().len()), (6, 6));
    assert!(fake.asked.lock().unwrap().iter().all(|(_, who)| who.as_deref() == Some("Basic bWU6cEBzcw==")));
}

#[tokio::test]
async fn rows_wait_for_a_registry_that_is_away() {
    let fake = Fake::default();
    // A port that nobody listens on yet.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let registry = Arc::new(registry(port, ""));
    let stage = Stage::new(8);
    let context = stage.context();
    let resolving = tokio::spawn(async move { registry.resolve(&batch(&[1]), &context).await });
    sleep(Duration::from_millis(300)).await;
    fake.serve(port).await;
    sleep(Duration::from_millis(600)).await;
    fake.answer("/api/schemas/ids/1", 500, "{}");
    sleep(Duration::from_millis(600)).await;
    assert!(!resolving.is_finished() && !fake.asked().is_empty());
    fake.answer("/api/schemas/ids/1", 200, r#"{"schema": "at last"}"#);
    let known = timeout(Duration::from_secs(20), resolving).await.unwrap().unwrap();
    assert_eq!(known[&1].as_ref().unwrap().text, "at last");
}

#[tokio::test]
async fn a_source_with_a_registry_keeps_the_contract_of_sources() {
    let fake = Fake::default();
    let port = fake.serve(0).await;
    contract::holds(move |stage, events| {
        stage.run(move |mut context| {
            context.registry = Some(Arc::new(registry(port, "")));
            let (handle, queue) = push::channel();
            tokio::spawn(async move {
                for chunk in events.chunks(101) {
                    if handle.send(chunk.to_vec()).await.is_err() {
                        return;
                    }
                }
            });
            push::run(push::Options { queue, first: 0 }, context)
        });
    })
    .await;
}

#[tokio::test]
async fn a_source_stops_though_its_registry_is_away() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut stage = Stage::new(8);
    let (handle, queue) = push::channel();
    stage.run(|mut context| {
        context.registry = Some(Arc::new(registry(port, "")));
        push::run(push::Options { queue, first: 0 }, context)
    });
    stage.take_partitions().await;
    let sending = tokio::spawn(async move { handle.send(vec![Bytes::from_static(&[0, 0, 0, 0, 1])]).await });
    sleep(Duration::from_millis(200)).await;
    stage.stop().await.unwrap();
    assert!(sending.await.unwrap().is_err());
}

#[test]
fn urls_say_where_and_who() {
    let server = |url: &str| Server::new(url);
    let plain = server("http://registry").unwrap();
    assert_eq!((plain.host.as_str(), plain.port, plain.path.as_str()), ("registry", 80, ""));
    assert!(plain.authorization.is_none());
    assert_eq!(server("http://[::1]:8081/x/").unwrap().path, "/x");
    assert!(server("https://registry").unwrap_err().contains("TLS"));
    for url in ["registry:8081", "ftp://x", "http://", "", "http://a b"] {
        assert!(server(url).is_err(), "{url}");
    }
}
