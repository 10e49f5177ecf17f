//! §15: components, and what must not get out of their directory.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use resource::Value;
use tar::{Builder, EntryType, Header};

use crate::fixture::{Fixture, admin, value};

/// An archive of entries with these names, kinds and contents.
fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = Header::new_gnu();
        // Written by hand, since the library refuses names that lead elsewhere.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if *kind == EntryType::Symlink {
            header.set_size(0);
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        let content = if *kind == EntryType::Symlink {
            ""
        } else {
            content
        };
        archive.append(&header, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deploy(project: &str, package: &[u8]) -> String {
    let payload = STANDARD.encode(package);
    format!(
        r#"{{"operation": "deploy_component", "project": "{project}", "payload": "{payload}"}}"#
    )
}

const FILE: EntryType = EntryType::Regular;

#[tokio::test]
async fn s15_a_package_is_deployed_listed_packed_and_dropped() {
    let fixture = Fixture::new().await;
    let package = archive(&[
        ("shop/", EntryType::Directory, ""),
        ("shop/config.yaml", FILE, "rest: true\n"),
        ("shop/web/index.html", FILE, "<p>"),
        ("shop/.env", FILE, "SECRET=1"),
    ]);
    fixture
        .says(
            &admin(),
            &deploy("shop", &gzip(&package)),
            "Successfully deployed: shop",
        )
        .await;
    let shop = fixture.components.path().join("shop");
    assert_eq!(
        fs::read_to_string(shop.join("config.yaml")).unwrap(),
        "rest: true\n"
    );
    let (status, answer) = fixture
        .ask(&admin(), r#"{"operation": "get_components"}"#)
        .await;
    assert_eq!(status, 200, "{answer}");
    let tree = value(&answer);
    let entries = tree
        .as_map()
        .unwrap()
        .get("entries")
        .unwrap()
        .as_array()
        .unwrap();
    let shown = entries[0].as_map().unwrap();
    assert_eq!(shown.get("name"), Some(&Value::from("shop")));
    assert_eq!(
        shown.get("status"),
        Some(&value(r#"{"status": "healthy"}"#))
    );
    let names: Vec<_> = shown
        .get("entries")
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            entry
                .as_map()
                .unwrap()
                .get("name")
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        names,
        ["config.yaml", "web"],
        "files that begin with a dot are left out"
    );

    let packed = r#"{"operation": "package_component", "project": "shop"}"#;
    let (status, answer) = fixture.ask(&admin(), packed).await;
    assert_eq!(status, 200, "{answer}");
    let answer = value(&answer);
    let payload = answer
        .as_map()
        .unwrap()
        .get("payload")
        .and_then(Value::as_str)
        .unwrap();
    let again = STANDARD.decode(payload).unwrap();
    fixture
        .says(
            &admin(),
            &deploy("copy", &again),
            "Successfully deployed: copy",
        )
        .await;
    let copy = fixture.components.path().join("copy");
    assert_eq!(
        fs::read_to_string(copy.join("web/index.html")).unwrap(),
        "<p>"
    );

    // A new deployment replaces the whole directory.
    let smaller = archive(&[("a.txt", FILE, "a"), ("b.txt", FILE, "b")]);
    fixture
        .says(
            &admin(),
            &deploy("shop", &smaller),
            "Successfully deployed: shop",
        )
        .await;
    assert!(!shop.join("web").exists() && shop.join("b.txt").exists());
    let drop_file = r#"{"operation": "drop_component", "project": "shop", "file": "b.txt"}"#;
    fixture
        .says(&admin(), drop_file, "Successfully dropped: shop/b.txt")
        .await;
    let drop = r#"{"operation": "drop_component", "project": "shop"}"#;
    fixture
        .says(&admin(), drop, "Successfully dropped: shop")
        .await;
    assert!(!shop.exists());
    fixture
        .refuses(&admin(), drop, 404, "Component 'shop' not found")
        .await;
    // Nothing is left of what was unpacked on the way.
    let left = fs::read_dir(fixture.components.path()).unwrap().count();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn s15_files_of_a_component_are_set_and_read() {
    let fixture = Fixture::new().await;
    let add = r#"{"operation": "add_component", "project": "shop"}"#;
    fixture
        .says(&admin(), add, "Successfully added project: shop")
        .await;
    fixture
        .refuses(&admin(), add, 400, "Project 'shop' already exists")
        .await;
    let set = r#"{"operation": "set_component_file", "project": "shop", "file": "web/a.txt", "payload": "hello"}"#;
    fixture
        .says(&admin(), set, "Successfully set component: web/a.txt")
        .await;
    let get = r#"{"operation": "get_component_file", "project": "shop", "file": "web/a.txt"}"#;
    let (status, answer) = fixture.ask(&admin(), get).await;
    assert_eq!(status, 200, "{answer}");
    let found = value(&answer);
    let found = found.as_map().unwrap();
    assert_eq!(found.get("message"), Some(&Value::from("hello")));
    assert_eq!(found.get("size"), Some(&Value::Int(5)));
    assert!(found.contains_key("mtime"));
    let encoded = r#"{"operation": "get_component_file", "project": "shop", "file": "web/a.txt", "encoding": "base64"}"#;
    let (_, answer) = fixture.ask(&admin(), encoded).await;
    assert!(answer.contains("aGVsbG8="), "{answer}");
    let directory = r#"{"operation": "set_component_file", "project": "shop", "file": "empty"}"#;
    fixture
        .says(&admin(), directory, "Successfully set component: empty")
        .await;
    assert!(fixture.components.path().join("shop/empty").is_dir());
    let missing = r#"{"operation": "get_component_file", "project": "shop", "file": "f"}"#;
    fixture
        .refuses(&admin(), missing, 404, "Component file not found 'shop/f'")
        .await;
}

#[tokio::test]
async fn no_path_leads_out_of_a_component() {
    let fixture = Fixture::new().await;
    let add = r#"{"operation": "add_component", "project": "shop"}"#;
    fixture
        .says(&admin(), add, "Successfully added project: shop")
        .await;
    let shop = fixture.components.path().join("shop");
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    symlink(outside.path(), shop.join("door")).unwrap();
    symlink(outside.path().join("secret"), shop.join("window")).unwrap();
    for file in [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "door/secret",
        "door/new",
        "window",
        ".",
    ] {
        for operation in ["get_component_file", "set_component_file", "drop_component"] {
            let request = format!(
                r#"{{"operation": "{operation}", "project": "shop", "file": "{file}", "payload": "x"}}"#
            );
            fixture
                .refuses(&admin(), &request, 400, "Invalid file path")
                .await;
        }
    }
    let text = "Project name can only contain alphanumeric, dash and underscores characters";
    for project in ["..", "a/b", "a.b"] {
        let request = format!(r#"{{"operation": "drop_component", "project": "{project}"}}"#);
        fixture.refuses(&admin(), &request, 400, text).await;
    }
    // Neither do links go into a package.
    let packed = r#"{"operation": "package_component", "project": "shop"}"#;
    let (_, answer) = fixture.ask(&admin(), packed).await;
    let answer = value(&answer);
    let payload = answer
        .as_map()
        .unwrap()
        .get("payload")
        .and_then(Value::as_str)
        .unwrap();
    fixture
        .says(
            &admin(),
            &deploy("copy", &STANDARD.decode(payload).unwrap()),
            "Successfully deployed: copy",
        )
        .await;
    assert!(!fixture.components.path().join("copy/window").exists());
    assert_eq!(
        fs::read_to_string(outside.path().join("secret")).unwrap(),
        "s"
    );
}

#[tokio::test]
async fn a_package_that_is_hostile_changes_nothing() {
    let fixture = Fixture::new().await;
    let good = archive(&[("a.txt", FILE, "a")]);
    fixture
        .says(
            &admin(),
            &deploy("shop", &good),
            "Successfully deployed: shop",
        )
        .await;
    for (package, message) in [
        (
            archive(&[("b.txt", FILE, "b"), ("../../evil", FILE, "x")]),
            "'payload' holds '../../evil', which leads elsewhere",
        ),
        (
            archive(&[("/evil", FILE, "x")]),
            "'payload' holds '/evil', which leads elsewhere",
        ),
        (
            archive(&[("link", EntryType::Symlink, "")]),
            "'payload' holds 'link', which is no file",
        ),
        (Vec::new(), "'payload' is an empty archive"),
    ] {
        fixture
            .refuses(&admin(), &deploy("shop", &package), 400, message)
            .await;
    }
    let broken = deploy(
        "shop",
        b"not an archive at all, but longer than one block"
            .repeat(20)
            .as_slice(),
    );
    assert_eq!(fixture.ask(&admin(), &broken).await.0, 400);
    // Small when packed: a bomb.
    let zeros = "0".repeat(2 << 20);
    let bomb = gzip(&archive(&[("zeros", FILE, &zeros)]));
    assert!(bomb.len() < 10_000);
    let (status, answer) = fixture.ask(&admin(), &deploy("shop", &bomb)).await;
    assert_eq!(status, 413, "{answer}");
    let shop = fixture.components.path().join("shop");
    assert_eq!(fs::read_to_string(shop.join("a.txt")).unwrap(), "a");
    assert_eq!(fs::read_dir(fixture.components.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn s15_what_a_deployment_must_say() {
    let fixture = Fixture::new().await;
    for (request, status, message) in [
        (
            r#"{"operation": "deploy_component", "project": "shop"}"#,
            400,
            "Either payload or package must be provided",
        ),
        (
            r#"{"operation": "deploy_component", "project": "shop", "package": "a/b", "payload": "YQ=="}"#,
            400,
            "Both payload and package cannot be provided",
        ),
        (
            r#"{"operation": "deploy_component", "project": "shop", "package": "a/b"}"#,
            501,
            "deploy_component with a 'package' is not available in this build: packages are not installed from elsewhere",
        ),
        (
            r#"{"operation": "deploy_component", "project": "http", "payload": "YQ=="}"#,
            400,
            "Component name 'http' is the name of a section of the configuration",
        ),
        (
            r#"{"operation": "deploy_component", "project": "shop", "payload": "%"}"#,
            400,
            "'payload' must be base64 text or bytes",
        ),
    ] {
        fixture.refuses(&admin(), request, status, message).await;
    }
}
