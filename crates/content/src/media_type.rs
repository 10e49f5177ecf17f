//! Media types and their parameters (RFC 9110, section 8.3.1).

/// A media type such as `text/html; charset=utf-8`.
///
/// ```
/// use content::MediaType;
/// let html = MediaType::parse("Text/HTML; Charset=\"utf-8\"").unwrap();
/// assert_eq!(html.essence(), "text/html");
/// assert_eq!(html.parameter("charset"), Some("utf-8"));
/// assert!(MediaType::parse("html").is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads a `Content-Type` value; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (essence, parameters) = match text.split_once(';') {
            Some((essence, parameters)) => (essence.trim(), parameters),
            None => (text.trim(), ""),
        };
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        Some(Self {
            essence: essence.to_ascii_lowercase(),
            parameters: parse_parameters(parameters)?,
        })
    }

    /// Type and subtype in lower case, without parameters.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// Whether the type is `text`.
    pub fn is_text(&self) -> bool {
        self.essence.starts_with("text/")
    }

    /// The value of a parameter; `name` is given in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(given, _)| given == name)?;
        Some(&found.1)
    }

    /// The same type with one parameter set to a token.
    #[must_use]
    pub fn with_parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.retain(|(given, _)| given != name);
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl std::fmt::Display for MediaType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.essence)?;
        self.parameters
            .iter()
            .try_for_each(|(name, value)| match is_token(value) {
                true => write!(f, "; {name}={value}"),
                false => {
                    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
                    write!(f, "; {name}=\"{escaped}\"")
                }
            })
    }
}

fn parse_parameters(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return Some(parameters);
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_end();
        if !is_token(name) {
            return None;
        }
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let value = after[..end].trim();
                (is_token(value).then(|| value.to_owned())?, &after[end..])
            }
        };
        parameters.push((name.to_ascii_lowercase(), value));
        rest = tail.trim_start();
        if !rest.is_empty() && !rest.starts_with(';') {
            return None;
        }
    }
}

/// The content of a quoted string whose opening quotation mark is gone, and what follows it.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// `token` of RFC 9110, section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_may_be_quoted_and_empty_ones_are_skipped() {
        let parsed = MediaType::parse(r#"a/b ; x=1;; y="p;\"q\"" ; z=3"#).unwrap();
        assert_eq!(parsed.parameter("y"), Some("p;\"q\""));
        assert_eq!(parsed.parameter("z"), Some("3"));
        assert_eq!(parsed.to_string(), r#"a/b; x=1; y="p;\"q\""; z=3"#);
        assert_eq!(MediaType::parse(&parsed.to_string()), Some(parsed));
    }

    #[test]
    fn rubbish_is_no_media_type() {
        for bad in [
            "",
            "/",
            "a/",
            "/b",
            "a b/c",
            "a/b c",
            "a/b; x",
            "a/b; x=",
            "a/b; x=\"",
            "a/b; x=\"y\"z",
            "a/b; =1",
            "a/b\r\nx: y",
            "a/b; x=é",
        ] {
            assert_eq!(MediaType::parse(bad), None, "{bad}");
        }
    }
}
