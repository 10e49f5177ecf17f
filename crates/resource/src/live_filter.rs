//! Conditions of a live subscription, as clients write them in a query (`realtime.md` §7, `rest.md` §7.3).

use crate::{
    Comparator, Comparison, Condition, Conversion, Error, Operator, SubscribeOptions, Value,
};

/// Most conditions of one subscription: each is checked for each event.
const MAX_CONDITIONS: usize = 32;

impl SubscribeOptions {
    /// Adds a condition to [`filter`](Self::filter), from one item of a query that is still encoded:
    /// `breed=Boxer`, `age=gt=7`, `name!=null`, `name=sw=Re`. All conditions have to hold.
    ///
    /// `decode` undoes percent-encoding. A new value that does not match is not delivered, so that a record
    /// which leaves the filter produces no event; deletes always pass.
    ///
    /// ```
    /// use resource::{Comparator, Condition, SubscribeOptions};
    /// let mut options = SubscribeOptions::default();
    /// options.add_condition("age=gt=7", |text| Ok(text.to_owned()))?;
    /// let Some(Condition::Compare(comparison)) = options.filter else { panic!() };
    /// assert_eq!(comparison.comparator, Comparator::GreaterThan);
    /// # Ok::<(), resource::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// 400 for what is no condition, or one that live filters do not have: functions, groups, alternatives,
    /// lists, type prefixes and related records.
    pub fn add_condition(
        &mut self,
        item: &str,
        decode: impl Fn(&str) -> Result<String, Error>,
    ) -> Result<(), Error> {
        let comparison = parse(item, decode)?;
        let added = Condition::Compare(comparison);
        self.filter = Some(match self.filter.take() {
            None => added,
            Some(Condition::Group(Operator::And, conditions))
                if conditions.len() == MAX_CONDITIONS =>
            {
                return Err(refused(item, "there are too many conditions"));
            }
            Some(Condition::Group(Operator::And, mut conditions)) => {
                conditions.push(added);
                Condition::Group(Operator::And, conditions)
            }
            Some(first) => Condition::Group(Operator::And, vec![first, added]),
        });
        Ok(())
    }
}

fn parse(item: &str, decode: impl Fn(&str) -> Result<String, Error>) -> Result<Comparison, Error> {
    if item.contains(['(', ')', '|', '[', ']']) {
        return Err(refused(
            item,
            "functions, groups and alternatives are not available",
        ));
    }
    let (name, comparator, conversion, text) = split(item)?;
    let name = decode(name)?;
    if name.is_empty() || name.contains('.') {
        return Err(refused(item, "a condition needs the name of one attribute"));
    }
    let is_converting = conversion == Conversion::Guess;
    if is_converting && text.contains(':') {
        return Err(refused(
            item,
            "type prefixes are not available, write %3A for a colon",
        ));
    }
    let value = match decode(text)? {
        null if is_converting && null == "null" => Value::Null,
        text => Value::from(text),
    };
    Ok(Comparison {
        attribute: vec![name],
        comparator,
        value,
        conversion,
    })
}

/// Name, operator and value. Plain, `===` and `!==` compare the text with the declared type; the others guess
/// the type of an attribute that declares none.
fn split(item: &str) -> Result<(&str, Comparator, Conversion, &str), Error> {
    use Comparator::{Contains, EndsWith, Equals, NotEqual, StartsWith};
    let at = item
        .find(['=', '!'])
        .ok_or_else(|| refused(item, "it is neither an option nor a condition"))?;
    let (name, rest) = item.split_at(at);
    for (sign, comparator, conversion) in [
        ("===", Equals, Conversion::Declared),
        ("!==", NotEqual, Conversion::Declared),
        ("==", Equals, Conversion::Guess),
        ("!=", NotEqual, Conversion::Guess),
    ] {
        if let Some(text) = rest.strip_prefix(sign) {
            return Ok((name, comparator, conversion, text));
        }
    }
    let Some(text) = rest.strip_prefix('=') else {
        return Err(refused(item, "it has no operator"));
    };
    let Some((word, value)) = text.split_once('=') else {
        return Ok((name, Equals, Conversion::Declared, text));
    };
    match Comparator::from_name(word) {
        Some(Comparator::In | Comparator::Between) => {
            Err(refused(item, "lists of values are not available"))
        }
        Some(comparator @ (StartsWith | EndsWith | Contains)) => {
            Ok((name, comparator, Conversion::Declared, value))
        }
        Some(comparator) => Ok((name, comparator, Conversion::Guess, value)),
        None => Err(refused(item, "its operator is not known")),
    }
}

fn refused(item: &str, why: &str) -> Error {
    Error::bad_request(format!("Unable to filter live events by '{item}': {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<String, Error> {
        Ok(text.replace("%3A", ":"))
    }

    #[test]
    fn an_item_is_an_attribute_an_operator_and_a_value() {
        use Comparator::*;
        for (item, comparator, conversion, value) in [
            ("a=1", Equals, Conversion::Declared, Value::from("1")),
            ("a=x:y", Equals, Conversion::Declared, Value::from("x:y")),
            (
                "a===null",
                Equals,
                Conversion::Declared,
                Value::from("null"),
            ),
            ("a==null", Equals, Conversion::Guess, Value::Null),
            ("a!=", NotEqual, Conversion::Guess, Value::from("")),
            ("a!==1", NotEqual, Conversion::Declared, Value::from("1")),
            ("a=gt=1", GreaterThan, Conversion::Guess, Value::from("1")),
            (
                "a=le=1%3A2",
                LessThanEqual,
                Conversion::Guess,
                Value::from("1:2"),
            ),
            ("a=sw=R", StartsWith, Conversion::Declared, Value::from("R")),
        ] {
            let expected = Comparison {
                attribute: vec!["a".to_owned()],
                comparator,
                value,
                conversion,
            };
            assert_eq!(parse(item, decode).unwrap(), expected, "{item}");
        }
    }

    #[test]
    fn what_live_filters_do_not_have_is_400() {
        for item in [
            "a",
            "=1",
            "a!1",
            "a=xx=1",
            "a=in=1,2",
            "limit(1)",
            "a=1|b=2",
            "[a=1]",
            "a.b=1",
            "a=gt=number:1",
        ] {
            let error = parse(item, decode).unwrap_err();
            assert_eq!(error.status(), 400, "{item}");
            assert!(error.message().contains(item), "{error}");
        }
    }

    #[test]
    fn several_conditions_all_have_to_hold_and_are_bounded() {
        let mut options = SubscribeOptions::default();
        for _ in 0..MAX_CONDITIONS {
            options.add_condition("a=1", decode).unwrap();
        }
        let Some(Condition::Group(Operator::And, conditions)) = &options.filter else {
            panic!("{options:?}");
        };
        assert_eq!(conditions.len(), MAX_CONDITIONS);
        assert!(options.add_condition("a=1", decode).is_err());
    }
}
