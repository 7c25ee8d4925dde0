use millrace_sdk::testing::{self, json};
use millrace_sdk::{Transform, wire};

use super::*;

#[test]
fn the_work_is_the_same_three_times() {
    let rows = json!([
        { "value": 1.0, "flag": true, "text": "AbcDef0042" },
        { "value": -2.0, "flag": false, "text": "" },
        { "value": 0.5, "flag": true, "text": "ÄRGER und Straße in İstanbul" },
        { "value": 0.0, "flag": false, "text": "@[`{ ASCII around the letters: @AZ[`az{" },
    ]);
    let closure = testing::transform::<row_closure>().run(rows.clone()).unwrap();
    assert_eq!(closure.rows[0], json!({ "value": 2.5, "flag": false, "text": "abcdef0042" }));
    assert_eq!(closure.rows[3]["text"], "@[`{ ascii around the letters: @az[`az{");
    assert_eq!(testing::transform::<row_closure_owned>().run(rows.clone()).unwrap(), closure);
    assert_eq!(testing::transform::<vectorised>().run(rows).unwrap(), closure);
}

#[test]
fn the_vectorised_ascii_way_agrees() {
    let rows = json!([{ "value": 3.0, "flag": true, "text": "ABC" }, { "value": 4.0, "flag": true, "text": "x-Y" }]);
    let vectorised = testing::transform::<vectorised>().run(rows.clone()).unwrap();
    assert_eq!(vectorised, testing::transform::<row_closure>().run(rows).unwrap());
}

#[test]
fn passthrough_hands_back_the_buffers() {
    let columns = vec![wire::Column { buffers: vec![vec![], 1.0_f64.to_le_bytes().to_vec()] }];
    let batch = wire::Batch { rows: 1, columns };
    let output = Passthrough::apply(&NoOptions {}, batch.clone()).unwrap();
    assert_eq!(output.batch, batch);
}
