//! Bytes from a peer never panic, and never cost more than their length deserves.
//!
//! The files in `fuzz/seeds` start the fuzz targets; here they run as plain tests, whole, cut short at every
//! byte and with single bytes changed.

mod support;

use std::fs;
use std::path::Path;

use content::{ContentTypes, MediaType, cbor, csv, form, json, msgpack, ndjson};
use resource::coerce;

use crate::support::Random;

type Target = fn(&[u8]);

/// The same bodies as the fuzz targets of the same names.
const TARGETS: &[(&str, Target)] = &[
    ("json", |bytes| {
        if let Ok(value) = json::decode(bytes) {
            let text = resource::json::to_vec(&value);
            let again = json::decode(&text).expect("what was written is read again");
            assert_eq!(resource::json::to_vec(&again), text);
        }
    }),
    ("cbor", |bytes| {
        if let Ok(value) = cbor::decode(bytes) {
            let mut written = Vec::new();
            cbor::encode(&value, &mut written);
            let again = cbor::decode(&written).expect("what was written is read again");
            assert!(support::same(&value, &again));
        }
    }),
    ("msgpack", |bytes| {
        if let Ok(value) = msgpack::decode(bytes) {
            let mut written = Vec::new();
            msgpack::encode(&value, &mut written).expect("short enough");
            let again = msgpack::decode(&written).expect("what was written is read again");
            assert!(support::same(&value, &again));
        }
    }),
    ("csv", |bytes| {
        let _ = csv::decode(bytes, |_, text| Ok(coerce::guess(text)));
    }),
    ("ndjson", |bytes| {
        let _ = ndjson::decode(bytes);
    }),
    ("form", |bytes| {
        let _ = form::decode(bytes, None);
    }),
    ("multipart", |bytes| {
        let types = ContentTypes::standard();
        let _ = types.decode(Some("multipart/form-data; boundary=XX"), bytes);
    }),
    ("accept", |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let types = ContentTypes::standard();
        let _ = types.negotiate(Some(text), None);
        let _ = types.prefers_event_stream(text);
        if let Some(media_type) = MediaType::parse(text) {
            assert_eq!(MediaType::parse(&media_type.to_string()), Some(media_type));
        }
    }),
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let files = fs::read_dir(&directory).expect("every target has seeds");
    let seeds: Vec<_> = files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(!seeds.is_empty(), "{}", directory.display());
    seeds
}

#[test]
fn seeds_whole_cut_and_changed() {
    for (name, target) in TARGETS {
        for (index, seed) in seeds(name).iter().enumerate() {
            target(seed);
            for end in 0..seed.len() {
                target(&seed[..end]);
            }
            let mut random = Random(index as u64);
            for _ in 0..500 {
                let mut changed = seed.clone();
                for _ in 0..=random.below(3) {
                    let at = random.below(changed.len().max(1) as u64) as usize;
                    if let Some(byte) = changed.get_mut(at) {
                        *byte = random.next() as u8;
                    }
                }
                target(&changed);
            }
        }
    }
}

#[test]
fn random_bytes() {
    for (_, target) in TARGETS {
        let mut random = Random(7);
        for _ in 0..3000 {
            target(&random.bytes(60));
        }
    }
}

#[test]
fn a_megabyte_of_openings_is_refused_at_once() {
    let megabyte = |pattern: &[u8]| pattern.repeat(1_000_000 / pattern.len());
    assert!(json::decode(&megabyte(b"[")).is_err());
    assert!(json::decode(&megabyte(b"{\"a\":")).is_err());
    for pattern in [&b"\x9F"[..], b"\x81", b"\xBF\x61a", b"\xC1", b"\xD8\x40"] {
        assert!(cbor::decode(&megabyte(pattern)).is_err());
    }
    for pattern in [&b"\x91"[..], b"\x81\xA1a", b"\xDD\xFF\xFF\xFF\xFF"] {
        assert!(msgpack::decode(&megabyte(pattern)).is_err());
    }
}

#[test]
fn huge_declared_lengths_reserve_nothing() {
    for bytes in [
        &b"\x9B\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"[..],
        b"\xBB\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\x5B\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\x7B\x00\x00\x00\xFF\xFF\xFF\xFF\xFF",
        b"\xC2\x5B\x00\x00\x00\xFF\xFF\xFF\xFF\xFF",
    ] {
        assert!(cbor::decode(bytes).is_err());
    }
    for marker in [0xC6, 0xC9, 0xDB, 0xDD, 0xDF] {
        assert!(msgpack::decode(&[marker, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]).is_err());
    }
}

#[test]
fn a_huge_number_is_refused_before_it_is_computed() {
    let digits = "9".repeat(5_000_000);
    assert!(json::decode(digits.as_bytes()).is_err());
    let table = format!("a\n{digits}\n");
    let read = csv::decode(table.as_bytes(), |_, text| Ok(coerce::guess(text))).unwrap();
    assert!(matches!(
        &read.as_array().unwrap()[0].as_map().unwrap().get("a"),
        Some(resource::Value::String(_))
    ));
    let mut bignum = b"\xC2\x5A\x00\x4C\x4B\x40".to_vec();
    bignum.resize(6 + 5_000_000, 0xFF);
    assert!(cbor::decode(&bignum).is_err());
}
