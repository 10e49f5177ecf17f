//! The `static` section of a configuration file, as it is written and as it is checked.

use std::path::Path;
use std::time::Duration;

use base::units;
use http::StatusCode;
use serde_json::{Map, Value};

use super::config::{Absent, CachePolicy, StaticFilesConfig, cache_control};

/// The section after checking; the names are those of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticSection {
    /// `files`: a pattern, a list of them, or `{source, ignore}`. Required.
    pub files: Vec<String>,
    /// `files.ignore`. Default: none.
    pub ignore: Vec<String>,
    /// `urlPath`; `.` and `./x` begin with the name of the component. Default: `/`.
    pub url_path: String,
    /// `index`. Default: on.
    pub index: bool,
    /// `extensions`, without their dots. Default: none.
    pub extensions: Vec<String>,
    /// `fallthrough`: whether a request for what is absent goes to the next handler. Default: on.
    pub fallthrough: bool,
    /// `notFound`: the file for what is absent, and its status. A text means 404. Counts only without
    /// `fallthrough`. Default: none.
    pub not_found: Option<(String, StatusCode)>,
    /// `before`: the stage it stands in front of. Default: `authentication`, unless there is an `after`.
    pub before: Option<String>,
    /// `after`: the stage it stands behind. Default: none.
    pub after: Option<String>,
    /// `cacheControl`: whether `Cache-Control` is sent. Default: on.
    pub cache_control: bool,
    /// `maxAge`: milliseconds, or a text such as `1d`. Default: 0.
    pub max_age: Duration,
    /// `immutable`. Default: off.
    pub immutable: bool,
    /// Keys that mean nothing here, to be reported.
    pub unknown: Vec<String>,
}

/// A setting that cannot be used. The text names key, value and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'static.{key}' is {value}: expected {expected}")]
pub struct StaticSectionError {
    key: &'static str,
    value: String,
    expected: &'static str,
}

impl StaticSection {
    /// Reads the section; `component` is the name that a `urlPath` of `.` stands for.
    ///
    /// ```
    /// use http_chain::files::StaticSection;
    ///
    /// let options = serde_json::json!({
    ///     "files": "ui/**",
    ///     "after": "rest",
    ///     "fallthrough": false,
    ///     "notFound": { "statusCode": 200, "file": "ui/index.html" },
    /// });
    /// let section = StaticSection::from_json(&options, "shop")?;
    /// assert_eq!(section.files, ["ui/**"]);
    /// assert_eq!(section.lint(), Vec::<String>::new());
    /// # Ok::<(), http_chain::files::StaticSectionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StaticSectionError`] for the first key with a value of the wrong kind, and if `files` is missing.
    pub fn from_json(options: &Value, component: &str) -> Result<Self, StaticSectionError> {
        const KEYS: [&str; 11] = [
            "files",
            "urlPath",
            "index",
            "extensions",
            "fallthrough",
            "notFound",
            "before",
            "after",
            "cacheControl",
            "maxAge",
            "immutable",
        ];
        let empty = Map::new();
        let keys = Keys(options.as_object().unwrap_or(&empty));
        let (files, ignore) = keys.files()?;
        let after = keys.stage("after")?;
        Ok(Self {
            files,
            ignore,
            url_path: keys.url_path(component)?,
            index: keys.flag("index", true)?,
            extensions: keys.extensions()?,
            fallthrough: keys.flag("fallthrough", true)?,
            not_found: keys.not_found()?,
            before: match (keys.stage("before")?, &after) {
                (None, None) if keys.value("before").is_none() => Some("authentication".to_owned()),
                (before, _) => before,
            },
            after,
            cache_control: keys.flag("cacheControl", true)?,
            max_age: keys.max_age()?,
            immutable: keys.flag("immutable", false)?,
            unknown: keys
                .0
                .keys()
                .filter(|key| !KEYS.contains(&key.as_str()))
                .cloned()
                .collect(),
        })
    }

