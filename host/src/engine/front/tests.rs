//! From payloads to keyed batches: no event is lost, doubled or judged by how the stream was cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::engine::decode::{DecodeField, EventTime, JsonDecoder, TimeFormat};
use crate::engine::dedup::Seen;
use crate::engine::ingest::Ingest;
use crate::engine::key;
use crate::engine::watermark::PartitionWatermark;
use crate::engine::window::spec::WindowSpec;
use crate::record::{ColumnType, Origin, RawBatch, event_timestamp_field};

const SECOND: Micros = crate::time::SECOND;

fn ingest() -> Ingest {
    let field = |name: &str, kind, time| DecodeField { name: name.into(), kind, time, path: None };
    let decoder = JsonDecoder::new(vec![
        field("at", ColumnType::Timestamp, Some(TimeFormat::EpochSeconds)),
        field("key", ColumnType::Int64, None),
        field("amount", ColumnType::Int64, None),
    ]);
    let event_time = EventTime::new("at", Some(&TimeFormat::EpochSeconds), decoder.schema()).unwrap();
    Ingest::new(decoder, event_time, Some(500 * SECOND))
}

/// `amount <> 0`, doubled as a derived column, its share of 10 as what is folded; windows of 60 s every 20 s.
fn plan() -> Arc<FrontPlan> {
    let full = Arc::new(Schema::new(vec![
        Arc::new(Field::new("at", crate::record::timestamp_type(), true)),
        Arc::new(Field::new("key", DataType::Int64, true)),
        Arc::new(Field::new("amount", DataType::Int64, true)),
        event_timestamp_field(),
    ]));
    let projection = vec![1, 2, 3];
    let schema = Arc::new(full.project(&projection).unwrap());
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("twice", DataType::Int64, true)));
    let after = Arc::new(Schema::new(fields));
    let column = |name: &str| Expression::column(name, &after).unwrap();
    Arc::new(FrontPlan {
        view: 3,
        stage: 0,
        input: 0,
        condition: Some(Expression::compile("amount <> 0", &full).unwrap()),
        projection,
        derived: Some(DerivedColumns {
            expressions: vec![Expression::compile("amount * 2", &schema).unwrap()],
            columns: (0..3).map(StepColumn::Carried).chain([StepColumn::Output(0)]).collect(),
            schema: after.clone(),
        }),
        schema,
        transforms: Vec::new(),
        keys: vec![InputColumn { expression: column("key"), kind: DataType::Int64 }],
        inputs: vec![InputColumn {
            expression: Expression::compile("10 / (amount - 7)", &after).unwrap(),
            kind: DataType::Float64,
        }],
        null_keys: NullKeys::Refused,
        lateness: Some(Lateness::Windows {
            spec: WindowSpec { size: 60 * SECOND, step: 20 * SECOND, offset: 0 },
            allowed: 0,
        }),
        again: false,
        deletions: false,
    })
}

fn raw(events: &[String], first: usize) -> RawBatch {
    let mut data = Vec::new();
    let mut spans = Vec::new();
    for event in events {
        let start = u32::try_from(data.len()).unwrap();
        data.extend_from_slice(event.as_bytes());
        spans.push((start, u32::try_from(data.len()).unwrap()));
    }
    RawBatch {
        origin: Origin { source: 1, partition: 2 },
        data: Bytes::from(data),
        spans,
        offsets: (first..).take(events.len()).map(|offset| i64::try_from(offset).unwrap()).collect(),
        arrivals: vec![1_000 * SECOND; events.len()],
        ..RawBatch::default()
    }
}

/// What became of every event, by its offset: the shard, time and folded value of its row, or why it is dead.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    Row { shard: usize, key: i64, time: Micros, value: f64 },
    Dead(DeadReason),
}

fn fates(events: &[String], cut: usize, shards: usize) -> BTreeMap<i64, Vec<Fate>> {
    let (mut ingest, mut partition) = (ingest(), PartitionWatermark::new(10 * SECOND));
    let mut front = Front::new(plan(), shards).unwrap();
    let mut seen = Seen::default();
    let mut fates: BTreeMap<i64, Vec<Fate>> = BTreeMap::new();
    for (index, events) in events.chunks(cut).enumerate() {
        let mut dead = Vec::new();
        let rows = ingest.take(raw(events, index * cut), &mut partition, &mut seen, &mut dead).unwrap();
        for (shard, batch) in front.process(&rows, &mut dead).unwrap().into_iter().enumerate() {
            let Some(batch) = batch else { continue };
            let values = batch.inputs[0].as_primitive::<Float64Type>();
            for row in 0..batch.len() {
                let key = i64::from_le_bytes(batch.keys.get(row).try_into().unwrap());
                let fate = Fate::Row { shard, key, time: batch.times[row], value: values.value(row) };
                fates.entry(batch.lineage.position(row).offset).or_default().push(fate);
            }
        }
        for letter in dead {
            assert_eq!(letter.payload, events[usize::try_from(letter.offset).unwrap() - index * cut].as_bytes());
            assert_eq!(
                letter.view.is_some(),
                !matches!(letter.reason, DeadReason::Decode | DeadReason::EventTime | DeadReason::Future)
            );
            fates.entry(letter.offset).or_default().push(Fate::Dead(letter.reason));
        }
    }
    fates
}

proptest! {
    #[test]
    fn every_event_has_one_fate_however_the_stream_is_cut(
        events in prop::collection::vec((0_u8..20, -120_i64..120, 0_i64..6, 0_i64..9), 1..80),
        cut in 1_usize..30,
        shards in 1_usize..6,
    ) {
        let mut clock = 500;
        let texts: Vec<String> = events.iter().map(|(kind, jump, key, amount)| {
            clock += jump.max(&0) / 8;
            let at = clock + jump;
            match kind {
                0 => "not json".to_owned(),
                1 => format!(r#"{{"key":{key},"amount":{amount}}}"#),
                2 => format!(r#"{{"at":9000,"key":{key},"amount":{amount}}}"#),
                3 => format!(r#"{{"at":{at},"key":null,"amount":{amount}}}"#),
                _ => format!(r#"{{"at":{at},"key":{key},"amount":{amount}}}"#),
            }
        }).collect();
        let got = fates(&texts, cut, shards);
        let mut partition = PartitionWatermark::new(10 * SECOND);
        let lateness = plan().lateness.unwrap();
        let mut clock = 500;
        for (offset, (kind, jump, key, amount)) in (0..).zip(&events) {
            clock += jump.max(&0) / 8;
            let time = (clock + jump) * SECOND;
            let wanted = match kind {
                0 => Some(Fate::Dead(DeadReason::Decode)),
                1 => Some(Fate::Dead(DeadReason::EventTime)),
                2 => Some(Fate::Dead(DeadReason::Future)),
                _ => {
                    let before = partition.observe(time);
                    if *amount == 0 {
                        None
                    } else if lateness.is_late(time, before) {
                        Some(Fate::Dead(DeadReason::Late))
                    } else if *amount == 7 {
                        Some(Fate::Dead(DeadReason::Expression))
                    } else if *kind == 3 {
                        Some(Fate::Dead(DeadReason::NullKey))
                    } else {
                        let shard = key::shard(key::group(&key.to_le_bytes()), shards);
                        let value = f64::from(i32::try_from(10 / (amount - 7)).unwrap());
                        Some(Fate::Row { shard, key: *key, time, value })
                    }
                }
            };
            let wanted: Vec<Fate> = wanted.into_iter().collect();
            prop_assert_eq!(got.get(&offset).map_or(&[][..], Vec::as_slice), wanted.as_slice(), "event {}", offset);
        }
    }
}
