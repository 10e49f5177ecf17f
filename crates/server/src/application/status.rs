//! What became of each component (`config-and-cli.md` §6.6).

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
