//! The formats a server speaks, and which of them a message is in.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use resource::{Body, Record, Value};

use crate::negotiate::{Closeness, Element};
use crate::octets::Octets;
use crate::{
    Codec, DecodeContext, DecodeError, Direction, EncodeError, Layout, MediaType, NotAcceptable,
    Sequence, cbor, csv, form, json, msgpack, multipart, ndjson, raw, text, yaml,
};

/// How gladly a type is sent that the client did not name, only allowed by a range.
const WEIGHT_OF_RANGE: f32 = 0.5;
const WEIGHT_OF_EVENT_STREAM: f32 = 0.8;

/// A set of formats. The first one is the default.
///
/// Made while a server is composed, then shared unchanged.
///
/// ```
/// use content::ContentTypes;
///
/// let types = ContentTypes::standard();
/// let format = types.negotiate(Some("text/*, application/cbor;q=0.1"), None)?;
/// assert_eq!(format.content_type(), "text/plain; charset=utf-8");
/// assert_eq!(types.negotiate(None, Some("csv"))?.media_type(), "text/csv");
/// assert!(types.negotiate(Some("image/png"), None).is_err());
/// # Ok::<(), content::NotAcceptable>(())
/// ```
#[derive(Clone)]
pub struct ContentTypes {
    formats: Vec<Format>,
}

impl ContentTypes {
    /// JSON (the default), CBOR, MessagePack, plain text, CSV and lines of JSON; YAML out; bytes and forms in.
    pub fn standard() -> Self {
        let mut types = Self {
            formats: Vec::new(),
        };
        types.register(json::Json);
        types.register(cbor::Cbor);
        types.register(msgpack::MessagePack);
        types.register(text::Text);
        types.register(csv::Csv);
        types.register(ndjson::NdJson);
        types.register(yaml::Yaml);
        types.register(Octets);
        types.register(form::Form);
        types.register(multipart::MultipartForm);
        types
    }

    /// Adds a format, in place of one with the same media type.
    pub fn register(&mut self, codec: impl Codec + 'static) {
        let codec: Arc<dyn Codec> = Arc::new(codec);
        for media_type in codec.media_types() {
            let format = Format::new(media_type, Arc::clone(&codec));
            match self
                .formats
                .iter_mut()
                .find(|known| known.media_type == *media_type)
            {
                Some(known) => *known = format,
                None => self.formats.push(format),
            }
        }
    }

    /// The format for those who do not say what they want: JSON, unless another was registered first.
    pub fn default_format(&self) -> &Format {
        // `standard` is the only way to make one, and nothing can be taken out.
        self.formats
            .first()
            .expect("a set has its standard formats")
    }

    /// The format of that media type, given in lower case without parameters.
    pub fn by_media_type(&self, essence: &str) -> Option<&Format> {
        self.formats
            .iter()
            .find(|format| format.media_type == essence)
    }

    /// The format that a path suffix (without dot) asks for.
    pub fn by_suffix(&self, suffix: &str) -> Option<&Format> {
        self.formats
            .iter()
            .find(|format| format.codec.suffix() == Some(suffix))
    }

    /// The format of a response (`rest.md` §9.2): that of the path suffix; without `Accept` the default;
    /// otherwise the one with the highest product of the client's q and our weight, the first listed if
    /// several have it.
    ///
    /// A range stands for the first format in it that no closer element names, with the weight 0.5.
    ///
    /// # Errors
    ///
    /// [`NotAcceptable`] if nothing fits, also for a suffix that no format has.
    pub fn negotiate(
        &self,
        accept: Option<&str>,
        suffix: Option<&str>,
    ) -> Result<&Format, NotAcceptable> {
        if let Some(suffix) = suffix {
            return self.by_suffix(suffix).ok_or_else(|| self.not_acceptable());
        }
        let Some(accept) = accept else {
            return Ok(self.default_format());
        };
        // Most programs name the one type they want, as it is written here.
        if let Some(format) = self.outgoing().find(|format| format.media_type == accept) {
            return Ok(format);
        }
        match self.best(&Element::list(accept)) {
            Some(best) => Ok(best.format),
            None => Err(self.not_acceptable()),
        }
    }

