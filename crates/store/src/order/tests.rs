//! Byte order against an independent order of values, which counts numbers in units of 2^-1074.

use std::cmp::Ordering;

use num_traits::Zero as _;
use proptest::prelude::*;

use super::*;

/// A finite number in units of the smallest positive float: exact, and nothing like the encoding.
fn units(value: &Value) -> Option<BigInt> {
    let integer = match value {
        Value::Int(n) => BigInt::from(*n),
        Value::BigInt(n) => n.clone(),
        Value::Date(date) => BigInt::from(date.as_millis()),
        Value::Float(n) => {
            let (bits, mut units) = (n.to_bits(), BigInt::zero());
            let (exponent, mantissa) = (bits >> 52 & 0x7FF, bits & ((1 << 52) - 1));
            units += mantissa;
            if exponent > 0 {
                units = (units + (1_u64 << 52)) << (exponent - 1);
            }
            return Some(if *n < 0.0 { -units } else { units });
        }
        _ => return None,
    };
    Some(integer << 1074)
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::String(_) => 4,
        Value::Array(_) => 5,
        Value::Bytes(_) | Value::Map(_) => 6,
        _ => 3,
    }
}

fn compare(left: &Value, right: &Value) -> Ordering {
    rank(left)
        .cmp(&rank(right))
        .then_with(|| match (left, right) {
            (Value::String(left), Value::String(right)) => left.cmp(right),
            (Value::Array(left), Value::Array(right)) => {
                let pairs = left.iter().zip(right);
                pairs
                    .map(|(left, right)| compare(left, right))
                    .find(|order| order.is_ne())
                    .unwrap_or(left.len().cmp(&right.len()))
            }
            _ => units(left).cmp(&units(right)),
        })
}

fn encoded(value: &Value) -> (Vec<u8>, Indexed) {
    let mut out = Vec::new();
    let outcome = encode_index(value, &mut out);
    (out, outcome)
}

fn any_float() -> impl Strategy<Value = f64> {
    let finite = any::<u64>()
        .prop_map(f64::from_bits)
        .prop_filter("finite", |n| n.is_finite());
    prop_oneof![finite, (-20_i32..20).prop_map(|n| f64::from(n) / 4.0)]
}

fn any_big() -> impl Strategy<Value = BigInt> {
    (any::<i64>(), 0_u32..1000).prop_map(|(n, shift)| BigInt::from(n) << shift)
}

/// Numbers that are equal or almost equal, of all types.
fn near_number() -> impl Strategy<Value = Value> {
    (0_u32..64, -2_i64..=2, 0..4).prop_map(|(power, delta, kind)| {
        let n = (1_i64.wrapping_shl(power)).wrapping_add(delta);
        match kind {
            0 => Value::Int(n),
            1 => Value::Float(n as f64),
            2 => Value::BigInt(BigInt::from(n)),
            _ => Value::Float(n as f64 + 0.5),
        }
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab\0\u{1}é\u{10FFFF}]{0,6}",
        // Around the place where texts are cut.
        (MAX_INDEX_BYTES - 4..MAX_INDEX_BYTES + 4, "[ab\0é]{0,3}")
            .prop_map(|(length, end)| "a".repeat(length) + &end),
    ]
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any_float().prop_map(Value::Float),
        any_big().prop_map(Value::BigInt),
        near_number(),
        (-1_000_000_i64..1_000_000)
            .prop_filter_map("date", Date::from_millis)
            .prop_map(Value::Date),
        any_text().prop_map(Value::String),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    any_scalar().prop_recursive(3, 12, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(Value::Array)
    })
}

