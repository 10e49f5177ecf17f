//! What is written is read again, for values of every shape.

mod support;

use base::Timestamp;
use content::{ContentTypes, Layout, Projection, cbor, json, msgpack};
use resource::{Body, Record, Select, SelectItem, Value};

use crate::support::{Random, same};

const VALUES: u64 = 4000;

#[test]
fn cbor_keeps_every_type() {
    for seed in 0..VALUES {
        let value = Random(seed).value(4);
        let mut bytes = Vec::new();
        cbor::encode(&value, &mut bytes);
        let read = cbor::decode(&bytes).unwrap();
        assert!(
            same(&value, &read),
            "seed {seed}: {value:?} became {read:?}"
        );
    }
}

#[test]
fn msgpack_keeps_every_type() {
    for seed in 0..VALUES {
        let value = Random(seed).value(4);
        let mut bytes = Vec::new();
        msgpack::encode(&value, &mut bytes).unwrap();
        let read = msgpack::decode(&bytes).unwrap();
        assert!(
            same(&value, &read),
            "seed {seed}: {value:?} became {read:?}"
        );
    }
}

#[test]
fn json_text_is_stable_after_the_first_writing() {
    for seed in 0..VALUES {
        let text = resource::json::to_vec(&Random(seed).value(4));
        let read = json::decode(&text).unwrap();
        let again = resource::json::to_vec(&read);
        assert_eq!(text, again, "seed {seed}");
    }
}

#[test]
fn json_keeps_the_types_it_has() {
    for seed in 0..VALUES {
        let mut random = Random(seed);
        let value = Value::Array(vec![random.integer(), random.text().into(), Value::Null]);
        let read = json::decode(&resource::json::to_vec(&value)).unwrap();
        assert_eq!(read, value, "seed {seed}");
    }
}

fn records(seed: u64) -> Vec<Record> {
    let mut random = Random(seed);
    let count = random.below(5) as i64;
    (0..count)
        .map(|n| Record {
            key: Some(n.into()),
            version: Timestamp::ZERO,
            expires_at: None,
            body: Body::from(Value::Map(resource::Map::from_iter([
                ("id", Value::Int(n)),
                ("a", random.value(1)),
            ]))),
        })
        .collect()
}

fn collection(media_type: &str, projection: &Projection, records: &[Record]) -> Vec<u8> {
    let types = ContentTypes::standard();
    let layout = Layout {
        projection: projection.clone(),
        attributes: None,
    };
    let mut sequence = types.by_media_type(media_type).unwrap().sequence(layout);
    let mut out = Vec::new();
    for record in records {
        sequence.record(record, &mut out).unwrap();
    }
    sequence.finish(&mut out);
    out
}

#[test]
fn a_collection_is_what_its_records_are() {
    let select = Select::Object(vec![SelectItem::named("a"), SelectItem::named("$id")]);
    for projection in [Projection::Whole, Projection::new(Some(&select)).unwrap()] {
        for seed in 0..200 {
            let records = records(seed);
            let expected: Vec<Value> = records
                .iter()
                .map(|record| projection.project(record).unwrap())
                .collect();
            let expected = Value::Array(expected);

            let from_cbor =
                cbor::decode(&collection("application/cbor", &projection, &records)).unwrap();
            assert!(same(&from_cbor, &expected), "seed {seed}");

            let text = collection("application/json", &projection, &records);
            assert_eq!(text, resource::json::to_vec(&expected), "seed {seed}");

            let mut rest = &collection("application/x-msgpack", &projection, &records)[..];
            let mut items = Vec::new();
            while !rest.is_empty() {
                let (item, length) = msgpack::decode_first(rest).unwrap();
                items.push(item);
                rest = &rest[length..];
            }
            assert!(same(&Value::Array(items), &expected), "seed {seed}");
        }
    }
}

