//! The `Range` field: whatever a client writes, the parts lie within the size, in the limit, and apart.
#![no_main]

use http_chain::files::range::{RangePolicy, Selection, resolve};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &str)| {
    let (size, value) = input;
    let policy = RangePolicy::default();
    let Selection::Parts(mut parts) = resolve(value, size, policy) else {
        return;
    };
    assert!(!parts.is_empty() && parts.len() <= policy.max_ranges);
    assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
    parts.sort_unstable_by_key(|part| part.start);
    assert!(parts.windows(2).all(|pair| pair[0].end <= pair[1].start));
});
