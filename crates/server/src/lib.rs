//! Composition of the Motet crates into one server.
#![forbid(unsafe_code)]
pub mod config;