#[test]
fn csv_has_a_header_and_a_line_for_each_record() {
    let dogs: Vec<Record> = ["Rex", "Ada"]
        .iter()
        .enumerate()
        .map(|(n, name)| Record {
            key: Some((n as i64).into()),
            version: Timestamp::ZERO,
            expires_at: None,
            body: Body::from(
                json::decode(format!(r#"{{"id":{n},"name":"{name}"}}"#).as_bytes()).unwrap(),
            ),
        })
        .collect();
    let lines = |projection: &Projection, records: &[Record]| {
        String::from_utf8(collection("text/csv", projection, records)).unwrap()
    };
    assert_eq!(
        lines(&Projection::Whole, &dogs),
        "id,name\r\n0,Rex\r\n1,Ada\r\n"
    );
    assert_eq!(lines(&Projection::Whole, &[]), "");
    let select = Select::Array(vec![SelectItem::named("name"), SelectItem::named("$id")]);
    let projection = Projection::new(Some(&select)).unwrap();
    assert_eq!(lines(&projection, &dogs), "name,$id\r\nRex,0\r\nAda,1\r\n");
    let select = Select::Object(vec![SelectItem::named("*"), SelectItem::named("$id")]);
    let projection = Projection::new(Some(&select)).unwrap();
    assert_eq!(lines(&projection, &dogs[1..]), "id,name,$id\r\n1,Ada,1\r\n");
    let one = Projection::new(Some(&Select::One(SelectItem::named("name")))).unwrap();
    assert_eq!(lines(&one, &dogs), "name\r\nRex\r\nAda\r\n");
}

#[test]
fn a_source_that_fails_ends_the_collection_with_an_element_that_says_so() {
    let types = ContentTypes::standard();
    let failed = |media_type: &str, error: &resource::Error| {
        let mut sequence = types
            .by_media_type(media_type)
            .unwrap()
            .sequence(Layout::default());
        let mut out = Vec::new();
        for record in &records(3)[..1] {
            sequence.record(record, &mut out).unwrap();
        }
        sequence.fail(error, &mut out).then_some(out)
    };
    let error = resource::Error::unavailable("index is being built");
    let text = failed("application/json", &error).unwrap();
    let Value::Array(items) = json::decode(&text).unwrap() else {
        panic!("array expected")
    };
    assert_eq!(
        resource::json::to_vec(items.last().unwrap()),
        br#"{"error":"Unavailable","message":"index is being built"}"#
    );
    assert!(cbor::decode(&failed("application/cbor", &error).unwrap()).is_ok());
    assert!(failed("text/csv", &error).is_none());

    let internal = resource::Error::internal("page 17 of /var/lib/motet/data.mdb");
    let text = failed("application/json", &internal).unwrap();
    assert!(!String::from_utf8(text).unwrap().contains("data.mdb"));
}

/// What a reader of another house makes of our YAML, as JSON.
fn read_elsewhere(yaml: &[u8], seed: u64) -> String {
    let text = std::str::from_utf8(yaml).expect("UTF-8");
    let read: Value = serde_saphyr::from_str(text)
        .unwrap_or_else(|error| panic!("seed {seed}: {error} in {text}"));
    String::from_utf8(resource::json::to_vec(&read)).unwrap()
}

#[test]
fn yaml_is_read_by_others() {
    for seed in 0..VALUES {
        let mut random = Random(seed);
        let texts: Vec<Value> = (0..4).map(|_| random.text().into()).collect();
        let numbers: Vec<Value> = (0..4)
            .map(|_| Value::Int(random.next() as i64 >> random.below(64)))
            .collect();
        let map: resource::Map = [
            (random.text(), Value::Array(texts)),
            (format!("n{}", random.text()), Value::Array(numbers)),
            (
                "x".repeat(200),
                Value::Array(vec![Value::Map(resource::Map::new())]),
            ),
            ("none".to_owned(), Value::Array(Vec::new())),
            ("yes".to_owned(), Value::Bool(true)),
        ]
        .into_iter()
        .collect();
        let value = Value::Array(vec![Value::Map(map), Value::Null]);
        let mut out = Vec::new();
        content::yaml::encode(&value, &mut out);
        let expected = String::from_utf8(resource::json::to_vec(&value)).unwrap();
        assert_eq!(read_elsewhere(&out, seed), expected, "seed {seed}");
    }
}
