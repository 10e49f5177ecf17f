//! The query language of URLs (`rest.md` §7), and queries as values (§3.7).
//!
//! ```text
//! GET /Book/?genre=scifi&price=gt=100&select(id,name)&sort(-price)&limit(0,20)
//! ```
//!
//! One pass over the raw text recognizes the structure; names and values are percent-decoded afterwards, so
//! that an encoded delimiter is data. What comes out is a [`resource::Query`]: values keep the text they were
//! written in, with the way they are to be converted, since the type of an attribute is known to the resource
//! alone.

mod error;
mod functions;
mod level;
mod operator;
mod parser;
mod value;

pub use self::error::QueryError;
pub use self::parser::parse;
pub use self::value::from_value;

/// Deepest nesting of groups.
pub const MAX_DEPTH: usize = 32;

/// Most items of one selection.
pub const MAX_SELECTED: usize = 1000;

/// Most criteria of one order.
pub const MAX_SORT_KEYS: usize = 32;

/// Most conditions of one query.
pub const MAX_CONDITIONS: usize = 1000;
