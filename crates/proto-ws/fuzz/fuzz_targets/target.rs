//! Paths and queries: no panic.
#![no_main]

use content::ContentTypes;
use libfuzzer_sys::fuzz_target;
use proto_ws::target::{Options, Target};
use resource::{Methods, Resource, Scope};

struct Anything;

impl Resource for Anything {
    fn name(&self) -> &str {
        "Anything"
    }
    fn methods(&self) -> Methods {
        Methods::NONE
    }
}

fuzz_target!(|text: &str| {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let _ = Target::parse(&Anything, &ContentTypes::standard(), path);
    let _ = Options::parse(Some(query), &Scope::All);
});
