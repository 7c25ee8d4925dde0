use std::collections::BTreeMap;

use arrow::array::{ArrayRef, Float32Array, StringArray};
use prost::Message;
use serde_json::Value as Json;

use super::key::KeyWriter;
use super::server::{TestRedis, free_port, url};
use super::value::{FeastValue, Timestamp};
use super::*;
use crate::error::Blame;
use crate::record::Value;
use crate::store::online::contract::{self, Harness, batch, get, int64, one, read, view};
use crate::store::online::{OnlineBatch, OnlineReader, OnlineRow, OnlineWriter};
use crate::time::SECOND;

const VECTORS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/feast_redis_vectors.json"));
const DUMP: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/feast_redis_dump_v3.json"));

impl Harness for TestRedis {
    fn owner_at(&mut self, views: &[Arc<OnlineView>], term: u64) -> (Box<dyn OnlineWriter>, Arc<dyn OnlineReader>) {
        let options = RedisOptions { term, ..options(self.url()) };
        let (writer, reader) = RedisStore::open(options, views).unwrap();
        (Box::new(writer), Arc::new(reader))
    }

    fn filler(&mut self, views: &[Arc<OnlineView>]) -> Box<dyn OnlineWriter> {
        let last: u64 = redis::cmd("GET").arg("millrace:p:term").query(&mut self.connection()).unwrap();
        let options = RedisOptions { term: last, ..options(self.url()) };
        Box::new(RedisStore::filler(options, views).unwrap())
    }

    fn empty(&mut self) {
        redis::cmd("FLUSHALL").exec(&mut self.connection()).unwrap();
    }

    fn forget_terms(&mut self) {
        redis::cmd("DEL").arg("millrace:p:term").exec(&mut self.connection()).unwrap();
    }
}

fn options(url: String) -> RedisOptions {
    RedisOptions { timeout: Duration::from_secs(20), ..RedisOptions::new(url, "p") }
}

fn open(server: &TestRedis, views: &[Arc<OnlineView>]) -> (RedisWriter, RedisReader) {
    RedisStore::open(options(server.url()), views).unwrap()
}

fn counts() -> Arc<OnlineView> {
    view("counts", &[("card", "int64")], &[("count", "int64")])
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn key_of(view: &OnlineView, key: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    KeyWriter::new(KeyVersion::V3, "p", &view.keys).values(&mut out, key);
    out
}

fn ttl(server: &TestRedis, view: &OnlineView, key: i64) -> i64 {
    let key = key_of(view, &[Value::Int64(key)]);
    redis::cmd("PTTL").arg(key).query(&mut server.connection()).unwrap()
}

#[test]
fn it_is_an_online_store() {
    contract::run(&mut TestRedis::start(&[]));
}

#[test]
fn keys_are_feasts_byte_for_byte() {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["keys"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let (names, values): (Vec<_>, Vec<_>) = case["join_keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| {
                let (kind, value) = match &pair[1] {
                    Json::String(text) => match text.strip_prefix("int32:") {
                        Some(number) => (ColumnType::Int32, Value::Int32(number.parse().unwrap())),
                        None => (ColumnType::Utf8, Value::Utf8(text.clone())),
                    },
                    number => (ColumnType::Int64, Value::Int64(number.as_i64().unwrap())),
                };
                ((pair[0].as_str().unwrap().to_owned(), kind), value)
            })
            .unzip();
        for (version, bytes) in [(KeyVersion::V3, "redis_key_v3_hex"), (KeyVersion::V2, "redis_key_v2_hex")] {
            let mut out = Vec::new();
            KeyWriter::new(version, case["project"].as_str().unwrap(), &names).values(&mut out, &values);
            assert_eq!(out, hex(case[bytes].as_str().unwrap()), "{case}");
        }
    }
}

#[test]
fn fields_are_feasts_byte_for_byte() {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["hash_fields"].as_array().unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let (view, feature) = case["name"].as_str().unwrap().split_once(':').unwrap();
        assert_eq!(key::field(view, feature).as_slice(), hex(case["field_hex"].as_str().unwrap()), "{case}");
    }
}

