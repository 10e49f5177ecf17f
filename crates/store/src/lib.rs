//! (being written)

pub mod document;
mod format;
pub mod order;
pub mod schema;
pub mod validate;

pub use crate::format::FormatError;
