//! Topic names and topic filters (section 4.7).

use crate::DecodeError;

/// Checks a Topic Name: no wildcards ([MQTT-3.3.2-2]) and at least one character ([MQTT-4.7.3-1]). Encoding,
/// null characters and length are the reader's business.
///
/// # Errors
///
/// [`DecodeError::WildcardInTopicName`] or [`DecodeError::EmptyTopic`].
pub fn check_name(topic: &str) -> Result<(), DecodeError> {
    if topic.is_empty() {
        return Err(DecodeError::EmptyTopic);
    }
    match topic.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        true => Err(DecodeError::WildcardInTopicName),
        false => Ok(()),
    }
}

/// Why a text is no Topic Filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// `#` that is not a whole level at the end ([MQTT-4.7.1-1]).
    #[error("the wildcard # must be the whole last level")]
    MultiLevelWildcard,
    /// `+` that is not a whole level ([MQTT-4.7.1-2]).
    #[error("the wildcard + must be a whole level")]
    SingleLevelWildcard,
    /// `$share` without a name, with a wildcard in the name, or without a filter ([MQTT-4.8.2-1],
    /// [MQTT-4.8.2-2]).
    #[error("a shared subscription is $share/name/filter")]
    Share,
}

/// A checked Topic Filter, apart from the share name in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicFilter<'a> {
    /// Name of the group that shares the subscription.
    pub share_name: Option<&'a str>,
    /// The filter itself.
    pub filter: &'a str,
}

impl<'a> TopicFilter<'a> {
    /// Checks a filter. `shared` says whether `$share/` has its meaning (5.0) or is a level like others (3.1.1).
    ///
    /// ```
    /// use proto_mqtt::codec::topic::{FilterError, TopicFilter};
    /// let filter = TopicFilter::parse("$share/workers/Dog/#", true).unwrap();
    /// assert_eq!((filter.share_name, filter.filter), (Some("workers"), "Dog/#"));
    /// assert_eq!(TopicFilter::parse("Dog/a#", true), Err(FilterError::MultiLevelWildcard));
    /// ```
    ///
    /// # Errors
    ///
    /// [`FilterError`] says which rule is broken.
    pub fn parse(text: &'a str, shared: bool) -> Result<Self, FilterError> {
        let (share_name, filter) = match text.strip_prefix("$share/") {
            Some(rest) if shared => {
                let (name, filter) = rest.split_once('/').ok_or(FilterError::Share)?;
                if name.is_empty() || filter.is_empty() || name.contains(['+', '#']) {
                    return Err(FilterError::Share);
                }
                (Some(name), filter)
            }
            _ => (None, text),
        };
        check_levels(filter)?;
        Ok(Self { share_name, filter })
    }
}

fn check_levels(filter: &str) -> Result<(), FilterError> {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level.len() > 1 || levels.peek().is_some()) {
            return Err(FilterError::MultiLevelWildcard);
        }
        if level.contains('+') && level.len() > 1 {
            return Err(FilterError::SingleLevelWildcard);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_4_7_1_1_and_2_wildcards_are_whole_levels() {
        for good in [
            "#", "+", "a/#", "+/+/#", "a/+/b", "/", "a//b", "$SYS/#", "é/+", "a b",
        ] {
            assert!(TopicFilter::parse(good, true).is_ok(), "{good}");
        }
        for (bad, error) in [
            ("a#", FilterError::MultiLevelWildcard),
            ("a/#/b", FilterError::MultiLevelWildcard),
            ("#/", FilterError::MultiLevelWildcard),
            ("##", FilterError::MultiLevelWildcard),
            ("a+", FilterError::SingleLevelWildcard),
            ("a/+b/c", FilterError::SingleLevelWildcard),
        ] {
            assert_eq!(TopicFilter::parse(bad, true), Err(error), "{bad}");
        }
    }

    #[test]
    fn mqtt_4_8_2_1_and_2_a_share_name_is_checked_in_5_0_only() {
        for bad in [
            "$share/",
            "$share/a",
            "$share/a/",
            "$share//a",
            "$share/a+/b",
            "$share/#/b",
        ] {
            assert_eq!(
                TopicFilter::parse(bad, true),
                Err(FilterError::Share),
                "{bad}"
            );
        }
        assert_eq!(
            TopicFilter::parse("$share/a", false).unwrap().share_name,
            None
        );
    }

    #[test]
    fn mqtt_3_3_2_2_a_topic_name_has_no_wildcards() {
        assert_eq!(check_name("a/b$"), Ok(()));
        assert_eq!(check_name("a/+"), Err(DecodeError::WildcardInTopicName));
        assert_eq!(check_name(""), Err(DecodeError::EmptyTopic));
    }
}