#[test]
fn values_are_feasts_byte_for_byte_and_read_back() {
    let list = |items: Vec<Value>| Value::List(items);
    let text = |text: &str| Value::Utf8(text.into());
    let cases: BTreeMap<&str, (&str, Value)> = BTreeMap::from([
        ("int64 0", ("int64", Value::Int64(0))),
        ("int64 -2", ("int64", Value::Int64(-2))),
        ("int32 7", ("int32", Value::Int32(7))),
        ("double 1.5", ("float64", Value::Float64(1.5))),
        ("float 0.25", ("float32", Value::Float32(0.25))),
        ("bool true", ("boolean", Value::Boolean(true))),
        ("bool false", ("boolean", Value::Boolean(false))),
        ("string ''", ("utf8", text(""))),
        ("string 'ab'", ("utf8", text("ab"))),
        ("bytes 00ff", ("binary", Value::Binary(vec![0, 255]))),
        ("unix_timestamp 1700000000", ("timestamp", Value::Timestamp(1_700_000_000 * SECOND))),
        ("string_list a,b", ("list<utf8>", list(vec![text("a"), text("b")]))),
        ("int64_list 1,-1", ("list<int64>", list(vec![Value::Int64(1), Value::Int64(-1)]))),
        ("double_list 1.5", ("list<float64>", list(vec![Value::Float64(1.5)]))),
        ("float_list .5,1", ("list<float32>", list(vec![Value::Float32(0.5), Value::Float32(1.0)]))),
        ("empty int64_list", ("list<int64>", list(vec![]))),
        ("null (unset)", ("float64", Value::Null)),
    ]);
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    let given = vectors["values"].as_array().unwrap();
    assert_eq!(given.len(), cases.len());
    for case in given {
        let (kind, value) = &cases[case["value"].as_str().unwrap()];
        let kind = ColumnType::parse(kind).unwrap();
        let bytes = hex(case["value_hex"].as_str().unwrap());
        assert_eq!(FeastValue::new(value.clone(), &kind).encode_to_vec(), bytes, "{case}");
        assert_eq!(FeastValue::decode(bytes.as_slice()).unwrap().into_value(&kind).as_ref(), Some(value), "{case}");
    }
}

/// Made by Feast 0.67's own messages: `Value(map_val=Map(val={"a": Value(int64_val=1)}))`.
#[test]
fn a_map_is_feasts_map() {
    let kind = ColumnType::parse("map<utf8,int64>").unwrap();
    let map = Value::Map(vec![("a".into(), Value::Int64(1))]);
    let bytes = hex("a201090a070a016112022001");
    assert_eq!(FeastValue::new(map.clone(), &kind).encode_to_vec(), bytes);
    assert_eq!(FeastValue::decode(bytes.as_slice()).unwrap().into_value(&kind), Some(map.clone()));
    let floats = ColumnType::parse("map<utf8,float64>").unwrap();
    assert_eq!(FeastValue::new(map, &kind).into_value(&floats), None);
}

#[test]
fn timestamps_are_feasts_byte_for_byte() {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["timestamps"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let micros = case["seconds"].as_i64().unwrap() * SECOND + case["nanos"].as_i64().unwrap() / 1_000;
        let bytes = hex(case["hex"].as_str().unwrap());
        assert_eq!(Timestamp::from_micros(micros).encode_to_vec(), bytes, "{case}");
        assert_eq!(Timestamp::decode(bytes.as_slice()).unwrap().micros(), micros);
    }
    assert_eq!(Timestamp::from_micros(-1).micros(), -1, "before 1970 too");
}

#[test]
fn numbers_that_feast_keeps_otherwise_are_converted_where_nothing_is_lost() {
    let read = |value: Value, from: &str, to: &str| {
        FeastValue::new(value, &ColumnType::parse(from).unwrap()).into_value(&ColumnType::parse(to).unwrap())
    };
    assert_eq!(read(Value::Float32(0.25), "float32", "float64"), Some(Value::Float64(0.25)));
    assert_eq!(read(Value::Int32(-7), "int32", "int64"), Some(Value::Int64(-7)));
    assert_eq!(read(Value::Int64(-7), "int64", "int32"), Some(Value::Int32(-7)));
    assert_eq!(read(Value::Int64(1 << 40), "int64", "int32"), None);
    assert_eq!(read(Value::Float64(0.1), "float64", "float32"), None);
    assert_eq!(read(Value::Utf8("1".into()), "utf8", "int64"), None);
    let floats = Value::List(vec![Value::Float32(0.5)]);
    assert_eq!(read(floats, "list<float32>", "list<float64>"), Some(Value::List(vec![Value::Float64(0.5)])));
    assert_eq!(FeastValue::decode([0x98, 1, 0].as_slice()).unwrap().into_value(&ColumnType::Utf8), Some(Value::Null));
}

