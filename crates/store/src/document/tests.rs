//! Round trips, and what damaged bytes do.

use num_bigint::BigInt;
use proptest::prelude::*;
use resource::Date;

use super::*;

fn open(map: &Map) -> StoredDocument {
    let mut dictionary = Dictionary::default();
    let bytes = encode(map, &mut dictionary).unwrap();
    StoredDocument::open(bytes.into(), Arc::new(dictionary)).unwrap()
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        (-9_i32..9).prop_map(|n| Value::Float(f64::from(n) / 2.0)),
        prop::sample::select(vec![
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e15,
            1e16,
            123_456_789_012_345.0
        ])
        .prop_map(Value::Float),
        any::<i128>().prop_map(|n| Value::from(BigInt::from(n) * n)),
        (-62_167_219_200_000_i64..=253_402_300_799_999)
            .prop_filter_map("date", Date::from_millis)
            .prop_map(Value::Date),
        prop::collection::vec(any::<u8>(), 0..5).prop_map(|bytes| Value::Bytes(bytes.into())),
        any::<String>().prop_map(Value::String),
        "[\0-\u{1F}\"\\\\é]{0,5}".prop_map(Value::String),
    ]
}

fn any_map(member: impl Strategy<Value = Value>) -> impl Strategy<Value = Map> {
    prop::collection::vec(("[a-e\"\\\\\né]{0,3}", member), 0..6).prop_map(Map::from_iter)
}

fn any_record() -> impl Strategy<Value = Map> {
    any_map(any_scalar().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            any_map(inner).prop_map(Value::Map),
        ]
    }))
}

/// Equality in which NaN has no payload.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(l), Value::Float(r)) if l.is_nan() => r.is_nan(),
        (Value::Array(l), Value::Array(r)) => {
            l.len() == r.len() && l.iter().zip(r).all(|(l, r)| same(l, r))
        }
        (Value::Map(l), Value::Map(r)) => {
            l.len() == r.len()
                && l.iter()
                    .zip(r.iter())
                    .all(|(l, r)| l.0 == r.0 && same(l.1, r.1))
        }
        _ => same_value(left, right),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_type_survives_at_every_depth(map in any_record()) {
        let stored = open(&map);
        let value = Value::Map(map.clone());
        prop_assert_eq!(stored.verify(), Ok(()));
        prop_assert!(same(&stored.to_value(), &value));
        prop_assert_eq!(stored.json(), resource::json::to_vec(&value));
        for (name, value) in map.iter() {
            prop_assert!(same(&stored.attribute(name).unwrap(), value));
            prop_assert_eq!(stored.attribute_json(name).unwrap(), resource::json::to_vec(value));
        }
        prop_assert_eq!(stored.attribute("absent"), None);
    }

    #[test]
    fn damage_never_panics_and_is_found(
        map in any_record(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut dictionary = Dictionary::default();
        let sound = encode(&map, &mut dictionary).unwrap();
        let mut bytes = sound.clone();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let opened = check_any(&bytes, &Arc::new(dictionary));
        if bytes != sound {
            prop_assert!(opened.is_none());
        }
    }

    #[test]
    fn bytes_from_anywhere_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        check_any(&bytes, &Arc::default());
        check_any(&forge(&bytes), &Arc::new(letters()));
    }
}

/// What the fuzz target does as well: everything that reads a record, on bytes from anywhere.
fn check_any(bytes: &[u8], dictionary: &Arc<Dictionary>) -> Option<StoredDocument> {
    let bytes = Bytes::copy_from_slice(bytes);
    let document = StoredDocument::open(bytes, Arc::clone(dictionary)).ok()?;
    let _ = (document.json(), document.to_value(), document.verify());
    for name in ["a", "b", "absent"] {
        let _ = (document.attribute(name), document.attribute_json(name));
    }
    Some(document)
}

fn letters() -> Dictionary {
    let mut dictionary = Dictionary::default();
    for name in ["a", "b", "c"] {
        dictionary.number(name);
    }
    dictionary
}

