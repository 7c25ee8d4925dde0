//! Operators of a project: their tokens, TLS, what is written down of them; and the versions of UDFs that they bring.

use std::fs;
use std::path::{Path, PathBuf};

use millrace_tests::http::get;
use millrace_tests::patience::START;
use millrace_tests::process::{Finished, Millrace};
use serde_json::{Value, json};

use crate::project::{Project, Served, components, serve};

const PROJECT: &str = r#"
[project]
name = "deploy"

[serve]
admin = "127.0.0.1:0"
SERVE

[entities.user]
keys = { user = "int64" }

[sources.visits]
type = "push"
schema = { user = "int64", at = "timestamp", merchant = "utf8" }
event-time = { column = "at", format = "epoch-millis" }

[udfs.category]
component = "merchant_category.wasm"

[views.categories]
entity = "user"
from = "visits"
transform = [{ udf = "category", input = { name = "merchant" } }]
features = { category = { expr = "category" } }
"#;

/// `millrace token new`: the token, and its entry in the project file.
fn token(name: &str, role: &str) -> (String, String) {
    let made = good(Millrace::command().args(["token", "new", "--name", name, "--role", role]).finish(START));
    let (token, entry) = made.trim_end().split_once('\n').unwrap();
    (token.to_owned(), entry.to_owned())
}

/// `millrace COMMAND project.toml ARGUMENT …` with a token in the environment.
fn call(project: &Project, token: &str, command: &str, arguments: &[&str]) -> Finished {
    project.call::<&str>(command, []).args(arguments).env("MILLRACE_TOKEN", token).finish(START)
}

fn good(finished: Finished) -> String {
    assert!(finished.status.success(), "{}", finished.stderr);
    finished.stdout
}

#[track_caller]
fn refused(finished: Finished, why: &str) {
    assert!(!finished.status.success(), "{}", finished.stdout);
    assert!(finished.stderr.contains(why), "{}", finished.stderr);
}

fn start(project: &Project) -> Served {
    serve(project.call::<&str>("run", []))
}

/// A component that does the same under another digest: with a section that nobody reads.
fn another(project: &Project, component: &str, number: u8) -> String {
    let mut bytes = fs::read(components().join(format!("{component}.wasm"))).unwrap();
    bytes.extend([0, 6, 4, b'n', b'o', b't', b'e', number]);
    let name = format!("{component}_{number}.wasm");
    project.write(&name, bytes);
    name
}

fn versions(project: &Project, token: &str) -> Vec<Value> {
    let said = good(call(project, token, "versions", &["category", "--json"]));
    let lists: Vec<Value> = serde_json::from_str(&said).unwrap();
    lists[0]["versions"].as_array().unwrap().clone()
}