/// The two views of the project that the dump is from.
fn driver_views() -> [Arc<OnlineView>; 2] {
    let keys = [("driver_id", "int64")];
    [
        view("driver_hourly_stats", &keys, &[("conv_rate", "float32"), ("acc_rate", "float64")]),
        view("driver_daily_features", &keys, &[("daily_miles_driven", "float32"), ("never_written", "utf8")]),
    ]
}

fn load_dump(server: &TestRedis) {
    let dump: Json = serde_json::from_str(DUMP).unwrap();
    for entity in dump.as_array().unwrap() {
        let mut command = redis::cmd("HSET");
        command.arg(hex(entity["key_hex"].as_str().unwrap()));
        for (field, value) in entity["fields"].as_object().unwrap() {
            command.arg(hex(field)).arg(hex(value["value_hex"].as_str().unwrap()));
        }
        command.exec(&mut server.connection()).unwrap();
    }
}

#[test]
fn what_feast_wrote_reads_back() {
    let server = TestRedis::start(&[]);
    load_dump(&server);
    let views = driver_views();
    let options = RedisOptions { project: "feast_demo_local".into(), ..options(server.url()) };
    let (_, reader) = RedisStore::open(options, &views).unwrap();
    let keys: Vec<_> = (1001..=1006).map(|driver| vec![Value::Int64(driver)]).collect();
    let hourly = read(&reader, &views[0], &keys, &[0, 1]).unwrap();
    let daily = read(&reader, &views[1], &keys, &[1, 0]).unwrap();
    assert_eq!(hourly.iter().flatten().count(), 5);
    assert_eq!(hourly[5], None);
    let bits = |bits: u32| f32::from_bits(bits);
    let time = 1_647_266_400 * SECOND;
    assert_eq!(
        hourly[0],
        Some(OnlineRow {
            event_time: time,
            values: vec![Value::Float32(bits(0x3ecf_2638)), Value::Float64(bits(0x3ed0_ad1d).into())],
        })
    );
    assert_eq!(
        daily[4],
        Some(OnlineRow { event_time: time, values: vec![Value::Null, Value::Float32(bits(0x43d7_01a8))] })
    );
}

#[test]
fn a_write_leaves_exactly_feasts_bytes_and_the_fence() {
    let server = TestRedis::start(&[]);
    let views = driver_views();
    let options = RedisOptions { project: "feast_demo_local".into(), ..options(server.url()) };
    let (mut writer, _) = RedisStore::open(options, &views).unwrap();
    let time = 1_647_266_400 * SECOND;
    let rates: ArrayRef = Arc::new(Float32Array::from(vec![f32::from_bits(0x3ecf_2638)]));
    let acc: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![None]));
    writer.write(&batch(&views[0], vec![int64(&[1001])], vec![time], vec![rates, acc])).unwrap();
    let dump: Json = serde_json::from_str(DUMP).unwrap();
    let key = hex(dump[0]["key_hex"].as_str().unwrap());
    let held: BTreeMap<Vec<u8>, Vec<u8>> = redis::cmd("HGETALL").arg(key).query(&mut server.connection()).unwrap();
    let feasts = |field: &str| hex(dump[0]["fields"][field]["value_hex"].as_str().unwrap());
    let expected = BTreeMap::from([
        (b"_ts:driver_hourly_stats".to_vec(), feasts("5f74733a6472697665725f686f75726c795f7374617473")),
        (b"_mr:driver_hourly_stats".to_vec(), fence::bytes(time, None, 1, 1)),
        (hex("6160e3da"), feasts("6160e3da")),
        (hex("fa5e58ad"), vec![]),
    ]);
    assert_eq!(held, expected);
}

