use millrace_sdk::prelude::*;
use millrace_sdk::testing::{self, Value, json};

use super::Travel;

const HOUR: i64 = 3_600_000_000;

fn at(latitude: f64, longitude: f64, hours: i64) -> Value {
    json!({ "latitude": latitude, "longitude": longitude, "time": hours * HOUR })
}

fn berlin(hours: i64) -> Value {
    at(52.52, 13.405, hours)
}

fn paris(hours: i64) -> Value {
    at(48.8566, 2.3522, hours)
}

fn window() -> Window {
    Window { since: Timestamp::from_micros(0), until: Timestamp::from_micros(24 * HOUR) }
}

fn way(rows: Value) -> Value {
    testing::aggregate::<Travel>().fold(rows).unwrap().evaluate(window()).unwrap()
}

fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap()
}

#[test]
fn distance_and_speed_are_those_of_the_great_circle() {
    let way = way(json!([berlin(0), paris(2), berlin(3)]));
    // 877.5 km, by any atlas.
    assert!((number(&way, "last_km") - 877.5).abs() < 1.0, "{way}");
    assert!((number(&way, "km") - 2.0 * 877.5).abs() < 2.0, "{way}");
    assert!((number(&way, "last_kmh") - 877.5).abs() < 1.0, "{way}");
    assert_eq!(number(&way, "max_kmh"), number(&way, "last_kmh"));
}

#[test]
fn the_ends_of_the_earth_are_half_its_girth_apart() {
    for (from, to) in [(at(90.0, 0.0, 0), at(-90.0, 77.0, 1)), (at(0.0, 0.0, 0), at(0.0, 180.0, 1))] {
        assert!((number(&way(json!([from, to])), "km") - 20_015.1).abs() < 0.1);
    }
    // Over the line where days change it is not far.
    assert!(number(&way(json!([at(0.0, 179.9, 0), at(0.0, -179.9, 1)])), "km") < 23.0);
}

#[test]
fn one_position_is_no_way_and_no_time_no_speed() {
    assert_eq!(way(json!([])), json!({ "km": 0.0, "last_km": null, "last_kmh": null, "max_kmh": null }));
    assert_eq!(way(json!([berlin(1)])), json!({ "km": 0.0, "last_km": null, "last_kmh": null, "max_kmh": null }));
    let way = way(json!([berlin(1), paris(1)]));
    assert_eq!(way.get("max_kmh"), Some(&Value::Null));
}

#[test]
fn what_is_no_position_is_refused() {
    let rows = json!([at(91.0, 0.0, 0), at(0.0, -181.0, 0), { "latitude": "NaN", "longitude": 0, "time": 0 }]);
    let folded = testing::aggregate::<Travel>().fold(rows).unwrap();
    assert_eq!(folded.rejected.len(), 3);
}

#[test]
fn stretches_join_by_the_leg_between_them() {
    let rows = [berlin(0), paris(2), berlin(3), paris(9)];
    let whole = way(json!(rows));
    for cut in 0..=rows.len() {
        let (before, after) = rows.split_at(cut);
        let fold = |rows: &[Value]| testing::aggregate::<Travel>().fold(json!(rows)).unwrap();
        let merged = fold(before).merge(&fold(after)).unwrap().evaluate(window()).unwrap();
        assert!((number(&merged, "km") - number(&whole, "km")).abs() < 1e-9, "{cut}: {merged}");
        for name in ["last_km", "last_kmh", "max_kmh"] {
            assert_eq!(merged.get(name), whole.get(name), "{cut}");
        }
    }
}
