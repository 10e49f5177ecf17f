//! Files name no person, no machine and no package mirror.

use super::Problem;
use crate::workspace::{TextFile, Workspace};

/// Name of the files written by cargo, which names the registry in them.
const EXEMPT: &str = "Cargo.lock";

/// Hosts that serve packages. A checkout builds from whichever mirror its machine is set up for.
///
/// In two halves each, so that this file passes its own check.
const REGISTRY_HOSTS: [&str; 9] = [
    concat!("crates.io", "-index"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("pypi", ".org"),
    concat!("files.", "pythonhosted.org"),
    concat!("registry.", "npmjs.org"),
    concat!("proxy.", "golang.org"),
    concat!("deb.", "debian.org"),
    concat!("archive.", "ubuntu.com"),
];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("C:\\Us", "ers\\"),
];

/// Domains that belong to nobody (RFC 2606).
const RESERVED_DOMAINS: [&str; 7] = [
    "example.com",
    "example.net",
    "example.org",
    "example",
    "test",
    "invalid",
    "localhost",
];

pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    workspace
        .files
        .iter()
        .filter(|file| file.path.rsplit('/').next() != Some(EXEMPT))
        .flat_map(check_file)
        .collect()
}

fn check_file(file: &TextFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        let mut report = |message: String| problems.push(Problem::new(&file.path, number, message));
        if let Some(host) = REGISTRY_HOSTS.iter().find(|host| line.contains(**host)) {
            report(format!(
                "names the package host `{host}`: say \"the registry\""
            ));
        }
        if let Some(path) = MACHINE_PATHS.iter().find(|path| has_path(line, path)) {
            report(format!(
                "a path under `{path}` exists on one machine: write a relative path, or `~`"
            ));
        }
        if let Some(address) = mail_address(line) {
            report(format!(
                "`{address}` looks like a person's address: use one at example.com"
            ));
        }
    }
    problems
}

/// Whether an absolute path begins in the line, and not the middle of a longer one.
fn has_path(line: &str, beginning: &str) -> bool {
    line.match_indices(beginning).any(|(at, _)| {
        let inside = |before: char| before.is_alphanumeric() || "._-~}>)*/".contains(before);
        let named = |after: char| after.is_alphanumeric() || after == '.' || after == '_';
        !line[..at].ends_with(inside) && line[at + beginning.len()..].starts_with(named)
    })
}

/// The first mail address of the line that could belong to somebody.
fn mail_address(line: &str) -> Option<&str> {
    line.match_indices('@').find_map(|(at, _)| {
        let is_local =
            |character: char| character.is_ascii_alphanumeric() || "._%+-".contains(character);
        let is_domain =
            |character: char| character.is_ascii_alphanumeric() || ".-".contains(character);
        let local = line[..at].len() - line[..at].trim_end_matches(is_local).len();
        let domain = line[at + 1..].trim_start_matches(is_domain);
        let domain = line[at + 1..line.len() - domain.len()].trim_end_matches(['.', '-']);
        let start = at - local;
        let personal =
            local > 0 && is_host(domain) && !is_reserved(domain) && !is_user_info(&line[..start]);
        personal.then(|| &line[start..at + 1 + domain.len()])
    })
}

/// A dotted name whose last label is of letters, so that `name@1.2` and `action@v4.1` are not meant.
fn is_host(domain: &str) -> bool {
    domain.rsplit_once('.').is_some_and(|(name, top)| {
        !name.is_empty() && top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic())
    })
}

fn is_reserved(domain: &str) -> bool {
    RESERVED_DOMAINS.iter().any(|reserved| {
        domain
            .strip_suffix(reserved)
            .is_some_and(|front| front.is_empty() || front.ends_with('.'))
    })
}

/// Whether what follows is the user part of a URL: `scheme://user:password@host`.
fn is_user_info(before: &str) -> bool {
    before
        .rsplit_once("://")
        .is_some_and(|(_, rest)| !rest.contains([' ', '/', '"', '`']))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{printed, repository};
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        printed(&check(&repository(&[("README.md", text)])))
    }

    #[test]
    fn package_hosts_are_named_with_their_line() {
        let line = format!("one\nsee https://{}/simple\n", REGISTRY_HOSTS[3]);
        assert_eq!(
            problems(&line),
            [format!(
                "README.md:2: names the package host `{}`: say \"the registry\"",
                REGISTRY_HOSTS[3]
            )]
        );
    }

    #[test]
    fn home_directories_are_found_and_record_paths_are_not() {
        let home = MACHINE_PATHS[0];
        assert_eq!(
            problems(&format!("cd {home}ada/motet\n")),
            [format!(
                "README.md:1: a path under `{home}` exists on one machine: write a relative path, or `~`"
            )]
        );
        assert_eq!(
            problems(&format!("GET http://host{home}7\n`{home}`\n~/motet\n")),
            [""; 0]
        );
    }

    #[test]
    fn addresses_of_persons_are_found() {
        let address = concat!("ada.lovelace@", "analytical.org");
        assert_eq!(
            problems(&format!("write to {address}.\n")),
            [format!(
                "README.md:1: `{address}` looks like a person's address: use one at example.com"
            )]
        );
    }

    #[test]
    fn what_only_looks_like_an_address_is_fine() {
        for line in [
            "ada@example.com, ada@mail.example.org, ada@host.test",
            "uses: actions/checkout@v4.2",
            "type Dog @table @export { id: ID @primaryKey }",
            "mqtts://user:secret@broker.internal:8883",
            "curl -u user@localhost",
            "it is 50 @ 3.Five",
        ] {
            assert_eq!(problems(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn lock_files_are_cargos() {
        let text = format!(
            "registry+https://github.com/rust-lang/{}\n",
            REGISTRY_HOSTS[0]
        );
        assert!(
            check(&repository(&[
                ("Cargo.lock", &text),
                ("crates/store/fuzz/Cargo.lock", &text)
            ]))
            .is_empty()
        );
    }
}
