//! Reading the parameters of an operation, and saying everything that is wrong with them at once.

use resource::{Map, Value};

use crate::Failure;

/// The longest name of a database or table (`schema-and-storage.md` §1.1).
const MAX_NAME_CHARACTERS: usize = 250;

/// A parameter: the names it is accepted under, the winning one first, and the one that messages show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    names: [&'static str; 2],
    shown: &'static str,
}

impl Parameter {
    pub(crate) const fn plain(name: &'static str) -> Self {
        Self {
            names: [name, name],
            shown: name,
        }
    }

    /// `name` wins over `old`, and messages say `old`, as clients know it (`operations-api.md` §1.2).
    pub(crate) const fn renamed(name: &'static str, old: &'static str) -> Self {
        Self {
            names: [name, old],
            shown: old,
        }
    }

    /// The value; null counts as absent.
    pub(crate) fn of(self, map: &Map) -> Option<&Value> {
        self.given(map).filter(|value| !value.is_null())
    }

    /// The value, null included.
    pub(crate) fn given(self, map: &Map) -> Option<&Value> {
        let [name, other] = self.names;
        map.get(name).or_else(|| map.get(other))
    }
}

pub(crate) const DATABASE: Parameter = Parameter::renamed("database", "schema");
pub(crate) const TABLE: Parameter = Parameter::plain("table");

/// The database of operations that name none.
pub(crate) const DEFAULT_DATABASE: &str = "data";

