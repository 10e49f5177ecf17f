//! Blocks: no field can be forged, and a reader gets the payload back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto_sse::framing::Block;

fuzz_target!(|input: (&str, &str, &str)| {
    let (event, id, data) = input;
    let mut out = Vec::new();
    let block = Block {
        event: Some(event),
        data: Some(data.as_bytes()),
        id: Some(id),
        retry_ms: None,
    };
    block.encode(&mut out);
    let text = std::str::from_utf8(&out).expect("text stays text");
    let lines: Vec<&str> = text.strip_suffix("\n\n").expect("an empty line ends it").split('\n').collect();
    let count = |name: &str| lines.iter().filter(|line| line.starts_with(name)).count();
    assert_eq!((count("event: "), count("id: ")), (1, 1));
    assert_eq!(count("data: ") + 2, lines.len());
    let read: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(read.join("\n"), data.replace("\r\n", "\n").replace('\r', "\n"));
});
