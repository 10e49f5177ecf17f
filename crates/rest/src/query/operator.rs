//! Operators between an attribute and a value (`rest.md` §7.3).

use resource::{Comparator, Conversion};

/// What a value after an operator may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Text, whatever it looks like.
    Strict,
    /// `null`, a type prefix, or text by its look.
    Converting,
    /// As `Converting`, and a star at the end makes it a prefix of texts.
    Wildcard,
    /// `null`, a type prefix, or text.
    Prefixed,
    /// Several of `Converting`, separated by commas.
    List,
}

/// One operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) comparator: Comparator,
    pub(super) reading: Reading,
    /// Whether it is the plain `=`.
    pub(super) is_plain: bool,
}

impl Operator {
    const fn new(comparator: Comparator, reading: Reading) -> Self {
        Self {
            comparator,
            reading,
            is_plain: false,
        }
    }

    pub(super) const PLAIN: Self = Self {
        comparator: Comparator::Equals,
        reading: Reading::Strict,
        is_plain: true,
    };

    /// How text that is neither null nor prefixed is converted by the resource.
    pub(super) fn conversion(self) -> Conversion {
        match self.reading {
            Reading::Strict | Reading::Prefixed => Conversion::Declared,
            Reading::Converting | Reading::Wildcard | Reading::List => Conversion::Guess,
        }
    }
}

/// What stands at the beginning of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'t> {
    /// An operator and its length.
    Operator(Operator, usize),
    /// `=word=` with a word that is no operator.
    Unknown(&'t str),
    /// No operator.
    Nothing,
}

/// The operator at the beginning of `text`.
pub(super) fn find(text: &str) -> Found<'_> {
    use Comparator::*;
    const SIGNS: &[(&str, Operator)] = &[
        ("===", Operator::new(Equals, Reading::Strict)),
        ("==", Operator::new(Equals, Reading::Wildcard)),
        ("!==", Operator::new(NotEqual, Reading::Strict)),
        ("!=", Operator::new(NotEqual, Reading::Converting)),
        ("<=", Operator::new(LessThanEqual, Reading::Converting)),
        ("<", Operator::new(LessThan, Reading::Converting)),
        (">=", Operator::new(GreaterThanEqual, Reading::Converting)),
        (">", Operator::new(GreaterThan, Reading::Converting)),
    ];
    if let Some((sign, operator)) = SIGNS.iter().find(|(sign, _)| text.starts_with(sign)) {
        return Found::Operator(*operator, sign.len());
    }
    let Some(rest) = text.strip_prefix('=') else {
        return Found::Nothing;
    };
    let Some(word) = word(rest) else {
        return Found::Operator(Operator::PLAIN, 1);
    };
    match Comparator::from_name(word) {
        Some(comparator) => Found::Operator(of_word(comparator), word.len() + 2),
        None => Found::Unknown(word),
    }
}

fn of_word(comparator: Comparator) -> Operator {
    let reading = match comparator {
        Comparator::Contains | Comparator::StartsWith | Comparator::EndsWith => Reading::Prefixed,
        Comparator::In | Comparator::Between => Reading::List,
        _ => Reading::Converting,
    };
    Operator::new(comparator, reading)
}

/// The word of `word=…`, where the equals sign before it is gone already.
fn word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    text[end..].starts_with('=').then(|| &text[..end])
}

/// Whether a query has an operator that is written as a word between two equals signs, or `==`.
pub(super) fn has_word_operator(query: &str) -> bool {
    query
        .match_indices('=')
        .any(|(at, _)| word(&query[at + 1..]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_sign_wins() {
        for (text, comparator, length) in [
            ("===x", Comparator::Equals, 3),
            ("==x", Comparator::Equals, 2),
            ("=x", Comparator::Equals, 1),
            ("=", Comparator::Equals, 1),
            ("=x y=", Comparator::Equals, 1),
            ("!==", Comparator::NotEqual, 3),
            ("=ne=", Comparator::NotEqual, 4),
            ("<=3", Comparator::LessThanEqual, 2),
            (">3", Comparator::GreaterThan, 1),
            ("=starts_with=a", Comparator::StartsWith, 13),
            ("=between=1,2", Comparator::Between, 9),
        ] {
            let Found::Operator(operator, found) = find(text) else {
                panic!("{text}")
            };
            assert_eq!((operator.comparator, found), (comparator, length), "{text}");
        }
        assert_eq!(find("=foo=1"), Found::Unknown("foo"));
        assert_eq!(find("!x"), Found::Nothing);
    }
}
