use serde_json::json;

use super::*;

fn project(joined: Value, view: Value) -> String {
    let schema = json!({"user": "string", "item": "string", "n": "int32", "time": "string"});
    let clicks = json!({
        "schema": schema, "timestamp_field": "time", "timestamp_format": "%Y-%m-%d %H:%M:%S %z",
        "rows": [["ada", "i1", 1, "2022-01-01 00:00:00 +0800"]],
    });
    let prices = json!({
        "schema": {"item": "string", "price": "float32", "at": "int64"}, "timestamp_field": "at",
        "timestamp_format": "epoch_millis", "max_out_of_orderness_ms": 500, "rows": [],
    });
    let case = json!({
        "id": "case", "sources": {"clicks": clicks, "prices": prices}, "joined_views": joined, "view": view,
        "expected": {"columns": [], "rows": []},
    });
    let case: Case = serde_json::from_value(case).unwrap();
    case.project().unwrap()
}

#[test]
fn views_within_views_become_joins_and_columns() {
    let price = json!({"name": "price", "kind": "join", "table_name": "prices", "expr": "price * 2", "keys": ["item"], "dtype": "float32"});
    let cost = json!({"name": "cost", "kind": "expr", "expr": "n * price", "dtype": "float64"});
    let inner = json!({"kind": "derived", "name": "inner", "source": "clicks", "features": [price, cost], "keep_source_fields": true});
    let sum = |name: &str, size: u64, step: u64| json!({"name": name, "kind": "sliding", "expr": "cost", "agg_func": "SUM", "group_by_keys": ["user"], "window_ms": size, "step_ms": step, "dtype": "float64", "filter_expr": "n > 1", "limit": 3});
    let ratio = json!({"name": "ratio", "kind": "expr", "expr": "short / long", "dtype": "float32"});
    let view = json!({
        "kind": "sliding", "name": "totals", "source": inner, "features": [sum("long", 60_000, 20_000), sum("short", 20_000, 10_000), ratio],
        "timestamp_field": "window_time", "timestamp_format": "epoch_millis", "skip_same_window_output": false,
    });
    let text = project(json!({}), view);
    for line in [
        r#"event-time = { column = "at", format = "epoch-millis" }"#,
        r#"watermark-delay = "500ms""#,
        r#"join = [{ source = "prices", on = ["item"], columns = { "price" = "price" } }]"#,
        r#"columns = { "price" = "price * 2", "cost" = "n * price" }"#,
        r#"window = { sliding = "20000ms", step = "10000ms" }"#,
        "skip-unchanged = false",
        r#"output = { type = "file", path = "rows.jsonl", timestamp = { name = "window_time", format = "epoch-millis" } }"#,
        r#""long" = { aggregate = "sum", of = "cost", window = { sliding = "60000ms", step = "20000ms" }, where = "n > 1", rows = 3, type = "float64" }"#,
        r#""short" = { aggregate = "sum", of = "cost", where = "n > 1", rows = 3, type = "float64" }"#,
        r#""ratio" = { expr = "short / long", type = "float32" }"#,
    ] {
        assert!(text.lines().any(|known| known == line), "no {line} in\n{text}");
    }
    assert!(!text.contains("inner"), "{text}");
}

#[test]
fn a_derived_view_keeps_the_time_of_its_source() {
    let count = json!({"name": "n", "kind": "sliding", "expr": "1", "agg_func": "COUNT", "group_by_keys": ["user"], "window_ms": 60_000, "step_ms": 60_000, "dtype": "int64"});
    let counts = json!({"kind": "sliding", "name": "clicks", "source": "clicks", "features": [count], "enable_empty_window_output": false});
    let feature = |kind: &str, expr: &str| json!({"name": "n", "kind": kind, "table_name": "counts", "expr": expr, "keys": ["user"], "dtype": "int64"});
    let total = json!({"name": "total", "kind": "over", "expr": "n", "agg_func": "SUM", "group_by_keys": ["user"], "dtype": "int64"});
    let view =
        json!({"kind": "derived", "name": "clicks", "source": "clicks", "features": [feature("join", "n"), total]});
    let text = project(json!({"counts": counts}), view);
    for line in [
        r#"[views."counts"]"#,
        r#"[views."clicks_view"]"#,
        r#"join = [{ source = "counts", on = ["user"], columns = { "n" = "n" }, within = "60000ms" }]"#,
        r#"columns = { "n" = "coalesce(n, 0)" }"#,
        r#"window = { over = "unbounded" }"#,
        r#"output = { type = "file", path = "rows.jsonl", timestamp = { name = "time", format = "%Y-%m-%d %H:%M:%S %z", zone = "Etc/GMT-8" } }"#,
        r#""n" = { expr = "n", type = "int64" }"#,
        r#""total" = { aggregate = "sum", of = "n", type = "int64" }"#,
    ] {
        assert!(text.lines().any(|known| known == line), "no {line} in\n{text}");
    }
}

#[test]
fn names_are_told_from_texts_and_numbers() {
    assert_eq!(names("coalesce(price, 0) * n_2 + 1e3 - price['Ada']"), ["coalesce", "price", "n_2"]);
}
