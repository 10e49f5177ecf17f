//! The repository as data: its packages as cargo sees them and the text of every file git knows.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::run;

/// What the checks look at. Paths are relative to the root, with forward slashes.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    pub(crate) files: Vec<TextFile>,
}

/// One workspace member.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Directory of its manifest, for example `crates/base`.
    pub(crate) directory: String,
    pub(crate) license: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    /// Root files of its library and binaries.
    pub(crate) roots: Vec<String>,
}

/// One dependency of a member, of any kind and for any target.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// Name of the package it brings.
    pub(crate) package: String,
    /// Key in the manifest; differs from `package` only when renamed.
    pub(crate) key: String,
}

/// A tracked file, or one that would be tracked by `git add`.
#[derive(Debug)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Workspace {
    /// Reads the repository this program was built from.
    pub(crate) fn load() -> Result<Self> {
        let root = root();
        let metadata = run::capture(run::cargo().current_dir(&root).args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
        ]))?;
        let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata")?;
        Ok(Self {
            packages: packages(&metadata, &root)?,
            files: files(&root)?,
        })
    }

    pub(crate) fn file(&self, path: &str) -> Option<&TextFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The members that are published: everything under `crates/`.
    pub(crate) fn crates(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| package.directory.starts_with("crates/"))
    }
}

impl Package {
    pub(crate) fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.directory)
    }
}

/// The directory of the workspace.
pub(crate) fn root() -> PathBuf {
    // Compiled in: a chore may be started from any directory of the workspace.
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask
        .parent()
        .expect("xtask is a directory of the workspace")
        .to_path_buf()
}

fn packages(metadata: &Value, root: &Path) -> Result<Vec<Package>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    packages
        .iter()
        .map(|package| {
            let manifest = relative(text(&package["manifest_path"])?, root)?;
            Ok(Package {
                name: text(&package["name"])?.to_owned(),
                directory: manifest
                    .trim_end_matches("Cargo.toml")
                    .trim_end_matches('/')
                    .to_owned(),
                license: package["license"].as_str().map(str::to_owned),
                dependencies: list(&package["dependencies"])
                    .map(|dependency| {
                        let package = text(&dependency["name"])?.to_owned();
                        let key = dependency["rename"].as_str().unwrap_or(&package).to_owned();
                        Ok(Dependency { package, key })
                    })
                    .collect::<Result<_>>()?,
                roots: list(&package["targets"])
                    .filter(|target| {
                        list(&target["kind"]).any(|kind| kind == "lib" || kind == "bin")
                    })
                    .map(|target| relative(text(&target["src_path"])?, root))
                    .collect::<Result<_>>()?,
            })
        })
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Result<&str> {
    value
        .as_str()
        .with_context(|| format!("cargo metadata: expected a string, found {value}"))
}

fn relative(path: &str, root: &Path) -> Result<String> {
    let path = Path::new(path)
        .strip_prefix(root)
        .with_context(|| format!("{path} is outside the workspace"))?;
    Ok(path.to_string_lossy().replace('\\', "/"))
}

fn files(root: &Path) -> Result<Vec<TextFile>> {
    let listed = run::capture(Command::new("git").current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        match std::fs::read(root.join(path)) {
            // Pictures and the like are read too: what must not be in a file may be in any file.
            Ok(bytes) => files.push(TextFile {
                path: path.to_owned(),
                text: String::from_utf8_lossy(&bytes).into_owned(),
            }),
            // Deleted, and git not told yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_read_from_cargo_metadata() {
        let metadata = serde_json::json!({ "packages": [{
            "name": "auth",
            "manifest_path": "/w/crates/auth/Cargo.toml",
            "license": "Apache-2.0",
            "dependencies": [
                { "name": "base", "rename": null, "kind": null },
                { "name": "argon2", "rename": "password_hash", "kind": "dev" },
            ],
            "targets": [
                { "kind": ["lib"], "src_path": "/w/crates/auth/src/lib.rs" },
                { "kind": ["test"], "src_path": "/w/crates/auth/tests/users.rs" },
            ],
        }]});
        let packages = packages(&metadata, Path::new("/w")).unwrap();
        let [auth] = packages.as_slice() else {
            panic!("one package")
        };
        assert_eq!(auth.directory, "crates/auth");
        assert_eq!(auth.manifest(), "crates/auth/Cargo.toml");
        assert_eq!(auth.roots, ["crates/auth/src/lib.rs"]);
        assert_eq!(auth.dependencies[1].package, "argon2");
        assert_eq!(auth.dependencies[1].key, "password_hash");
    }

    #[test]
    fn a_member_outside_the_workspace_is_refused() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "x", "manifest_path": "/elsewhere/Cargo.toml" }
        ]});
        let error = packages(&metadata, Path::new("/w")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/elsewhere/Cargo.toml is outside the workspace"
        );
    }
}
