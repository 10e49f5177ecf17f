//! What became of each component (`config-and-cli.md` §6.6).

use resource::{Map, Value};

/// What became of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Begun and not finished.
    Loading,
    /// Loaded.
    Healthy,
    /// Passed over, and why; nothing is broken.
    Warning(String),
    /// Not loaded, and why. What was loaded before it stays.
    Error(String),
}

impl State {
    /// The word for it: `loading`, `healthy`, `warning`, `error`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Healthy => "healthy",
            Self::Warning(_) => "warning",
            Self::Error(_) => "error",
        }
    }

    /// Why it is not healthy.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Loading | Self::Healthy => None,
            Self::Warning(message) | Self::Error(message) => Some(message),
        }
    }

    /// Whether it could not be loaded.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

/// The state of one component, or of an application as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentStatus {
    /// The name of the application's directory.
    pub application: String,
    /// The key of the entry; absent for what concerns the whole application.
    pub component: Option<String>,
    /// What became of it.
    pub state: State,
}

impl ComponentStatus {
    /// `<application>.<component>`, the name in status reports.
    pub fn name(&self) -> String {
        match &self.component {
            Some(component) => format!("{}.{component}", self.application),
            None => self.application.clone(),
        }
    }
}

/// Objects `{name, status, message?}`: one for each application with the worst that became of its components, one for
/// each component.
pub(crate) fn report(components: &[ComponentStatus]) -> Vec<Map> {
    let mut report: Vec<Map> = Vec::new();
    let mut rest = components;
    while let Some(first) = rest.first() {
        let of_same = |one: &ComponentStatus| one.application == first.application;
        let end = rest.iter().position(|one| !of_same(one));
        let (application, others) = rest.split_at(end.unwrap_or(rest.len()));
        let worst = application.iter().max_by_key(|one| severity(&one.state));
        if let Some(worst) = worst {
            report.push(row(&worst.application, &worst.state));
        }
        let parts = application.iter().filter(|one| one.component.is_some());
        report.extend(parts.map(|one| row(&one.name(), &one.state)));
        rest = others;
    }
    report
}

fn severity(state: &State) -> u8 {
    match state {
        State::Healthy => 0,
        State::Warning(_) => 1,
        State::Loading => 2,
        State::Error(_) => 3,
    }
}

fn row(name: &str, state: &State) -> Map {
    let mut row = Map::from_iter([
        ("name", Value::from(name)),
        ("status", Value::from(state.as_str())),
    ]);
    if let Some(message) = state.message() {
        row.insert("message", message);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_as_bad_as_its_worst_component() {
        let of = |application: &str, component: &str, state| ComponentStatus {
            application: application.to_owned(),
            component: Some(component.to_owned()),
            state,
        };
        let report = report(&[
            of("a", "rest", State::Healthy),
            of("a", "roles", State::Error("roles.yaml:1: no".to_owned())),
            of("b", "rest", State::Healthy),
        ]);
        let rows: Vec<_> = report
            .iter()
            .map(|row| {
                (
                    row.get("name").unwrap().as_str().unwrap(),
                    row.get("status").unwrap().as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                ("a", "error"),
                ("a.rest", "healthy"),
                ("a.roles", "error"),
                ("b", "healthy"),
                ("b.rest", "healthy")
            ]
        );
        assert_eq!(
            report[0].get("message").unwrap().as_str(),
            Some("roles.yaml:1: no")
        );
    }
}
