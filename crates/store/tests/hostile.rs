//! Bytes and text that nobody should have written: errors, never panics.
//!
//! The files in `fuzz/seeds` start the fuzz targets; here they run as plain tests: whole, cut short at every
//! place, and with every byte replaced by others.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use resource::Document as _;
use store::document::{Dictionary, StoredDocument};
use store::order::{canonical_key, decode_key, encode_key, index_len};

/// Calls `check` with every variation of every seed of a target.
fn vary(target: &str, check: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut seeds = 0;
    for file in std::fs::read_dir(directory).expect("the target has seeds") {
        let seed = std::fs::read(file.unwrap().path()).unwrap();
        check(&seed);
        for at in 0..seed.len() {
            check(&seed[..at]);
            for byte in [0x00, 0x01, 0x22, 0x40, 0x5B, 0x7B, 0x7F, 0xFF, !seed[at]] {
                let mut damaged = seed.clone();
                damaged[at] = byte;
                check(&damaged);
            }
        }
        seeds += 1;
    }
    assert!(seeds > 0);
}

/// The names in the seeds.
fn names() -> Arc<Dictionary> {
    let mut names = Dictionary::default();
    for name in ["a", "b", "c"] {
        names.number(name);
    }
    Arc::new(names)
}

/// Gives a record a true checksum, without which nothing behind it would be reached.
fn seal(record: &mut [u8]) {
    if record.len() >= 16 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&record[..12]);
        sum.update(&record[16..]);
        record[12..16].copy_from_slice(&sum.finalize().to_le_bytes());
    }
}

#[test]
fn a_record_of_any_bytes_never_panics() {
    let names = names();
    vary("document", |bytes| {
        let mut record = bytes.to_vec();
        seal(&mut record);
        let Ok(document) = StoredDocument::open(Bytes::from(record), Arc::clone(&names)) else {
            return;
        };
        let _ = (document.json(), document.to_value(), document.verify());
        for name in ["a", "b", "absent"] {
            let _ = (document.attribute(name), document.attribute_json(name));
        }
    });
}

#[test]
fn the_seeds_are_records() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/document");
    for file in std::fs::read_dir(directory).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let document = StoredDocument::open(bytes.into(), names()).unwrap();
        assert_eq!(document.verify(), Ok(()));
    }
}

#[test]
fn a_key_of_any_bytes_never_panics_and_has_one_encoding() {
    vary("key", |bytes| {
        if let Ok(length) = index_len(bytes) {
            assert!(length <= bytes.len());
        }
        if let Ok(key) = decode_key(bytes) {
            let encoded = encode_key(&key).unwrap();
            assert_eq!(decode_key(&encoded), Ok(canonical_key(key)));
        }
    });
}

#[test]
fn a_schema_of_any_text_never_panics() {
    vary("schema", |bytes| {
        let source = String::from_utf8_lossy(bytes);
        if let Err(error) = store::schema::parse(&source, "hostile.graphql") {
            assert!(error.line > 0 && error.column > 0);
        }
    });
}