    /// The settings of [`StaticFiles`](super::StaticFiles) for a component in `directory`.
    pub fn config(&self, directory: &Path) -> StaticFilesConfig {
        let absent = match (self.fallthrough, &self.not_found) {
            (true, _) => Absent::HandBack,
            (false, None) => Absent::NotFound,
            (false, Some((file, status))) => Absent::File {
                path: Path::new(file).components().collect(),
                status: *status,
            },
        };
        let cache_control = match self.cache_control {
            true => cache_control(self.max_age, self.immutable).into(),
            false => CachePolicy::Omit,
        };
        StaticFilesConfig {
            files: self.files.clone(),
            ignore: self.ignore.clone(),
            url_path: self.url_path.clone(),
            index: self.index,
            extensions: self.extensions.clone(),
            absent,
            cache_control,
            ..StaticFilesConfig::new(directory)
        }
    }

    /// Whether the files come before the handlers of resources, as they do by default.
    pub fn is_before_resources(&self) -> bool {
        match &self.after {
            None => true,
            Some(stage) => stage == "authentication",
        }
    }

    /// Warnings for the log at the start: settings that are allowed and hardly ever meant.
    pub fn lint(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.fallthrough && self.is_before_resources() && self.url_path == "/" {
            warnings.push(
                "static: with 'fallthrough: false' in front of the resources, every GET is answered \
                 from the files, and exported resources cannot be read; add 'after: rest', or a \
                 'urlPath' of its own"
                    .to_owned(),
            );
        }
        if self.fallthrough && self.not_found.is_some() {
            warnings.push(
                "static: 'notFound' counts only with 'fallthrough: false' and is not used"
                    .to_owned(),
            );
        }
        if !self.cache_control && (self.immutable || !self.max_age.is_zero()) {
            warnings.push(
                "static: 'maxAge' and 'immutable' count only with 'cacheControl' and are not used"
                    .to_owned(),
            );
        }
        let unknown = self
            .unknown
            .iter()
            .map(|key| format!("static: '{key}' is no known key and is not used"));
        warnings.extend(unknown);
        warnings
    }
}

/// The keys of the section, each with a reader of its kind.
struct Keys<'a>(&'a Map<String, Value>);