    /// Whether a client that sends this `Accept` wants `text/event-stream` more than any format of ours.
    ///
    /// ```
    /// let types = content::ContentTypes::standard();
    /// assert!(types.prefers_event_stream("text/event-stream"));
    /// assert!(!types.prefers_event_stream("application/json, text/event-stream"));
    /// assert!(!types.prefers_event_stream("*/*"));
    /// ```
    pub fn prefers_event_stream(&self, accept: &str) -> bool {
        let name = b"event-stream";
        let bytes = accept.as_bytes();
        // Nearly all requests end here, before anything is taken apart.
        if !bytes
            .windows(name.len())
            .any(|part| part.eq_ignore_ascii_case(name))
        {
            return false;
        }
        let elements = Element::list(accept);
        let stream = elements.iter().enumerate().find(|(_, element)| {
            element.q > 0.0 && element.covers("text/event-stream") == Some(Closeness::Exact)
        });
        let Some((index, element)) = stream else {
            return false;
        };
        let score = element.q * WEIGHT_OF_EVENT_STREAM;
        self.best(&elements)
            .is_none_or(|best| score > best.score || (score == best.score && index < best.index))
    }

    /// The format with the highest score.
    ///
    /// For each format one element decides: the one that names it most closely, the first of several. An
    /// element that names no type but a range stands for the first format it decides about.
    fn best(&self, elements: &[Element<'_>]) -> Option<Candidate<'_>> {
        let mut best: Option<Candidate<'_>> = None;
        let mut used_ranges = Vec::new();
        for format in self.outgoing() {
            let Some((index, closeness)) = deciding(elements, format.media_type) else {
                continue;
            };
            let q = elements[index].q;
            let weight = match closeness {
                Closeness::Exact => format.codec.weight(),
                Closeness::Kind | Closeness::Any if used_ranges.contains(&index) => continue,
                Closeness::Kind | Closeness::Any => {
                    used_ranges.push(index);
                    WEIGHT_OF_RANGE
                }
            };
            let candidate = Candidate {
                format,
                score: q * weight,
                index,
            };
            if q > 0.0 && best.as_ref().is_none_or(|best| candidate.beats(best)) {
                best = Some(candidate);
            }
        }
        best
    }

    /// Formats that can be sent.
    fn outgoing(&self) -> impl Iterator<Item = &Format> {
        self.formats
            .iter()
            .filter(|format| format.codec.direction() != Direction::In)
    }

    /// The media types of the formats that can be sent, the default first.
    pub fn sent_media_types(&self) -> impl Iterator<Item = &'static str> {
        self.outgoing().map(|format| format.media_type)
    }

    fn not_acceptable(&self) -> NotAcceptable {
        let names: Vec<&str> = self.sent_media_types().collect();
        NotAcceptable {
            supported: names.join(", "),
        }
    }

    /// Reads a body by its `Content-Type`; without one it is taken for the default format.
    ///
    /// ```
    /// use content::ContentTypes;
    /// let types = ContentTypes::standard();
    /// let error: resource::Error = types.decode(Some("application/pdf"), b"%PDF").unwrap_err().into();
    /// assert_eq!(error.status(), 415);
    /// ```
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: 415 for a media type that is not understood, 400 for bytes that are not of it.
    pub fn decode(&self, content_type: Option<&str>, bytes: &[u8]) -> Result<Value, DecodeError> {
        let Some(content_type) = content_type else {
            let media_type = MediaType::parse(self.default_format().media_type)
                .ok_or_else(|| DecodeError::UnknownMediaType(String::new()))?;
            return self.decode_as(&media_type, bytes, None);
        };
        let media_type = parse_media_type(content_type)?;
        self.decode_as(&media_type, bytes, None)
    }

    /// Reads a body that may be of any type (`rest.md` §9.4): one that no format reads becomes
    /// `{"contentType": …, "data": …}` with text or bytes as data. Without `Content-Type` it is JSON if it
    /// begins like an object or array, else bytes.
    ///
    /// `table` is where the value is meant to go, if that is a table: a table holds objects, so plain text
    /// and bytes are wrapped for it as well.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode); 415 only for unknown character encodings.
    pub fn decode_any(
        &self,
        content_type: Option<&str>,
        bytes: &Bytes,
        table: Option<&resource::TableDefinition>,
    ) -> Result<Value, DecodeError> {
        let Some(content_type) = content_type else {
            return match bytes.first() {
                Some(b'{' | b'[') => json::decode(bytes),
                _ => Ok(raw::record(
                    "application/octet-stream",
                    Value::Bytes(bytes.clone()),
                )),
            };
        };
        let media_type = parse_media_type(content_type)?;
        match self.decode_as(&media_type, bytes, table) {
            Err(DecodeError::UnknownMediaType(_)) => raw::decode(media_type, bytes),
            Ok(Value::String(text)) if table.is_some() && media_type.is_text() => {
                Ok(raw::text_record(media_type, text))
            }
            Ok(Value::Bytes(bytes)) if table.is_some() => {
                Ok(raw::record(&media_type.to_string(), Value::Bytes(bytes)))
            }
            decoded => decoded,
        }
    }

    fn decode_as(
        &self,
        media_type: &MediaType,
        bytes: &[u8],
        table: Option<&resource::TableDefinition>,
    ) -> Result<Value, DecodeError> {
        let essence = media_type.essence();
        match self.by_media_type(essence) {
            Some(format) if format.codec.direction() != Direction::Out => format
                .codec
                .decode(bytes, &DecodeContext { media_type, table }),
            _ => Err(DecodeError::UnknownMediaType(essence.to_owned())),
        }
    }
}

impl Default for ContentTypes {
    fn default() -> Self {
        Self::standard()
    }
}

impl fmt::Debug for ContentTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.formats).finish()
    }
}