#[test]
fn versions_come_from_whom_the_project_knows_and_outlive_it() {
    let (ann, ann_entry) = token("ann", "deploy");
    let (dashboard, dashboard_entry) = token("dashboard", "read");
    let tokens = format!("tokens = [{ann_entry}, {dashboard_entry}]");
    let project = Project::new(&PROJECT.replace("SERVE", &tokens));
    let served = start(&project);

    refused(call(&project, "", "graph", &[]), "the project asks operators for a token: set MILLRACE_TOKEN");
    refused(call(&project, "millrace_wrong", "graph", &[]), "does not know this token");
    assert!(good(call(&project, &dashboard, "graph", &[])).contains("view categories"));
    assert!(good(call(&project, "", "graph", &["--token", &dashboard])).contains("view categories"));

    let file = another(&project, "merchant_category", 2);
    let upload = ["category", &file, "--name", "v2", "--why", "a try"];
    refused(call(&project, "", "upload", &upload), "asks operators for a token");
    refused(call(&project, &dashboard, "upload", &upload), "`dashboard` has the role read, and this needs deploy");
    for (component, why) in [
        ("hostile_wrong_world", "it exports neither"),
        ("hostile_forbidden_import", "import"),
        // It holds an aggregate, and the project wants a transform.
        ("decayed_sum", "it does not fit the project: "),
        // It holds a transform that wants other columns.
        ("packed_readings", "it does not fit the project: "),
    ] {
        let other = components().join(format!("{component}.wasm")).display().to_string();
        refused(call(&project, &ann, "upload", &["category", &other]), why);
    }
    refused(call(&project, &ann, "upload", &["categori", &file]), "did you mean `category`?");
    refused(call(&project, &ann, "upload", &["category", "project.toml"]), "");
    let before = versions(&project, &dashboard);
    assert_eq!(before.len(), 1, "what was refused is not there: {before:?}");
    assert_eq!((&before[0]["who"], &before[0]["active"]), (&json!("project file"), &json!(true)));

    let said = good(call(&project, &ann, "upload", &upload));
    assert!(said.starts_with("category v2\n  digest     ") && said.contains("transform"), "{said}");
    good(call(&project, &ann, "upload", &upload));
    let other = another(&project, "merchant_category", 3);
    refused(call(&project, &ann, "upload", &["category", &other, "--name", "v2"]), "has a version `v2` already");
    let now = versions(&project, &ann);
    assert_eq!((now.len(), &now[1]["who"], &now[1]["why"]), (2, &json!("ann"), &json!("a try")));
    let table = good(call(&project, &dashboard, "versions", &[]));
    assert!(table.starts_with("UDF       VERSION  DIGEST        RUNS  SIZE"), "{table}");
    served.terminate();

    // Nobody is asked who he is where nobody runs the project: he has the folder.
    assert_eq!(versions(&project, "").len(), 2);
    good(call(&project, "", "upload", &["category", &other, "--name", "v3"]));
    refused(call(&project, "", "upload", &["category", &other, "--name", "v2"]), "has a version `v2` already");
    let wrong = components().join("decayed_sum.wasm").display().to_string();
    refused(call(&project, "", "upload", &["category", &wrong]), "it does not fit the project: ");
    let served = start(&project);
    let names: Vec<Value> = versions(&project, &ann).iter().map(|version| version["name"].clone()).collect();
    assert_eq!(names, [Value::Null, json!("v2"), json!("v3")]);
    served.terminate();

    let audit = fs::read_to_string(project.path("data/audit.jsonl")).unwrap();
    assert!(audit.contains("\"who\":\"ann\"") && audit.contains("version v2 of UDF category"), "{audit}");
    assert!(audit.contains("\"who\":\"dashboard\"") && audit.contains("\"status\":403"), "{audit}");
    assert!(!audit.contains(&ann) && !audit.contains(&dashboard) && !audit.contains("millrace_"), "{audit}");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

#[test]
fn over_tls_operators_talk_to_the_process_that_holds_the_folder_alone() {
    let (ann, entry) = token("ann", "deploy");
    let (cert, key) = (fixture("cert.pem"), fixture("key.pem"));
    let tls = format!("tokens = [{entry}]\ntls = {{ cert = {cert:?}, key = {key:?} }}");
    let text = PROJECT.replace("SERVE", &tls).replace("admin = \"127.0.0.1:0\"", "admin = \"0.0.0.0:0\"");
    let project = Project::new(&text);
    let served = start(&project);
    assert!(good(call(&project, &ann, "graph", &[])).contains("view categories"));
    let file = another(&project, "merchant_category", 2);
    good(call(&project, &ann, "upload", &["category", &file, "--name", "v2"]));
    refused(call(&project, "", "graph", &[]), "asks operators for a token");
    let address = fs::read_to_string(project.path("data/admin-address")).unwrap();
    let plain = address.trim().strip_prefix("https://127.0.0.1:").map(|port| format!("127.0.0.1:{port}")).unwrap();
    assert!(get(&plain, "/v1/graph").is_err(), "plain HTTP is not answered");
    // Whoever shows another certificate gets no token.
    let certificate = fs::read(project.path("data/admin-certificate")).unwrap();
    fs::write(project.path("data/admin-certificate"), [certificate, b"x".to_vec()].concat()).unwrap();
    refused(call(&project, &ann, "graph", &[]), "its certificate");
    served.terminate();
}
