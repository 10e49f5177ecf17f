//! A stored record of any bytes: an error or values, never a panic. What decodes encodes to the same values.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use resource::Document as _;
use store::document::{Dictionary, StoredDocument, encode};

static NAMES: LazyLock<Arc<Dictionary>> = LazyLock::new(|| {
    let mut names = Dictionary::default();
    for name in ["a", "b", "c"] {
        names.number(name);
    }
    Arc::new(names)
});

fuzz_target!(|bytes: &[u8]| {
    let mut record = bytes.to_vec();
    // Without a true checksum nothing behind it would be reached.
    if record.len() >= 16 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&record[..12]);
        sum.update(&record[16..]);
        record[12..16].copy_from_slice(&sum.finalize().to_le_bytes());
    }
    let Ok(document) = StoredDocument::open(Bytes::from(record), Arc::clone(&NAMES)) else {
        return;
    };
    let _ = (document.json(), document.to_value(), document.verify());
    for name in ["a", "b", "absent"] {
        let _ = (document.attribute(name), document.attribute_json(name));
    }
    if let Ok(map) = document.decode() {
        let mut names = Dictionary::clone(&NAMES);
        let again = encode(&map, &mut names).expect("what was read is not too large or too deep");
        let again =
            StoredDocument::open(again.into(), Arc::new(names)).expect("it was just written");
        again.verify().expect("it was just written");
    }
});