fn parse_media_type(content_type: &str) -> Result<MediaType, DecodeError> {
    MediaType::parse(content_type)
        .ok_or_else(|| DecodeError::MalformedMediaType(content_type.to_owned()))
}

/// A format that a client accepts.
struct Candidate<'a> {
    format: &'a Format,
    score: f32,
    /// Place of the element that names it.
    index: usize,
}

impl Candidate<'_> {
    fn beats(&self, other: &Self) -> bool {
        self.score > other.score || (self.score == other.score && self.index < other.index)
    }
}

/// The element that decides about a media type, and how closely it names it.
fn deciding(elements: &[Element<'_>], media_type: &str) -> Option<(usize, Closeness)> {
    let mut decided: Option<(usize, Closeness)> = None;
    for (index, element) in elements.iter().enumerate() {
        if let Some(closeness) = element.covers(media_type)
            && decided.is_none_or(|(_, decided)| closeness > decided)
        {
            decided = Some((index, closeness));
        }
    }
    decided
}

/// A format under one of its media types. Cloning shares the codec.
#[derive(Clone)]
pub struct Format {
    media_type: &'static str,
    content_type: Arc<str>,
    codec: Arc<dyn Codec>,
}

impl Format {
    fn new(media_type: &'static str, codec: Arc<dyn Codec>) -> Self {
        let content_type = match media_type.starts_with("text/") {
            true => Arc::from(format!("{media_type}; charset=utf-8")),
            false => Arc::from(media_type),
        };
        Self {
            media_type,
            content_type,
            codec,
        }
    }

    /// The media type without parameters.
    pub fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// The value of the `Content-Type` field: the media type, for text with its charset.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The codec.
    pub fn codec(&self) -> &dyn Codec {
        &*self.codec
    }

    /// The bytes of one value.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the format cannot express it.
    pub fn to_vec(&self, value: &Value) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(128);
        self.codec.encode(value, &mut out)?;
        Ok(out)
    }

    /// The bytes of the content of a record or message.
    ///
    /// # Errors
    ///
    /// As [`to_vec`](Self::to_vec).
    pub fn body(&self, body: &Body) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(256);
        self.codec.encode_body(body, &mut out)?;
        Ok(out)
    }

    /// The bytes of a single record in the shape of the layout.
    ///
    /// # Errors
    ///
    /// As [`to_vec`](Self::to_vec).
    pub fn single(&self, record: &Record, layout: Layout) -> Result<Bytes, EncodeError> {
        self.codec.single(record, layout)
    }

    /// Writes a collection record by record.
    pub fn sequence(&self, layout: Layout) -> Sequence {
        Sequence::new(Arc::clone(&self.codec), layout)
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.media_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, expected: Option<&str>) {
        let types = ContentTypes::standard();
        let format = types.negotiate(Some(accept), None).ok();
        assert_eq!(format.map(Format::media_type), expected, "{accept}");
    }

    #[test]
    fn the_highest_product_of_q_and_weight_wins() {
        check("application/json", Some("application/json"));
        check(
            "application/json, application/cbor",
            Some("application/cbor"),
        );
        check(
            "application/cbor;q=0.7, application/json",
            Some("application/json"),
        );
        check("Application/MsgPack", Some("application/msgpack"));
        check("text/csv, text/plain;q=0.5", Some("text/csv"));
        check("text/plain;q=0.5, text/csv", Some("text/plain"));
    }

    #[test]
    fn c10_a_browser_gets_json() {
        check(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            Some("application/json"),
        );
    }

    #[test]
    fn ranges_stand_for_the_first_type_that_is_not_named_more_closely() {
        check("*/*", Some("application/json"));
        check("application/*", Some("application/json"));
        check("text/*", Some("text/plain"));
        check("application/json;q=0, */*", Some("application/cbor"));
        check("application/*;q=0, */*", Some("text/plain"));
        check("application/json;q=0.1, */*", Some("application/cbor"));
        check(
            "application/json;q=0.9, */*;q=0.8",
            Some("application/json"),
        );
        check("text/plain;q=0, text/*", Some("text/csv"));
    }

    #[test]
    fn c9_nothing_acceptable_is_an_error_that_lists_the_types() {
        for accept in [
            "image/png",
            "application/json;q=0",
            "*/*;q=0",
            "",
            "application/octet-stream",
            "text/event-stream",
        ] {
            check(accept, None);
        }
        let types = ContentTypes::standard();
        let error = types
            .negotiate(Some("image/png"), None)
            .unwrap_err()
            .to_string();
        assert!(error.ends_with(
            "include: application/json, application/cbor, application/x-msgpack, \
             application/msgpack, text/plain, text/csv, application/x-ndjson, \
             application/ndjson, text/yaml"
        ));
    }

    #[test]
    fn a_suffix_overrides_accept() {
        let types = ContentTypes::standard();
        let format = types.negotiate(Some("image/png"), Some("msgpack")).unwrap();
        assert_eq!(format.media_type(), "application/x-msgpack");
        assert!(types.negotiate(None, Some("png")).is_err());
    }

    #[test]
    fn reading_is_strict_about_types() {
        let types = ContentTypes::standard();
        assert_eq!(
            types.decode(None, b"[1]"),
            Ok(Value::Array(vec![Value::Int(1)]))
        );
        assert_eq!(
            types.decode(Some("TEXT/plain; charset=\"iso-8859-1\""), b"\xE9"),
            Ok(Value::from("é"))
        );
        assert_eq!(
            types.decode(Some("text/csv"), b"a\n1\n"),
            types.decode(Some("application/json"), br#"[{"a":1}]"#)
        );
        for (content_type, status) in [
            ("image/png", 415),
            ("json", 415),
            ("text/yaml", 415),
            ("application/x-ndjson", 400),
            ("multipart/form-data", 400),
            ("text/plain; charset=utf-16", 415),
            ("application/json", 400),
            ("application/cbor", 400),
            ("application/msgpack", 400),
            ("text/plain", 400),
            ("text/csv", 400),
        ] {
            let error = types
                .decode(Some(content_type), b"a\n\xFF{\n")
                .expect_err(content_type);
            assert_eq!(
                resource::Error::from(error).status(),
                status,
                "{content_type}"
            );
        }
    }
}
