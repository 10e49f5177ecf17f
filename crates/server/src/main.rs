//! The `motet` program.
fn main() {}