impl Keys<'_> {
    /// `null` is as good as nothing.
    fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &'static str, expected: &'static str) -> StaticSectionError {
        let value = match self.value(key) {
            Some(value) => value.to_string(),
            None => "missing".to_owned(),
        };
        StaticSectionError {
            key,
            value,
            expected,
        }
    }

    fn flag(&self, key: &'static str, default: bool) -> Result<bool, StaticSectionError> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// The name of a stage; `false` means none.
    fn stage(&self, key: &'static str) -> Result<Option<String>, StaticSectionError> {
        match self.value(key) {
            None | Some(Value::Bool(false)) => Ok(None),
            Some(Value::String(name)) => Ok(Some(name.clone())),
            Some(_) => Err(self.wrong(key, "the name of a component, or false")),
        }
    }

    fn files(&self) -> Result<(Vec<String>, Vec<String>), StaticSectionError> {
        const EXPECTED: &str = "a pattern, a list of patterns, or {source: …, ignore: …}";
        let wrong = || self.wrong("files", EXPECTED);
        let value = self.value("files").ok_or_else(wrong)?;
        let (source, ignore) = match value {
            Value::Object(object) => {
                let serves_files = matches!(
                    object.get("only").and_then(Value::as_str),
                    None | Some("all" | "files")
                );
                if !serves_files {
                    return Err(self.wrong("files", "'only' to be all or files"));
                }
                (
                    object.get("source").ok_or_else(wrong)?,
                    object.get("ignore"),
                )
            }
            value => (value, None),
        };
        let files = texts(source)
            .filter(|files| !files.is_empty())
            .ok_or_else(wrong)?;
        let ignore = ignore.map_or(Some(Vec::new()), texts).ok_or_else(wrong)?;
        Ok((files, ignore))
    }

    fn extensions(&self) -> Result<Vec<String>, StaticSectionError> {
        let Some(value) = self.value("extensions") else {
            return Ok(Vec::new());
        };
        let is_suffix = |text: &String| !text.is_empty() && !text.contains(['/', '\\', '\0']);
        let extensions = texts(value).filter(|list| list.iter().all(is_suffix));
        let extensions =
            extensions.ok_or_else(|| self.wrong("extensions", "a list of file name extensions"))?;
        let without_dot = |text: &String| text.strip_prefix('.').unwrap_or(text).to_owned();
        Ok(extensions.iter().map(without_dot).collect())
    }

    fn not_found(&self) -> Result<Option<(String, StatusCode)>, StaticSectionError> {
        const EXPECTED: &str =
            "a file below the component, or {file: …, statusCode: …} with a status of 200 to 599";
        let wrong = || self.wrong("notFound", EXPECTED);
        let (file, status) = match self.value("notFound") {
            None => return Ok(None),
            Some(Value::String(file)) => (file.as_str(), StatusCode::NOT_FOUND),
            Some(Value::Object(object)) => {
                let file = object
                    .get("file")
                    .and_then(Value::as_str)
                    .ok_or_else(wrong)?;
                let status = match object.get("statusCode") {
                    None => StatusCode::NOT_FOUND,
                    Some(status) => status
                        .as_u64()
                        .and_then(|status| u16::try_from(status).ok())
                        .filter(|status| (200..600).contains(status))
                        .and_then(|status| StatusCode::from_u16(status).ok())
                        .ok_or_else(wrong)?,
                };
                (file, status)
            }
            Some(_) => return Err(wrong()),
        };
        let mut components = Path::new(file).components();
        let stays = components.all(|component| {
            matches!(
                component,
                std::path::Component::Normal(_) | std::path::Component::CurDir
            )
        });
        match stays && !file.is_empty() {
            true => Ok(Some((file.to_owned(), status))),
            false => Err(wrong()),
        }
    }

    fn url_path(&self, component: &str) -> Result<String, StaticSectionError> {
        let wrong = || self.wrong("urlPath", "a path without '..'");
        let given = match self.value("urlPath") {
            None => "/",
            Some(value) => value.as_str().ok_or_else(wrong)?,
        };
        if given.split('/').any(|segment| segment == "..") {
            return Err(wrong());
        }
        let path = match given.strip_prefix('.') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{component}{rest}"),
            _ => given.to_owned(),
        };
        Ok(format!("/{}", path.trim_matches('/')))
    }

    fn max_age(&self) -> Result<Duration, StaticSectionError> {
        let wrong = || self.wrong("maxAge", "milliseconds, or a duration such as 1d");
        match self.value("maxAge") {
            None => Ok(Duration::ZERO),
            Some(Value::Number(number)) => {
                number.as_u64().map(Duration::from_millis).ok_or_else(wrong)
            }
            Some(Value::String(text)) => {
                units::parse_duration(text, Duration::from_millis(1)).map_err(|_| wrong())
            }
            Some(_) => Err(wrong()),
        }
    }
}