fn any_key() -> impl Strategy<Value = Key> {
    let scalar = prop_oneof![
        any::<i64>().prop_map(Key::Int),
        any_float().prop_map(|n| Key::from_value(&Value::Float(n)).unwrap()),
        any::<i128>()
            .prop_map(|n| BigInt::from(n >> 63))
            .prop_map(Key::BigInt),
        near_number().prop_map(|n| Key::from_value(&n).unwrap()),
        "[ab\0é]{0,6}".prop_map(Key::String),
    ];
    scalar
        .prop_filter("below 2^64", |key| encode_key(key).is_ok())
        .prop_recursive(2, 8, 3, |inner| {
            prop::collection::vec(inner, 1..4).prop_map(Key::Parts)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_order_of_entries_is_the_order_of_values(left in any_value(), right in any_value()) {
        let ((left_bytes, left_cut), (right_bytes, right_cut)) = (encoded(&left), encoded(&right));
        let (expected, found) = (compare(&left, &right), left_bytes.cmp(&right_bytes));
        if left_cut == Indexed::Exact || right_cut == Indexed::Exact {
            prop_assert_eq!(found, expected);
        } else {
            prop_assert!(found == expected || found.is_eq());
        }
    }

    #[test]
    fn numbers_that_are_almost_equal_stay_in_order(left in near_number(), right in near_number()) {
        prop_assert_eq!(encoded(&left).0.cmp(&encoded(&right).0), compare(&left, &right));
    }

    #[test]
    fn a_composite_sorts_by_value_and_then_by_key(
        left in (any_scalar(), any_key()),
        right in (any_scalar(), any_key()),
    ) {
        let composite = |(value, key): &(Value, Key)| {
            let (mut bytes, _) = encoded(value);
            bytes.extend(encode_key(key).unwrap());
            bytes
        };
        let part = |(value, key): &(Value, Key)| (encoded(value).0, encode_key(key).unwrap());
        prop_assert_eq!(composite(&left).cmp(&composite(&right)), part(&left).cmp(&part(&right)));
    }

    #[test]
    fn a_composite_can_be_parted(value in any_value(), key in any_key()) {
        let (mut bytes, _) = encoded(&value);
        let length = bytes.len();
        bytes.extend(encode_key(&key).unwrap());
        prop_assert_eq!(index_len(&bytes), Ok(length));
        prop_assert_eq!(decode_key(&bytes[length..]), Ok(canonical_key(key)));
    }

    #[test]
    fn a_key_survives_and_its_form_is_unique(key in any_key()) {
        let bytes = encode_key(&key).unwrap();
        let read = decode_key(&bytes).unwrap();
        prop_assert_eq!(&read, &canonical_key(key));
        prop_assert_eq!(encode_key(&read).unwrap(), bytes);
        prop_assert_eq!(canonical_key(read.clone()), read);
    }

    #[test]
    fn a_prefix_range_holds_exactly_the_texts_that_start_so(prefix in any_text(), text in any_text()) {
        for text in [text.clone(), format!("{prefix}{text}")] {
            let range = text_prefix_range(&prefix);
            let (entry, cut) = encoded(&Value::from(text.as_str()));
            let inside = range.lower <= entry && entry < range.upper;
            if range.exact && cut == Indexed::Exact {
                prop_assert_eq!(inside, text.starts_with(&prefix));
            } else {
                prop_assert!(inside || !text.starts_with(&prefix));
            }
        }
    }

    #[test]
    fn bytes_from_anywhere_never_panic(bytes in prop::collection::vec(
        prop_oneof![any::<u8>(), Just(0x00), Just(0x01), Just(0x21), Just(0x23), Just(0x30), Just(0x40), Just(0xFF)],
        0..40,
    )) {
        if let Ok(key) = decode_key(&bytes) {
            prop_assert!(encode_key(&key).is_ok());
        }
        if let Ok(length) = index_len(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }
}

#[test]
fn s8_1_null_booleans_numbers_texts_arrays() {
    let ascending = [
        Value::Null,
        Value::Bool(false),
        Value::Bool(true),
        Value::Float(f64::NEG_INFINITY),
        Value::Int(i64::MIN),
        Value::Float(-0.5),
        Value::Int(0),
        Value::Float(f64::from_bits(1)),
        Value::Date(Date::from_millis(1).unwrap()),
        Value::Int(2),
        Value::Float(9_007_199_254_740_992.0),
        Value::Int(9_007_199_254_740_993),
        Value::BigInt(BigInt::from(10).pow(299)),
        Value::Float(f64::MAX),
        Value::Float(f64::INFINITY),
        Value::from(""),
        Value::from("Z"),
        Value::from("a"),
        Value::Array(vec![]),
        Value::Array(vec![Value::Int(9)]),
    ];
    for pair in ascending.windows(2) {
        assert!(encoded(&pair[0]).0 < encoded(&pair[1]).0, "{pair:?}");
    }
}

#[test]
fn zero_is_one_number() {
    for zero in [
        Value::Float(0.0),
        Value::Float(-0.0),
        Value::BigInt(BigInt::zero()),
    ] {
        assert_eq!(encoded(&zero), encoded(&Value::Int(0)));
    }
}

#[test]
fn s4_a_key_of_658_characters_fits_and_a_larger_one_is_400() {
    assert!(encode_key(&Key::String("\u{FFFF}".repeat(658))).is_ok());
    let error = encode_key(&Key::String("a".repeat(1976))).unwrap_err();
    assert_eq!(error.status(), 400);
    assert_eq!(error.message(), "Primary key size is too large: 1979");
}

#[test]
fn s4_a_big_integer_key_is_below_2_to_the_64() {
    let limit = BigInt::from(1) << 64;
    assert!(encode_key(&Key::BigInt(&limit - 1)).is_ok());
    assert!(encode_key(&Key::BigInt(1 - &limit)).is_ok());
    assert_eq!(encode_key(&Key::BigInt(limit)).unwrap_err().status(), 400);
}

#[test]
fn s4_deep_keys_are_refused() {
    let mut key = Key::Int(1);
    for _ in 0..40 {
        key = Key::Parts(vec![key]);
    }
    assert_eq!(encode_key(&key).unwrap_err().status(), 400);
    assert!(decode_key(&[0x40; 200]).is_err());
}

#[test]
fn s8_2_entries_of_an_attribute() {
    let array = |items: &[i64]| Value::Array(items.iter().copied().map(Value::Int).collect());
    assert_eq!(index_entries(None), index_entries(Some(&Value::Null)));
    assert_eq!(index_entries(Some(&array(&[2, 1, 2]))).len(), 2);
    assert_eq!(
        index_entries(Some(&array(&[1]))),
        index_entries(Some(&Value::Int(1)))
    );
    assert!(index_entries(Some(&Value::Map(resource::Map::new()))).is_empty());
    assert!(index_entries(Some(&Value::Bytes(b"x".as_slice().into()))).is_empty());
    assert!(index_entries(Some(&array(&[]))).is_empty());
}

#[test]
fn an_array_around_an_object_is_not_indexed() {
    let nested = Value::Array(vec![Value::Int(1), Value::Map(resource::Map::new())]);
    let mut out = b"before".to_vec();
    assert_eq!(encode_index(&nested, &mut out), Indexed::Absent);
    assert_eq!(out, b"before");
}

#[test]
fn entries_have_a_bounded_length() {
    let long = Value::String("x".repeat(1 << 20));
    let many = Value::Array(vec![long.clone(); 100]);
    let mut deep = Value::Int(1);
    for _ in 0..100 {
        deep = Value::Array(vec![deep, long.clone()]);
    }
    for value in [long, many, deep, Value::BigInt(BigInt::from(1) << 100_000)] {
        let (bytes, outcome) = encoded(&value);
        assert_eq!(outcome, Indexed::Cut);
        assert!(bytes.len() <= MAX_INDEX_BYTES + 64, "{}", bytes.len());
        assert_eq!(index_len(&bytes), Ok(bytes.len()));
    }
}

#[test]
fn a_sub_collection_is_what_continues_its_prefix() {
    let inside = |range: &Range, key: &Key| {
        let key = encode_key(key).unwrap();
        range.lower <= key && key < range.upper
    };
    let texts = key_prefix_range(&Key::from("a/")).unwrap();
    for (key, expected) in [
        ("a/", true),
        ("a/b", true),
        ("a/\u{10FFFF}", true),
        ("a", false),
        ("b", false),
    ] {
        assert_eq!(inside(&texts, &Key::from(key)), expected, "{key}");
    }
    let parts = |parts: &[&str]| Key::Parts(parts.iter().copied().map(Key::from).collect());
    let lists = key_prefix_range(&parts(&["a"])).unwrap();
    for (key, expected) in [
        (parts(&["a"]), false),
        (parts(&["a", "b"]), true),
        (parts(&["a", "b", "c"]), true),
        (parts(&["ab"]), false),
        (parts(&["b"]), false),
    ] {
        assert_eq!(inside(&lists, &key), expected, "{key}");
    }
    assert!(key_prefix_range(&Key::Int(1)).is_err());
}

#[test]
fn keys_in_memory_have_the_order_of_stored_keys() {
    let big = |text: &str| Value::from(text.parse::<num_bigint::BigInt>().unwrap());
    let mut values = vec![
        Value::Int(i64::MIN),
        Value::Int(i64::MAX),
        Value::Float(-1e300),
        Value::Float(9.3e18),
        Value::Float(-0.5),
        Value::Float(0.5),
        Value::Float(1e-300),
        big("18446744073709551615"),
        big("-18446744073709551615"),
        Value::from(""),
        Value::from("a"),
        Value::from("a\0"),
        Value::from("ab"),
        Value::from("\u{e4}"),
    ];
    values.extend((-3..3).flat_map(|n| [Value::Int(n), Value::Float(n as f64 + 0.25)]));
    let parts = |parts: &[Value]| Value::Array(parts.to_vec());
    values.extend([
        parts(&[Value::Int(1)]),
        parts(&[Value::Int(1), Value::from("a")]),
        parts(&[Value::Int(1), Value::Int(2)]),
        parts(&[Value::Float(1.5)]),
        parts(&[Value::from("a"), Value::Int(2)]),
    ]);
    let keys: Vec<Key> = values
        .iter()
        .map(|value| canonical_key(Key::from_value(value).unwrap()))
        .collect();
    for left in &keys {
        for right in &keys {
            let stored = encode_key(left).unwrap().cmp(&encode_key(right).unwrap());
            assert_eq!(left.cmp(right), stored, "{left:?} {right:?}");
        }
    }
}
