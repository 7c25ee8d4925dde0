//! Versions that come over HTTP: what is put in, and what leaves nothing behind.

use super::*;
use crate::store::registry::{Digest, MOST_BYTES};

/// A project with one UDF, whose components are any bytes but `bad`.
pub(super) struct Paper;

impl Inventory for Paper {
    fn udfs(&self) -> Vec<UdfUse> {
        let digest = Some(Digest::of(b"one").to_string());
        vec![UdfUse { name: "distance".into(), component: "d.wasm".into(), digest, ..UdfUse::default() }]
    }

    fn views(&self) -> Vec<ViewDetail> {
        let columns = vec![ColumnDetail { name: "n".into(), kind: "int64".into() }];
        let (version, digests) = ("v".into(), vec!["d".into()]);
        vec![ViewDetail { name: "totals".into(), entity: None, columns, online: true, offline: true, version, digests }]
    }

    fn judge(&self, udf: &str, component: &std::path::Path) -> Result<Judged, String> {
        assert_eq!(udf, "distance");
        match std::fs::read(component).unwrap().as_slice() {
            b"bad" => Err("it is no component".into()),
            _ => Ok(Judged { signature: "transform distance".into(), limits: "all".into() }),
        }
    }
}

async fn upload(server: &Server, path: &str, body: &str) -> (u16, Value) {
    let head = format!("POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}", body.len());
    ask(server.address, format!("{head}\r\n\r\n{body}")).await
}

#[tokio::test]
async fn a_version_is_put_in_once_and_listed() {
    let server = server(&[]).await;
    let path = "/v1/udfs/distance/versions";
    let (status, first) = upload(&server, &format!("{path}?name=v1&why=first%20try"), "one").await;
    assert_eq!((status, &first["name"], &first["active"]), (201, &json!("v1"), &json!(true)), "{first}");
    assert_eq!(first["digest"], Digest::of(b"one").as_str());
    assert_eq!((&first["who"], &first["why"], &first["size"]), (&json!("operator"), &json!("first try"), &json!(3)));
    assert_eq!(
        (&first["when"], &first["signature"]),
        (&json!("1970-01-01T00:01:40.000Z"), &json!("transform distance"))
    );
    assert_eq!(upload(&server, &format!("{path}?name=v1"), "one").await, (200, first.clone()));
    assert_eq!(upload(&server, path, "one").await, (200, first.clone()));
    let (status, second) = upload(&server, path, "two").await;
    assert_eq!((status, &second["name"], &second["active"]), (201, &Value::Null, &json!(false)));
    let (_, list) = server.get(path).await;
    assert_eq!(list, json!({"udf": "distance", "versions": [first, second], "activations": []}));
    let (_, udfs) = server.get("/v1/udfs").await;
    assert_eq!((&udfs["udfs"][0]["version"], &udfs["udfs"][0]["versions"]), (&json!("v1"), &json!(2)), "{udfs}");
    let (_, views) = server.get("/v1/views").await;
    assert_eq!(views["views"][0]["columns"][0], json!({"name": "n", "type": "int64"}));
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let server = server(&[]).await;
    let path = "/v1/udfs/distance/versions";
    upload(&server, &format!("{path}?name=v1"), "one").await;
    let long = format!("{path}?name={}", "x".repeat(65));
    let why = format!("{path}?why={}", "x".repeat(20_000));
    for (path, body, status, code) in [
        ("/v1/udfs/distanec/versions", "two", 404, "no-such-udf"),
        ("/v1/udfs//versions", "two", 404, "no-such-udf"),
        (&format!("{path}?colour=red"), "two", 422, "bad-version"),
        (&format!("{path}?name=a%20b"), "two", 422, "bad-version"),
        (&format!("{path}?name=abcdef"), "two", 422, "bad-version"),
        (&long, "two", 422, "bad-version"),
        (&why, "two", 422, "bad-version"),
        (&format!("{path}?name=v1"), "two", 409, "name-taken"),
        (path, "bad", 422, "bad-component"),
    ] {
        let (came, answer) = upload(&server, path, body).await;
        assert_eq!((came, &answer["code"]), (status, &json!(code)), "{path}: {answer}");
    }
    let said = upload(&server, "/v1/udfs/distanec/versions", "two").await.1;
    assert_eq!(said["message"], "the project has no UDF distanec; did you mean `distance`?");
    // Too long by its own account is refused before it comes.
    let head = format!("POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", MOST_BYTES + 1);
    let (status, answer) = ask(server.address, head).await;
    assert_eq!((status, &answer["code"]), (413, &json!("too-large")));
    // One that breaks off.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nonly this");
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    let components = server.folder.path().join(FOLDER).join("components");
    for _ in 0..500 {
        if std::fs::read_dir(&components).unwrap().count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(std::fs::read_dir(&components).unwrap().count(), 1);
    assert_eq!(server.registry.all_versions().len(), 1);
}

#[tokio::test]
async fn many_at_once_are_put_in_one_after_the_other() {
    let server = server(&[]).await;
    let sent = (0..12).map(|number| {
        let (server, path) = (&server, format!("/v1/udfs/distance/versions?name=v{}", number % 6));
        async move { upload(server, &path, &format!("component {}", number % 6)).await.0 }
    });
    let mut statuses = futures_util::future::join_all(sent).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 6], [201; 6]].concat());
    assert_eq!(server.registry.versions("distance").len(), 6);
}
