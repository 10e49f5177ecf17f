//! A setting by the name it has in the environment, on the command line and in operations.

use super::{aliases, names};

/// Ends of names that belong to components, whose names nobody knows in advance.
const OF_COMPONENTS: [&str; 2] = ["_package", "_port"];

/// The path in the file of the setting that is called `name`, in any letter case (`config-and-cli.md` §2.1).
///
/// ```
/// use server::config::setting_path;
/// assert_eq!(setting_path("HTTP_securePort").unwrap(), ["http", "securePort"]);
/// assert_eq!(setting_path("shop_package").unwrap(), ["shop", "package"]);
/// assert_eq!(setting_path("http_prot"), None);
/// ```
pub fn setting_path(name: &str) -> Option<Vec<String>> {
    let upper = name.to_ascii_uppercase();
    if upper == "DATABASES" {
        return Some(vec!["databases".to_owned()]);
    }
    let known = names::known();
    if let Some(known) = known.iter().find(|key| key.variable() == upper) {
        return Some(known.0.clone());
    }
    if let Some(path) = aliases::path(name) {
        return Some(path.split('.').map(str::to_owned).collect());
    }
    let is_section = |section: &str| {
        let first = |key: &names::Known| key.0.first().map(|first| first.to_ascii_uppercase());
        known
            .iter()
            .any(|key| first(key).as_deref() == Some(section))
    };
    OF_COMPONENTS.iter().find_map(|end| {
        let component = name.strip_suffix(end).filter(|name| !name.is_empty())?;
        let is_plain = !component.contains('_') && !is_section(&component.to_ascii_uppercase());
        is_plain.then(|| vec![component.to_owned(), end[1..].to_owned()])
    })
}

/// What is wrong with a name that is no setting, with the nearest one that is.
pub fn unknown_setting(name: &str) -> String {
    names::unknown_message(&name.replace('_', "."), &names::known(), "")
        .trim_start_matches(": ")
        .to_owned()
}

/// The names of the sections of the file.
pub fn section_names() -> Vec<String> {
    let first = |key: names::Known| key.0.into_iter().next();
    let mut sections: Vec<String> = names::known().into_iter().filter_map(first).collect();
    sections.sort();
    sections.dedup();
    sections
}
