use millrace_sdk::testing::{self, Value, json};

use super::*;

fn reading(device: i64, at: i64, value: f64) -> Vec<u8> {
    [device.to_le_bytes(), at.to_le_bytes(), value.to_le_bytes()].concat()
}

fn run(payloads: &[Value]) -> testing::Transformed {
    let rows = payloads.iter().map(|payload| json!({ "payload": payload })).collect();
    testing::transform::<packed_readings>().run(rows).unwrap()
}

#[test]
fn each_reading_is_a_row_of_its_event() {
    let two = [reading(7, 1_000, 1.5), reading(-8, -2, -0.25)].concat();
    let silent = [reading(7, 2_000, f64::NAN), reading(9, 3_000, f64::INFINITY)].concat();
    let got = run(&[json!(two), Value::Null, json!([]), json!(silent)]);
    assert_eq!(
        got.rows,
        [
            json!({ "device": 7, "at": 1_000, "value": 1.5 }),
            json!({ "device": -8, "at": -2, "value": -0.25 }),
            json!({ "device": 9, "at": 3_000, "value": "inf" }),
        ]
    );
    assert_eq!(got.origin, [0, 0, 3]);
    assert!(got.rejected.is_empty());
}

#[test]
fn what_is_not_whole_is_refused_and_the_rest_goes_on() {
    let mut cut = reading(1, 2, 3.0);
    cut.pop();
    let got = run(&[json!(cut), json!(reading(1, 2, 3.0)), json!([1, 2])]);
    assert_eq!((got.rows.len(), got.origin), (1, vec![1]));
    let refused: Vec<u32> = got.rejected.iter().map(|(row, _)| *row).collect();
    assert_eq!(refused, [0, 2]);
    assert_eq!(got.rejected[0].1, "23 bytes, which is no multiple of 24: not whole readings");
}
