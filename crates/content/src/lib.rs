//! Media types: what bytes of a body mean, and which bytes a client wants back.
//!
//! ```text
//! Content-Type + bytes ─▶ ContentTypes::decode ─▶ Codec::decode ─▶ resource::Value
//! Accept, path suffix  ─▶ ContentTypes::negotiate ─▶ Format
//! Format + Record + Projection ─▶ bytes         Format + Layout ─▶ Sequence ─▶ chunks of a collection
//! ```
//!
//! A [`Codec`] knows one format; [`ContentTypes`] is the set a server speaks and picks from it by
//! `Content-Type`, by `Accept` with its q values, or by the suffix of a path. [`Projection`] is the shape a
//! `select` asks for. A [`Sequence`] writes a collection record by record, so that its size does not
//! matter. Stored documents go out as JSON without being decoded.
//!
//! | media type | module | as a collection |
//! |---|---|---|
//! | `application/json` | [`json`] | an array |
//! | `application/cbor` | [`cbor`] | an array of indefinite length |
//! | `application/x-msgpack`, `application/msgpack` | [`msgpack`] | values one after the other |
//! | `text/csv` | [`csv`] | a header and a line for each record |
//! | `text/plain` | [`text`] | a line for each record |
//! | `application/x-ndjson`, `application/ndjson` | [`ndjson`] | a line for each record |
//! | `text/yaml` | [`yaml`], out only | a sequence in block style |
//! | `application/x-www-form-urlencoded` | [`form`], in only | |
//! | `multipart/form-data` | [`multipart`], in only | |
//! | `application/octet-stream` | in only: the bytes themselves | |
//!
//! Peers are not trusted: nesting is bounded, no declared length is believed before the bytes are there,
//! and the size of big integers, whose arithmetic is quadratic, is bounded.
//!
//! Normative: RFC 8259 (JSON), RFC 8949 (CBOR), the MessagePack specification, RFC 4180 (CSV), YAML 1.2,
//! RFC 7578 (`multipart/form-data`), RFC 9110 §8.3 and §12 (media types and negotiation). Not here: HTTP, content codings (gzip), transport limits.
#![forbid(unsafe_code)]

pub mod cbor;
mod codec;
pub mod csv;
mod error;
pub mod form;
pub mod json;
pub mod media_type;
pub mod msgpack;
pub mod multipart;
pub mod ndjson;
mod negotiate;
mod octets;
mod projection;
mod raw;
mod registry;
mod sequence;
pub mod text;
pub mod yaml;

pub use crate::codec::{Codec, DecodeContext, Direction, Framing, Layout};
pub use crate::error::{DecodeError, EncodeError};
pub use crate::media_type::MediaType;
pub use crate::negotiate::NotAcceptable;
pub use crate::projection::Projection;
pub use crate::registry::{ContentTypes, Format};
pub use crate::sequence::Sequence;

/// Deepest nesting of arrays and maps that is read, in every format.
pub const MAX_DEPTH: usize = resource::json::MAX_DEPTH;

/// Bytes of the largest big integer that is read from a binary format: at most as many decimal digits as
/// [`resource::json::MAX_INTEGER_DIGITS`].
pub const MAX_BIG_INTEGER_BYTES: usize = 425;