#[test]
fn a_row_that_feast_wrote_later_stays() {
    let server = TestRedis::start(&[]);
    let view = counts();
    let (mut writer, reader) = open(&server, std::slice::from_ref(&view));
    let feast = |seconds: i64, count: i64| {
        redis::cmd("HSET")
            .arg(key_of(&view, &[Value::Int64(1)]))
            .arg("_ts:counts")
            .arg(Timestamp::from_micros(seconds * SECOND).encode_to_vec())
            .arg(&key::field("counts", "count"))
            .arg(FeastValue::new(Value::Int64(count), &ColumnType::Int64).encode_to_vec())
            .exec(&mut server.connection())
            .unwrap();
    };
    feast(1_700_000_100, 1);
    writer.write(&one(&view, 1, 1_700_000_099 * SECOND, 2)).unwrap();
    assert_eq!(get(&reader, &view, 1), Some((1_700_000_100 * SECOND, Value::Int64(1))), "never ours before");
    writer.write(&one(&view, 1, 1_700_000_200 * SECOND + 1, 3)).unwrap();
    assert_eq!(get(&reader, &view, 1), Some((1_700_000_200 * SECOND + 1, Value::Int64(3))));
    feast(1_700_000_300, 4);
    writer.write(&one(&view, 1, 1_700_000_299 * SECOND, 5)).unwrap();
    assert_eq!(get(&reader, &view, 1), Some((1_700_000_300 * SECOND, Value::Int64(4))), "ours before");
    feast(-5, 6);
    writer.write(&one(&view, 1, 1_700_000_301 * SECOND, 7)).unwrap();
    assert_eq!(get(&reader, &view, 1), Some((1_700_000_301 * SECOND, Value::Int64(7))), "before 1970");
}

#[test]
fn an_older_owner_loses_a_tie() {
    let server = TestRedis::start(&[]);
    let view = counts();
    let (mut older, reader) = open(&server, std::slice::from_ref(&view));
    older.connect().unwrap();
    let (mut newer, _) = open(&server, std::slice::from_ref(&view));
    newer.write(&one(&view, 1, 5, 1)).unwrap();
    for _ in 0..3 {
        older.write(&one(&view, 1, 5, 2)).unwrap();
    }
    assert_eq!(get(&reader, &view, 1), Some((5, Value::Int64(1))));
    let terms: u64 = redis::cmd("GET").arg("millrace:p:term").query(&mut server.connection()).unwrap();
    assert_eq!(terms, 2);
}

#[test]
fn a_hash_expires_after_the_greatest_ttl_of_its_entity_and_the_margin() {
    let server = TestRedis::start(&[]);
    let with = |name: &str, ttl: Option<u64>| {
        Arc::new(OnlineView { name: name.into(), ttl: ttl.map(Duration::from_secs), ..(*counts()).clone() })
    };
    let near = |millis: i64, seconds: i64| millis > (seconds - 60) * 1000 && millis <= seconds * 1000;
    let day = 24 * 60 * 60;
    let views = [with("short", Some(10)), with("long", Some(1_000_000))];
    let (mut writer, _) = open(&server, &views);
    writer.write(&one(&views[0], 1, 10, 1)).unwrap();
    assert!(near(ttl(&server, &views[0], 1), 1_000_000 + day), "{}", ttl(&server, &views[0], 1));

    // A writer that knows of the short view alone does not shorten it.
    let (mut alone, _) = open(&server, &views[..1]);
    alone.write(&one(&views[0], 1, 20, 1)).unwrap();
    assert!(near(ttl(&server, &views[0], 1), 1_000_000 + day));
    alone.write(&one(&views[0], 2, 20, 1)).unwrap();
    assert!(near(ttl(&server, &views[0], 2), 10 + day));
    // A row that is not newer touches nothing; one that is lengthens it.
    writer.write(&one(&views[0], 2, 19, 1)).unwrap();
    assert!(near(ttl(&server, &views[0], 2), 10 + day));
    writer.write(&one(&views[0], 2, 21, 1)).unwrap();
    assert!(near(ttl(&server, &views[0], 2), 1_000_000 + day));

    // One view without a ttl keeps the whole hash.
    let views = [views[0].clone(), with("for ever", None)];
    let (mut writer, _) = open(&server, &views);
    writer.write(&one(&views[0], 2, 30, 1)).unwrap();
    assert_eq!(ttl(&server, &views[0], 2), -1);
    // What was to stay for ever is not shortened.
    alone.write(&one(&views[0], 2, 40, 1)).unwrap();
    assert_eq!(ttl(&server, &views[0], 2), -1);
}