/// Collects what is wrong, in the order in which the parameters are looked at.
///
/// Each reader returns `None` for a parameter that is absent or wrong; [`finish`](Self::finish) then tells
/// whether all that was required is there.
pub(crate) struct Check<'a> {
    parameters: &'a Map,
    /// Comes before each name in messages, for example `conditions[0].`.
    prefix: String,
    violations: Vec<String>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(parameters: &'a Map) -> Self {
        Self::within(parameters, String::new())
    }

    pub(crate) fn within(parameters: &'a Map, prefix: String) -> Self {
        Self {
            parameters,
            prefix,
            violations: Vec::new(),
        }
    }

    /// 400 with all violations joined, if there are any.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.violations.is_empty() {
            true => Ok(()),
            false => Err(Failure::new(400, self.violations.join(". "))),
        }
    }

    /// What was required, or the 400 that says why it is not there.
    pub(crate) fn finish_with<T>(self, required: Option<T>) -> Result<T, Failure> {
        self.finish()?;
        required.ok_or_else(|| Failure::new(400, ""))
    }

    /// The name of `parameter` in messages.
    pub(crate) fn shown(&self, parameter: Parameter) -> String {
        format!("{}{}", self.prefix, parameter.shown)
    }

    /// Adds `'<parameter>' <problem>`.
    pub(crate) fn violation(&mut self, parameter: Parameter, problem: &str) {
        let shown = self.shown(parameter);
        self.violations.push(format!("'{shown}' {problem}"));
    }

    /// Adds a text.
    pub(crate) fn complain(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }

    /// Takes over what another check found.
    pub(crate) fn absorb(&mut self, other: Check<'_>) {
        self.violations.extend(other.violations);
    }

    /// Complains if the parameter is absent.
    pub(crate) fn required(&mut self, parameter: Parameter) -> Option<&'a Value> {
        let value = parameter.of(self.parameters);
        if value.is_none() {
            self.violation(parameter, "is required");
        }
        value
    }

    pub(crate) fn required_text(&mut self, parameter: Parameter) -> Option<&'a str> {
        let value = self.required(parameter)?;
        self.as_text(parameter, value)
    }

    pub(crate) fn text(&mut self, parameter: Parameter) -> Option<&'a str> {
        let value = parameter.of(self.parameters)?;
        self.as_text(parameter, value)
    }

    fn as_text(&mut self, parameter: Parameter, value: &'a Value) -> Option<&'a str> {
        match value {
            Value::String(text) if text.is_empty() => {
                self.violation(parameter, "is not allowed to be empty");
                None
            }
            Value::String(text) => Some(text),
            _ => {
                self.violation(parameter, "must be a string");
                None
            }
        }
    }

    pub(crate) fn required_array(&mut self, parameter: Parameter) -> Option<&'a [Value]> {
        let value = self.required(parameter)?;
        self.as_array(parameter, value)
    }

    pub(crate) fn array(&mut self, parameter: Parameter) -> Option<&'a [Value]> {
        let value = parameter.of(self.parameters)?;
        self.as_array(parameter, value)
    }

    fn as_array(&mut self, parameter: Parameter, value: &'a Value) -> Option<&'a [Value]> {
        let array = value.as_array();
        if array.is_none() {
            self.violation(parameter, "must be an array");
        }
        array
    }

    /// An array with at least one element.
    pub(crate) fn non_empty(
        &mut self,
        parameter: Parameter,
        array: Option<&'a [Value]>,
    ) -> Option<&'a [Value]> {
        let array = array?;
        if array.is_empty() {
            self.violation(parameter, "must contain at least 1 items");
            return None;
        }
        Some(array)
    }

    pub(crate) fn flag(&mut self, parameter: Parameter) -> Option<bool> {
        let value = parameter.of(self.parameters)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.violation(parameter, "must be a boolean");
        }
        flag
    }

    pub(crate) fn required_flag(&mut self, parameter: Parameter) -> Option<bool> {
        self.required(parameter)?;
        self.flag(parameter)
    }

    /// A whole number of at least `min`.
    pub(crate) fn integer(&mut self, parameter: Parameter, min: u64) -> Option<u64> {
        let value = parameter.of(self.parameters)?;
        let problem = match (value.as_i64(), value.as_f64()) {
            (Some(number), _) => match u64::try_from(number) {
                Ok(number) if number >= min => return Some(number),
                _ => format!("must be greater than or equal to {min}"),
            },
            (None, Some(_)) => "must be an integer".to_owned(),
            (None, None) => "must be a number".to_owned(),
        };
        self.violation(parameter, &problem);
        None
    }

    /// The database, `data` if there is none. Numbers are taken for names, as all data operations do.
    pub(crate) fn database(&mut self) -> String {
        let given = DATABASE.of(self.parameters);
        let name = given.and_then(|value| self.lenient_name(DATABASE, value));
        name.unwrap_or_else(|| DEFAULT_DATABASE.to_owned())
    }

    /// The table, which is required; numbers are taken for names.
    pub(crate) fn table(&mut self) -> Option<String> {
        let value = self.required(TABLE)?;
        self.lenient_name(TABLE, value)
    }

    fn lenient_name(&mut self, parameter: Parameter, value: &'a Value) -> Option<String> {
        match value {
            Value::Int(number) => Some(number.to_string()),
            other => self.as_text(parameter, other).map(str::to_owned),
        }
    }

    /// The name of a database or table that is made or dropped: a string of legal characters.
    pub(crate) fn strict_name(&mut self, parameter: Parameter) -> Option<&'a str> {
        let name = self.text(parameter)?;
        let is_legal = |byte: u8| (0x20..=0x7E).contains(&byte) && byte != b'`' && byte != b'/';
        if !name.bytes().all(is_legal) {
            let shown = self.shown(parameter);
            self.complain(format!(
                "'{shown}' names cannot include backticks or forward slashes"
            ));
            return None;
        }
        if name.len() > MAX_NAME_CHARACTERS {
            let problem = format!(
                "length must be less than or equal to {MAX_NAME_CHARACTERS} characters long"
            );
            self.violation(parameter, &problem);
            return None;
        }
        Some(name)
    }

    /// [`strict_name`](Self::strict_name), and absent is wrong.
    pub(crate) fn required_strict_name(&mut self, parameter: Parameter) -> Option<&'a str> {
        self.required(parameter)?;
        self.strict_name(parameter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resource::json;

    const LIMIT: Parameter = Parameter::plain("limit");

    fn parameters(text: &str) -> Map {
        json::from_slice(text.as_bytes())
            .unwrap()
            .as_map()
            .unwrap()
            .clone()
    }

    fn message(check: Check<'_>) -> String {
        let failure = check.finish().unwrap_err();
        failure
            .body()
            .get("error")
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn s1_2_all_violations_are_collected_under_the_old_names() {
        let map = parameters(r#"{"database": 7, "table": true, "limit": 0.5}"#);
        let mut check = Check::new(&map);
        assert_eq!(check.strict_name(DATABASE), None);
        assert_eq!(check.required_strict_name(TABLE), None);
        assert_eq!(check.integer(LIMIT, 1), None);
        assert_eq!(
            message(check),
            "'schema' must be a string. 'table' must be a string. 'limit' must be an integer"
        );
    }

    #[test]
    fn s1_3_database_wins_over_schema_and_null_is_absent() {
        for (text, expected) in [
            (r#"{"database": "a", "schema": "b"}"#, "a"),
            (r#"{"schema": "b"}"#, "b"),
            (r#"{"database": null}"#, "data"),
            (r#"{"database": 123}"#, "123"),
        ] {
            let map = parameters(text);
            let mut check = Check::new(&map);
            assert_eq!(check.database(), expected);
            check.finish().unwrap();
        }
    }

    #[test]
    fn s1_1_names_are_printable_without_backtick_and_slash() {
        let long = "x".repeat(251);
        for (name, expected) in [
            (
                "a/b",
                "'table' names cannot include backticks or forward slashes",
            ),
            (
                "a`b",
                "'table' names cannot include backticks or forward slashes",
            ),
            (
                "ä",
                "'table' names cannot include backticks or forward slashes",
            ),
            ("", "'table' is not allowed to be empty"),
            (
                &long,
                "'table' length must be less than or equal to 250 characters long",
            ),
        ] {
            let map = Map::from_iter([("table", Value::from(name))]);
            let mut check = Check::new(&map);
            check.strict_name(TABLE);
            assert_eq!(message(check), expected);
        }
        let map = parameters(r#"{"table": "h*rper%1 .2"}"#);
        assert!(Check::new(&map).strict_name(TABLE).is_some());
    }

    #[test]
    fn a_whole_number_has_a_least_value() {
        for (text, expected) in [
            (
                r#"{"limit": 0}"#,
                "'limit' must be greater than or equal to 1",
            ),
            (
                r#"{"limit": -3}"#,
                "'limit' must be greater than or equal to 1",
            ),
            (r#"{"limit": "3"}"#, "'limit' must be a number"),
        ] {
            let map = parameters(text);
            let mut check = Check::new(&map);
            check.integer(LIMIT, 1);
            assert_eq!(message(check), expected);
        }
        let map = parameters(r#"{"limit": 3.0}"#);
        assert_eq!(Check::new(&map).integer(LIMIT, 1), Some(3));
    }
}
