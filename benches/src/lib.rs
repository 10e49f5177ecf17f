//! Whole-server measurements: a load generator, the cases it drives and the report it prints.
//!
//! Nothing is measured here yet, and `cargo xtask bench` says so. What a crate measures about itself is
//! in its own `benches/` directory and runs with `cargo bench -p CRATE`.
#![forbid(unsafe_code)]