#[test]
fn a_hash_of_nothing_but_deletions_expires() {
    let server = TestRedis::start(&[]);
    let views = [counts(), Arc::new(OnlineView { name: "other".into(), ..(*counts()).clone() })];
    let (mut writer, reader) = open(&server, &views);
    let delete =
        |view: &Arc<OnlineView>, time| OnlineBatch { deleted: Some(vec![true].into()), ..one(view, 1, time, 0) };
    writer.write(&one(&views[0], 1, 10, 1)).unwrap();
    writer.write(&one(&views[1], 1, 10, 1)).unwrap();
    writer.write(&delete(&views[0], 20)).unwrap();
    assert_eq!(ttl(&server, &views[0], 1), -1, "the other view's row is there");
    writer.write(&delete(&views[1], 20)).unwrap();
    assert!(ttl(&server, &views[0], 1) > 0);
    assert_eq!(get(&reader, &views[1], 1), None);
    let fields: Vec<String> =
        redis::cmd("HKEYS").arg(key_of(&views[0], &[Value::Int64(1)])).query(&mut server.connection()).unwrap();
    assert_eq!(fields.len(), 2);
    writer.write(&one(&views[0], 1, 30, 2)).unwrap();
    assert_eq!(ttl(&server, &views[0], 1), -1, "living again");
}

#[test]
fn a_redis_that_is_away_is_unavailable_and_taken_up_when_it_comes() {
    let port = free_port();
    let view = counts();
    let (mut writer, reader) = RedisStore::open(options(url(port)), std::slice::from_ref(&view)).unwrap();
    let key = [vec![Value::Int64(1)]];
    for _ in 0..2 {
        let error = writer.write(&one(&view, 1, 10, 1)).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }) && error.retry_helps(), "{error}");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        assert!(matches!(read(&reader, &view, &key, &[0]), Err(StoreError::Unavailable { .. })));
    }
    let server = TestRedis::start_on(port, &[]);
    writer.write(&one(&view, 1, 10, 1)).unwrap();
    let mut answer = read(&reader, &view, &key, &[0]);
    for _ in 0..100 {
        if answer.is_ok() {
            break;
        }
        answer = read(&reader, &view, &key, &[0]);
    }
    assert_eq!(answer.unwrap()[0].as_ref().unwrap().values, [Value::Int64(1)]);

    // It goes away and comes back empty: the term that it knows nothing of is not used again.
    let term: u64 = redis::cmd("INCRBY").arg("millrace:p:term").arg(6).query(&mut server.connection()).unwrap();
    assert_eq!(term, 7);
    drop(server);
    assert!(matches!(writer.write(&one(&view, 1, 20, 2)), Err(StoreError::Unavailable { .. })));
    let server = TestRedis::start_on(port, &[]);
    writer.write(&one(&view, 1, 20, 2)).unwrap();
    let (mut other, _) = open(&server, std::slice::from_ref(&view));
    other.write(&one(&view, 1, 20, 3)).unwrap();
    writer.write(&one(&view, 1, 20, 4)).unwrap();
    let held: Vec<u8> = redis::cmd("HGET")
        .arg(key_of(&view, &[Value::Int64(1)]))
        .arg("_mr:counts")
        .query(&mut server.connection())
        .unwrap();
    assert_eq!(held, fence::bytes(20, None, 3, 1));
}

#[test]
fn a_redis_that_is_read_only_or_full_is_unavailable_with_its_words() {
    let view = counts();
    let replica = TestRedis::start(&["--replicaof", "127.0.0.1", &free_port().to_string()]);
    let (mut writer, _) = open(&replica, std::slice::from_ref(&view));
    let error = writer.write(&one(&view, 1, 10, 1)).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("read only replica"), "{error}");

    let full = TestRedis::start(&[]);
    let (mut writer, reader) = open(&full, std::slice::from_ref(&view));
    writer.write(&one(&view, 1, 10, 1)).unwrap();
    redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).exec(&mut full.connection()).unwrap();
    let error = writer.write(&one(&view, 1, 20, 2)).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("maxmemory"), "{error}");
    redis::cmd("CONFIG").arg(&["SET", "maxmemory", "0"]).exec(&mut full.connection()).unwrap();
    assert_eq!(get(&reader, &view, 1), Some((10, Value::Int64(1))));
    writer.write(&one(&view, 1, 20, 2)).unwrap();
    assert_eq!(get(&reader, &view, 1), Some((20, Value::Int64(2))));
}

