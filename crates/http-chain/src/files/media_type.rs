//! Media types by file extension.

use std::collections::BTreeMap;
use std::path::Path;

use http::HeaderValue;

/// `application/octet-stream`.
pub(super) const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Which `Content-Type` a file gets by its extension: a table of what sites are made of, and what a
/// program adds to it.
///
/// ```
/// use http_chain::files::MediaTypes;
///
/// let types = MediaTypes::default().with("glb", "model/gltf-binary".parse().unwrap());
/// assert_eq!(types.of("scene.GLB".as_ref()).unwrap(), "model/gltf-binary");
/// assert_eq!(types.of("a/index.html".as_ref()).unwrap(), "text/html; charset=utf-8");
/// assert_eq!(types.of("README".as_ref()), None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct MediaTypes {
    added: BTreeMap<String, HeaderValue>,
}

impl MediaTypes {
    /// The same table with one more extension (without the dot, in any case), or another type for one.
    #[must_use]
    pub fn with(mut self, extension: &str, media_type: HeaderValue) -> Self {
        self.added
            .insert(extension.to_ascii_lowercase(), media_type);
        self
    }

    /// The type for a file of this name; `None` for an extension that nobody knows.
    pub fn of(&self, path: &Path) -> Option<HeaderValue> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        let added = self.added.get(&extension).cloned();
        added.or_else(|| known(&extension).map(HeaderValue::from_static))
    }
}

fn known(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "3gp" => "video/3gpp",
        "7z" => "application/x-7z-compressed",
        "aac" => "audio/aac",
        "apng" => "image/apng",
        "atom" => "application/atom+xml; charset=utf-8",
        "avif" => "image/avif",
        "bmp" => "image/bmp",
        "br" => "application/x-brotli",
        "bz2" => "application/x-bzip2",
        "cbor" => "application/cbor",
        "cjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "eot" => "application/vnd.ms-fontobject",
        "epub" => "application/epub+zip",
        "flac" => "audio/flac",
        "geojson" => "application/geo+json",
        "gif" => "image/gif",
        "graphql" => "application/graphql; charset=utf-8",
        "gz" => "application/gzip",
        "heic" => "image/heic",
        "htm" | "html" => "text/html; charset=utf-8",
        "ico" => "image/x-icon",
        "ics" => "text/calendar; charset=utf-8",
        "jpeg" | "jpg" => "image/jpeg",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json; charset=utf-8",
        "jsonl" | "ndjson" => "application/x-ndjson; charset=utf-8",
        "jsonld" => "application/ld+json",
        "jxl" => "image/jxl",
        "m3u8" => "application/vnd.apple.mpegurl",
        "m4a" => "audio/mp4",
        "m4v" => "video/mp4",
        "md" => "text/markdown; charset=utf-8",
        "mov" => "video/quicktime",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "mpd" => "application/dash+xml",
        "msgpack" => "application/vnd.msgpack",
        "oga" | "ogg" => "audio/ogg",
        "ogv" => "video/ogg",
        "opus" => "audio/ogg",
        "otf" => "font/otf",
        "parquet" => "application/vnd.apache.parquet",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "rss" => "application/rss+xml; charset=utf-8",
        "rtf" => "application/rtf",
        "svg" => "image/svg+xml",
        "tar" => "application/x-tar",
        "tif" | "tiff" => "image/tiff",
        "toml" => "application/toml; charset=utf-8",
        "tsv" => "text/tab-separated-values; charset=utf-8",
        "ttf" => "font/ttf",
        "txt" => "text/plain; charset=utf-8",
        "vtt" => "text/vtt; charset=utf-8",
        "wasm" => "application/wasm",
        "wav" => "audio/wav",
        "weba" => "audio/webm",
        "webm" => "video/webm",
        "webmanifest" => "application/manifest+json; charset=utf-8",
        "webp" => "image/webp",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "xhtml" => "application/xhtml+xml; charset=utf-8",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xml" => "application/xml; charset=utf-8",
        "xz" => "application/x-xz",
        "yaml" | "yml" => "application/yaml; charset=utf-8",
        "zip" => "application/zip",
        "zst" => "application/zstd",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides_whatever_its_case() {
        let of = |name: &str| MediaTypes::default().of(Path::new(name));
        assert_eq!(of("a/b.HTML").unwrap(), "text/html; charset=utf-8");
        assert_eq!(of("app.min.js").unwrap(), "text/javascript; charset=utf-8");
        assert_eq!(of("a.unknown"), None);
        assert_eq!(of("README"), None);
        assert_eq!(of(".html"), None);
    }

    #[test]
    fn an_added_type_wins() {
        let types = MediaTypes::default().with("HTML", HeaderValue::from_static("text/x"));
        assert_eq!(types.of(Path::new("a.html")).unwrap(), "text/x");
    }
}