/// A record with a true header and checksum around arbitrary contents, so that the reader is reached.
fn forge(contents: &[u8]) -> Vec<u8> {
    let text = contents.len() / 2;
    let types = (contents.len() - text) / 3;
    let mut record = vec![FORMAT_VERSION, FLAG_UNLISTED, 0, 0];
    record.extend_from_slice(&(text as u32 + 2).to_le_bytes());
    record.extend_from_slice(&(types as u32).to_le_bytes());
    record.extend_from_slice(&[0; 4]);
    record.push(b'{');
    record.extend_from_slice(&contents[..text]);
    record.push(b'}');
    record.extend_from_slice(&contents[text..text + types * 3]);
    let sum = checksum(&record);
    record[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    record
}

#[test]
fn the_format_is_what_the_module_says() {
    let mut dictionary = letters();
    let date = Date::from_millis(0).unwrap();
    let map = Map::from_iter([("b", Value::Date(date)), ("a", Value::Int(7))]);
    let bytes = encode(&map, &mut dictionary).unwrap();
    let text = br#"{"b":"1970-01-01T00:00:00.000Z","a":7}"#;
    assert_eq!(bytes[..4], [1, 0, 2, 0]);
    assert_eq!(bytes[4..12], [text.len() as u8, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(&bytes[16..16 + text.len()], text);
    let tables = &bytes[16 + text.len()..];
    assert_eq!(tables, [0, 0, 36, 0, 37, 0, 1, 0, 5, 0, 31, 0, 5, 0, 2]);
}

#[test]
fn a_long_record_has_wide_offsets() {
    let long = "x".repeat(70_000);
    let map = Map::from_iter([
        ("long", Value::from(long.as_str())),
        ("after", Value::Float(2.0)),
    ]);
    let stored = open(&map);
    assert_eq!(stored.verify(), Ok(()));
    assert_eq!(stored.attribute("after"), Some(Value::Float(2.0)));
    assert_eq!(stored.to_value(), Value::Map(map));
}

#[test]
fn names_beyond_the_dictionary_are_found_in_the_text() {
    let mut dictionary = Dictionary::default();
    for index in 0..MAX_ATTRIBUTES {
        assert!(dictionary.number(&format!("n{index}")).is_some());
    }
    let map = Map::from_iter([
        ("extra", Value::Float(1.0)),
        ("n5", Value::Int(5)),
        ("more", Value::Bytes(b"x".as_slice().into())),
    ]);
    let bytes = encode(&map, &mut dictionary).unwrap();
    assert_eq!(dictionary.len(), MAX_ATTRIBUTES);
    let stored = StoredDocument::open(bytes.into(), Arc::new(dictionary)).unwrap();
    assert_eq!(stored.verify(), Ok(()));
    for (name, value) in map.iter() {
        assert_eq!(stored.attribute(name).as_ref(), Some(value));
    }
    assert_eq!(stored.attribute_json("extra").unwrap(), "1");
    assert_eq!(stored.attribute("absent"), None);
}

#[test]
fn a_record_can_be_read_with_a_newer_dictionary() {
    let mut dictionary = letters();
    let map = Map::from_iter([("b", Value::Int(1))]);
    let bytes = encode(&map, &mut dictionary).unwrap();
    dictionary.number("later");
    let stored = StoredDocument::open(bytes.into(), Arc::new(dictionary)).unwrap();
    assert_eq!(stored.attribute("b"), Some(Value::Int(1)));
    assert_eq!(stored.attribute("later"), None);
}

#[test]
fn deep_nesting_is_400_and_the_deepest_allowed_is_read() {
    let nested = |levels: usize| {
        let mut value = Value::Null;
        for _ in 0..levels {
            value = Value::Array(vec![value]);
        }
        Map::from_iter([("a", value)])
    };
    let deepest = nested(MAX_DEPTH - 1);
    assert_eq!(open(&deepest).to_value(), Value::Map(deepest));
    let error = encode(&nested(MAX_DEPTH), &mut Dictionary::default()).unwrap_err();
    assert_eq!(error.status(), 400);
}

#[test]
fn a_flipped_bit_anywhere_is_found_at_open() {
    let mut dictionary = letters();
    let map = Map::from_iter([("a", Value::from("abc")), ("b", Value::Float(1.0))]);
    let sound = encode(&map, &mut dictionary).unwrap();
    let dictionary = Arc::new(dictionary);
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(
            StoredDocument::open(bytes.into(), Arc::clone(&dictionary)).is_err(),
            "{bit}"
        );
    }
}

#[test]
fn a_wrong_table_under_a_right_checksum_is_absent_and_verify_says_so() {
    let mut dictionary = letters();
    let map = Map::from_iter([("a", Value::from("abc"))]);
    let sound = encode(&map, &mut dictionary).unwrap();
    let dictionary = Arc::new(dictionary);
    let span = sound.len() - 6;
    for (start, end) in [(5, 9), (5, 200), (9, 5), (200, 201), (0, 11)] {
        let mut bytes = sound.clone();
        bytes[span + 2..].copy_from_slice(&[start, 0, end, 0]);
        let sum = checksum(&bytes);
        bytes[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        let stored = StoredDocument::open(bytes.into(), Arc::clone(&dictionary)).unwrap();
        assert_ne!(stored.attribute("a"), Some(Value::from("abc")));
        assert!(stored.verify().is_err(), "{start}..{end}");
    }
}

#[test]
fn a_dictionary_refuses_damage() {
    let bytes = letters().encode();
    for length in [1, 2, 4, 5, bytes.len() - 1] {
        assert!(Dictionary::decode(&bytes[..length]).is_err(), "{length}");
    }
    assert!(Dictionary::decode(&[bytes.clone(), bytes].concat()).is_err());
    assert!(Dictionary::decode(&[1, 0, 0xFF]).is_err());
    assert_eq!(Dictionary::decode(&[]), Ok(Dictionary::default()));
}