#[test]
fn a_redis_that_does_not_answer_is_unavailable_after_the_time_out() {
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let view = counts();
    let options =
        RedisOptions { timeout: Duration::from_millis(100), ..options(url(silent.local_addr().unwrap().port())) };
    let (mut writer, reader) = RedisStore::open(options, std::slice::from_ref(&view)).unwrap();
    for _ in 0..2 {
        assert!(matches!(writer.write(&one(&view, 1, 10, 1)), Err(StoreError::Unavailable { .. })));
        let read = read(&reader, &view, &[vec![Value::Int64(1)]], &[0]);
        assert!(matches!(read, Err(StoreError::Unavailable { .. })), "{read:?}");
    }
}

#[test]
fn what_no_retry_mends_is_refused() {
    let server = TestRedis::start(&[]);
    let view = counts();
    redis::cmd("SET").arg(key_of(&view, &[Value::Int64(1)])).arg("mine").exec(&mut server.connection()).unwrap();
    let (mut writer, reader) = open(&server, std::slice::from_ref(&view));
    assert!(matches!(writer.write(&one(&view, 1, 10, 1)), Err(StoreError::Refused { .. })));
    assert!(matches!(read(&reader, &view, &[vec![Value::Int64(1)]], &[0]), Err(StoreError::Refused { .. })));
    writer.write(&one(&view, 2, 10, 1)).unwrap();

    redis::cmd("HSET")
        .arg(key_of(&view, &[Value::Int64(3)]))
        .arg(&["_ts:counts", ""])
        .arg(&key::field("counts", "count"))
        .arg(FeastValue::new(Value::Utf8("three".into()), &ColumnType::Utf8).encode_to_vec())
        .exec(&mut server.connection())
        .unwrap();
    let error = read(&reader, &view, &[vec![Value::Int64(3)]], &[0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "Redis at 127.0.0.1:{} holds damaged data: view counts: count holds something else than a int64",
            server.port()
        )
    );
    assert!(RedisStore::open(options("localhost:6379".into()), &[]).is_err());
    let floats = super::super::contract::view("v", &[("x", "float64")], &[]);
    assert!(RedisStore::open(options(server.url()), &[floats]).is_err());
}

#[test]
fn the_script_is_there_whatever_happened_to_it() {
    let server = TestRedis::start(&[]);
    let view = counts();
    let (mut writer, reader) = open(&server, std::slice::from_ref(&view));
    writer.write(&one(&view, 1, 10, 1)).unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.connection()).unwrap();
    writer.write(&one(&view, 1, 20, 2)).unwrap();
    assert_eq!(get(&reader, &view, 1), Some((20, Value::Int64(2))));
}

#[test]
fn views_of_one_entity_share_its_hash_and_of_another_do_not() {
    let server = TestRedis::start(&[]);
    let cards = [counts(), Arc::new(OnlineView { name: "other".into(), ..(*counts()).clone() })];
    let merchant = view("merchants", &[("merchant", "utf8")], &[("count", "int64")]);
    let views = [cards[0].clone(), cards[1].clone(), merchant.clone()];
    let (mut writer, reader) = open(&server, &views);
    writer.write(&one(&views[0], 1, 10, 1)).unwrap();
    writer.write(&one(&views[1], 1, 20, 2)).unwrap();
    let name: ArrayRef = Arc::new(StringArray::from(vec!["shop"]));
    writer.write(&batch(&merchant, vec![name], vec![30], vec![int64(&[3])])).unwrap();
    assert_eq!(get(&reader, &views[0], 1), Some((10, Value::Int64(1))));
    assert_eq!(get(&reader, &views[1], 1), Some((20, Value::Int64(2))));
    let keys: u64 = redis::cmd("DBSIZE").query(&mut server.connection()).unwrap();
    assert_eq!(keys, 3, "two entities and the term");
}
