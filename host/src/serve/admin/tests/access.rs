//! Who is answered: every route without a token, with a wrong one, with one whose role is too low, and with the right one.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::Digest as _;
use tokio_rustls::TlsConnector;

use super::*;
use crate::config::project::Role;

fn token(name: &str, text: &str, role: Role) -> AdminToken {
    AdminToken { name: name.into(), sha256: sha2::Sha256::digest(text).into(), role }
}

fn tokens() -> Vec<AdminToken> {
    vec![token("dashboard", "look-secret", Role::Read), token("ci", "change-secret", Role::Deploy)]
}

/// Every route: what it answers whoever may ask, who needs which role.
const REQUESTS: [(&str, &str, u16); 14] = [
    ("GET", "/v1/graph", 200),
    ("GET", "/v1/views", 200),
    ("GET", "/v1/udfs", 200),
    ("GET", "/v1/udfs/distance/versions", 200),
    ("GET", "/v1/dead-letters", 200),
    ("GET", "/v1/dead-letters/0", 200),
    ("GET", "/v1/online/rebuild", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/v1/nothing", 404),
    ("POST", "/v1/udfs/distance/versions?name=v1", 201),
    ("POST", "/v1/dead-letters/replay", 422),
    ("POST", "/v1/online/rebuild", 422),
    ("POST", "/v1/udfs/distance/activate", 422),
    ("POST", "/v1/udfs/distance/rollback", 422),
];

fn request(method: &str, path: &str, headers: &str) -> String {
    let body = if method == "POST" { "a component" } else { "" };
    format!("{method} {path} HTTP/1.0\r\nHost: far.example\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

fn audit(server: &Server) -> String {
    std::fs::read_to_string(server.folder.path().join("audit.jsonl")).unwrap()
}

#[tokio::test]
async fn nobody_is_answered_who_has_no_token_or_a_wrong_one_or_too_low_a_role() {
    let server = server_for(&SKETCHES, tokens(), None).await;
    for (method, path, _) in REQUESTS {
        for (headers, code) in [
            ("", "no-token"),
            ("Authorization: Bearer \r\n", "no-token"),
            ("Authorization: Basic bG9vay1zZWNyZXQ=\r\n", "no-token"),
            ("Authorization: look-secret\r\n", "no-token"),
            ("Authorization: Bearer look-secret\r\nAuthorization: Bearer look-secret\r\n", "no-token"),
            ("Authorization: Bearer look-secre\r\n", "wrong-token"),
            ("Authorization: Bearer look-secret change-secret\r\n", "wrong-token"),
            ("Authorization: Bearer LOOK-SECRET\r\n", "wrong-token"),
            ("Authorization: Bearer \u{e4}\r\n", "wrong-token"),
        ] {
            let (status, body) = ask(server.address, request(method, path, headers)).await;
            assert_eq!((status, &body["code"]), (401, &json!(code)), "{method} {path} {headers}");
        }
        if method == "POST" {
            let (status, body) =
                ask(server.address, request(method, path, "Authorization: Bearer look-secret\r\n")).await;
            assert_eq!((status, &body["code"]), (403, &json!("role-too-low")), "{path}");
            assert!(body["message"].as_str().unwrap().contains("`dashboard` has the role read"), "{body}");
        }
    }
    assert_eq!(server.registry.all_versions(), [], "nothing has changed");
    for (method, path, wanted) in REQUESTS {
        let name = if method == "GET" { "look-secret" } else { "change-secret" };
        let (status, body) =
            ask(server.address, request(method, path, &format!("authorization: bearer  {name}\r\n"))).await;
        assert_eq!(status, wanted, "{method} {path}: {body}");
    }
    assert_eq!(server.registry.versions("distance")[0].who, "ci");
    let audit = audit(&server);
    assert!(!audit.contains("secret"), "{audit}");
    let lines: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Sixty refusals of the minute have a line; the next line counts the others.
    let refused = REQUESTS.len() * 9 + 5;
    assert_eq!(lines.len(), 60 + 5);
    assert_eq!(
        (&lines[0]["status"], &lines[0]["who"], &lines[0]["path"]),
        (&json!(401), &json!(""), &json!("/v1/graph"))
    );
    let upload = &lines[60];
    assert_eq!(upload["left_out"], refused - 60);
    assert_eq!((&upload["status"], &upload["who"], &upload["method"]), (&json!(201), &json!("ci"), &json!("POST")));
    assert_eq!(upload["path"], "/v1/udfs/distance/versions");
    assert!(upload["what"].as_str().unwrap().starts_with("version v1 of UDF distance, "), "{upload}");
    assert_eq!(lines[64]["status"], 422);
}

#[tokio::test]
async fn without_tokens_this_machine_does_everything_and_that_is_written_down() {
    let server = server(&[]).await;
    let local = "POST /v1/online/rebuild HTTP/1.0\r\nHost: localhost\r\n\r\n";
    assert_eq!(ask(server.address, local.into()).await.0, 200);
    assert_eq!(ask(server.address, request("POST", "/v1/online/rebuild", "")).await.0, 403);
    let audit = audit(&server);
    assert!(
        audit.contains("\"who\":\"operator\",\"method\":\"POST\",\"path\":\"/v1/online/rebuild\",\"status\":200"),
        "{audit}"
    );
    assert!(audit.contains("\"status\":403"), "{audit}");
    assert_eq!(server.get("/v1/graph").await.0, 200);
    assert_eq!(audit, self::audit(&server), "who only looks is not written down");
}

#[tokio::test]
async fn a_path_that_is_no_text_is_no_path() {
    let server = server(&[]).await;
    for path in ["/v1/udfs/%ff/versions", "/v1/dead-letters/%c0", "/%ff"] {
        let (status, body) = server.get(path).await;
        assert_eq!((status, &body["code"]), (400, &json!("bad-path")), "{path}");
    }
}

#[tokio::test]
async fn who_wants_a_token_says_so_in_the_head() {
    let server = server_for(&[], tokens(), None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /v1/graph HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.to_lowercase().contains("www-authenticate: bearer realm=\"millrace\""), "{answer}");
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tls").join(name)
}

fn files() -> Tls {
    Tls { cert: fixture("cert.pem"), key: fixture("key.pem") }
}

fn connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture("cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth()).into()
}

#[tokio::test]
async fn with_a_certificate_it_is_all_tls() {
    let server = server_for(&[], tokens(), Some(files())).await;
    // One that never shakes hands keeps nobody waiting.
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector().connect(name, stream).await.unwrap();
    let (status, graph) = ask_over(stream, request("GET", "/v1/graph", "Authorization: Bearer look-secret\r\n")).await;
    assert_eq!((status, &graph["project"]), (200, &json!("fraud")));
    // Plain HTTP is not answered.
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(request("GET", "/v1/graph", "").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    drop(plain.read_to_end(&mut answer).await);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_certificate_that_is_none_is_said_before_anything_starts() {
    let address = "127.0.0.1:0".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let other = folder.path().join("other.pem");
    for (tls, wanted) in [
        (Tls { cert: empty.clone(), ..files() }, "empty.pem: it holds no certificate in PEM"),
        (Tls { cert: other.clone(), ..files() }, "other.pem: "),
        (Tls { key: empty.clone(), ..files() }, "empty.pem: "),
        (Tls { key: fixture("cert.pem"), ..files() }, "cert.pem: "),
    ] {
        let error = bind(address, false, Some(&tls)).await.err().unwrap().to_string();
        assert!(error.starts_with("serve.tls: ") && error.contains(wanted), "{error}");
    }
}
