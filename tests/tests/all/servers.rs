//! The servers that other tests stand on start, answer, go away and come back.

use millrace_tests::guarded::Signal;
use millrace_tests::servers::kafka::Kafka;
use millrace_tests::servers::redis::Redis;

fn payloads(kafka: &Kafka, topic: &str) -> Vec<(i32, i64, Vec<u8>)> {
    let records = kafka.read(topic).into_iter();
    records.map(|record| (record.partition, record.offset, record.payload.unwrap())).collect()
}

#[test]
fn redis_answers_and_comes_back_empty() {
    let mut server = Redis::start();
    let mut redis = server.connect();
    assert_eq!(redis::cmd("PING").query(&mut redis), Ok("PONG".to_owned()));
    redis::cmd("SET").arg("card").arg(7).exec(&mut redis).unwrap();
    assert_eq!(redis::cmd("GET").arg("card").query(&mut server.connect()), Ok(7));

    server.stop();
    redis::cmd("PING").exec(&mut redis).unwrap_err();
    server.resume();
    assert_eq!(redis::cmd("GET").arg("card").query(&mut server.connect()), Ok(None::<i64>));
}

#[test]
fn redis_can_hang_and_go_on() {
    let mut server = Redis::start();
    let redis = redis::Client::open(server.url()).unwrap();
    let mut redis = redis.get_connection().unwrap();
    redis.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    server.process().unwrap().signal(Signal::Stop);
    assert!(redis::cmd("PING").exec(&mut redis).unwrap_err().is_timeout());
    server.process().unwrap().signal(Signal::Continue);
    assert_eq!(redis::cmd("PING").query(&mut server.connect()), Ok("PONG".to_owned()));
}

#[test]
fn kafka_gives_back_what_it_was_given() {
    let kafka = Kafka::shared();
    kafka.create_topic("servers", 2);
    assert_eq!(payloads(kafka, "servers"), []);
    kafka.produce("servers", 1, ["a", "b"]);
    kafka.produce("servers", 0, ["c"]);
    assert_eq!(payloads(kafka, "servers"), [(0, 0, b"c".to_vec()), (1, 0, b"a".to_vec()), (1, 1, b"b".to_vec())]);
}

#[test]
fn kafka_comes_back_with_its_data() {
    let mut kafka = Kafka::start();
    kafka.create_topic("kept", 1);
    kafka.produce("kept", 0, (0..1000).map(|row: i32| row.to_string()));
    kafka.stop();
    kafka.resume();
    let expected: Vec<_> = (0..1000).map(|row: i64| (0, row, row.to_string().into_bytes())).collect();
    assert_eq!(payloads(&kafka, "kept"), expected);
}