/// A text, or a list of texts.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(mut options: Value) -> Result<StaticSection, StaticSectionError> {
        let object = options.as_object_mut().unwrap();
        object.entry("files").or_insert_with(|| "web/**".into());
        StaticSection::from_json(&options, "shop")
    }

    #[test]
    fn the_defaults_are_those_of_the_specification() {
        let section = read(json!({})).unwrap();
        assert_eq!((section.url_path.as_str(), section.index), ("/", true));
        assert!(section.fallthrough && section.cache_control && !section.immutable);
        assert_eq!(section.before.as_deref(), Some("authentication"));
        let config = section.config(Path::new("/app"));
        assert_eq!(config.absent, Absent::HandBack);
        assert_eq!(
            config.cache_control.of(Path::new("a")).unwrap(),
            "public, max-age=0"
        );
    }

    #[test]
    fn each_form_of_a_setting_is_read() {
        let section = read(json!({
            "files": { "source": ["web/**", "docs/*.html"], "ignore": "**/*.map" },
            "extensions": ["html", ".htm"],
            "fallthrough": false,
            "notFound": "web/404.html",
            "maxAge": "1d",
            "immutable": true,
        }))
        .unwrap();
        assert_eq!(section.files, ["web/**", "docs/*.html"]);
        assert_eq!(section.ignore, ["**/*.map"]);
        assert_eq!(section.extensions, ["html", "htm"]);
        let config = section.config(Path::new("/app"));
        let page = Absent::File {
            path: "web/404.html".into(),
            status: StatusCode::NOT_FOUND,
        };
        assert_eq!(config.absent, page);
        assert_eq!(
            config.cache_control.of(Path::new("a")).unwrap(),
            "public, max-age=86400, immutable"
        );
        let seconds = |value: Value| read(json!({ "maxAge": value })).unwrap().max_age.as_secs();
        assert_eq!((seconds(json!(60_000)), seconds(json!("60000"))), (60, 60));
        let off = read(json!({ "cacheControl": false })).unwrap();
        assert!(matches!(
            off.config(Path::new("/app")).cache_control,
            CachePolicy::Omit
        ));
    }

    #[test]
    fn a_url_path_of_a_dot_begins_with_the_component() {
        let cases = [
            ("/", "/"),
            ("", "/"),
            ("docs", "/docs"),
            ("/docs/", "/docs"),
            (".", "/shop"),
            ("./", "/shop"),
            ("./docs", "/shop/docs"),
            (".docs", "/.docs"),
        ];
        for (given, expected) in cases {
            assert_eq!(
                read(json!({ "urlPath": given })).unwrap().url_path,
                expected,
                "{given}"
            );
        }
    }

    #[test]
    fn after_cancels_the_default_of_before() {
        let place = |options| {
            let section = read(options).unwrap();
            (section.before, section.after)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(place(json!({ "after": "rest" })), (None, text("rest")));
        assert_eq!(place(json!({ "before": false })), (None, None));
        assert_eq!(place(json!({ "before": "rest" })), (text("rest"), None));
    }

    #[test]
    fn a_wrong_value_names_key_value_and_what_was_expected() {
        let cases = [
            ("files", json!(7)),
            ("files", json!([])),
            ("files", json!({ "source": "a", "only": "directories" })),
            ("index", json!("yes")),
            ("extensions", json!(["a/b"])),
            ("notFound", json!("../secret")),
            ("notFound", json!("/etc/passwd")),
            ("notFound", json!({ "statusCode": 200 })),
            ("notFound", json!({ "file": "a", "statusCode": 42 })),
            ("urlPath", json!("/a/../b")),
            ("maxAge", json!("soon")),
            ("maxAge", json!(-1)),
            ("after", json!(3)),
        ];
        for (key, value) in cases {
            let text = read(json!({ key: value })).unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("'static.{key}' is {value}: expected ")),
                "{text}"
            );
        }
        let missing = StaticSection::from_json(&json!({ "files": null }), "shop").unwrap_err();
        assert!(missing.to_string().contains("is missing"), "{missing}");
    }

    #[test]
    fn fallthrough_off_in_the_default_place_is_warned_about() {
        let warnings = |options| read(options).unwrap().lint();
        let pitfall = warnings(json!({ "fallthrough": false }));
        assert!(
            pitfall.len() == 1 && pitfall[0].contains("'after: rest'"),
            "{pitfall:?}"
        );
        let also = warnings(json!({ "fallthrough": false, "after": "authentication" }));
        assert_eq!(also, pitfall);
        for fine in [
            json!({}),
            json!({ "fallthrough": false, "after": "rest" }),
            json!({ "fallthrough": false, "urlPath": "/ui" }),
        ] {
            assert_eq!(warnings(fine.clone()), Vec::<String>::new(), "{fine}");
        }
        let useless = warnings(
            json!({ "notFound": "a.html", "cacheControl": false, "maxAge": 1000, "indx": true }),
        );
        assert_eq!(useless.len(), 3, "{useless:?}");
    }
}
