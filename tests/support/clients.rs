//! Clients in other languages: their libraries in the cache, where `cargo xtask test` puts them, and our scripts.

use std::path::{Path, PathBuf};

/// The root of the workspace.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("tests lie in the workspace")
        .to_owned()
}

/// One of our scripts.
pub fn script(name: &str) -> String {
    root()
        .join("tests/clients")
        .join(name)
        .display()
        .to_string()
}

/// Where Python finds its libraries.
///
/// # Panics
///
/// If they are not there.
pub fn python() -> String {
    cached("python")
}

/// Where Node.js finds its libraries.
///
/// # Panics
///
/// If they are not there.
pub fn node() -> String {
    cached("node/node_modules")
}

fn cached(name: &str) -> String {
    let path = root().join(".cache").join(name);
    assert!(
        path.is_dir(),
        "{} is missing; `cargo xtask test` makes it",
        path.display()
    );
    path.display().to_string()
}
