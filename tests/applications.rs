//! Applications as their developers meet them: what is loaded, what an error costs, and what a change does while the
//! server runs (`config-and-cli.md` §6-9).
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use motet_tests::http::{Connection, curl, operation};
use motet_tests::{Builder, Motet, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

const DOG: &str = "type Dog @table @export { id: ID @primaryKey  name: String }\n";

/// Writes files, with their directories.
fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

fn application(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    write(directory.path(), files);
    directory
}

fn get(motet: &Motet, path: &str) -> (u16, String) {
    curl("GET", &motet.url(path), None, &[])
}

/// Waits for a line of the log.
fn logged(motet: &mut Motet, text: &str) {
    eventually(text, || motet.output().contains(text).then_some(()));
}

/// Waits for an answer, which has to come within a second of the change, and some more on a busy machine.
fn live(motet: &Motet, path: &str, expected: impl Fn(u16, &str) -> bool) {
    let changed = Instant::now();
    eventually(path, || {
        let (status, body) = get(motet, path);
        expected(status, &body).then_some(())
    });
    assert!(changed.elapsed() < Duration::from_secs(5), "{path}");
}

#[test]
fn vector_7_without_config_yaml_the_default_is_loaded_and_with_one_only_what_it_names() {
    let directory = application(&[("schema.graphql", DOG), ("web/index.html", "hello")]);
    let motet = Builder::new().application(directory.path()).start();
    assert_eq!(get(&motet, "/Dog/").0, 200);
    assert_eq!(get(&motet, "/").1, "hello");

    let directory = application(&[("schema.graphql", DOG), ("config.yaml", "rest: true\n")]);
    let motet = Builder::new().application(directory.path()).start();
    assert_eq!(get(&motet, "/Dog/").0, 404);
}

#[test]
fn section_6_6_an_error_in_one_application_never_stops_another_and_is_answered_at_its_path() {
    let root = TempDir::new().unwrap();
    write(
        root.path(),
        &[
            (
                "components/a/config.yaml",
                "graphqlSchema: {files: '*.graphql', path: /broken}\nstatic: {files: 'web/**'}\nlogin: true\n",
            ),
            (
                "components/a/schema.graphql",
                "type Cat @table {\n  id ID\n}\n",
            ),
            ("components/a/web/a.txt", "of a"),
            ("components/b/config.yaml", "rest: [\n"),
            ("components/c/schema.graphql", DOG),
        ],
    );
    let mut motet = Builder::new().root(root.path()).start();
    for text in [
        "Could not load component 'graphqlSchema' for application 'a' due to: schema.graphql:2:",
        "the component 'login' is not available in this build",
        "components/b/config.yaml: ",
    ] {
        logged(&mut motet, text);
    }
    assert_eq!(get(&motet, "/Dog/").0, 200);
    assert_eq!(get(&motet, "/a.txt").1, "of a");
    let components = json!({ "operation": "get_components" });
    let (_, answer) = operation(&motet.operations_url(), &components);
    let entry = |name: &str| {
        let mut entries = answer["entries"].as_array().unwrap().iter();
        entries.find(|entry| entry["name"] == name).unwrap()["status"].clone()
    };
    assert_eq!(entry("a")["status"], "error", "{answer}");
    assert_eq!(entry("b")["status"], "error", "{answer}");
    assert_eq!(entry("c")["status"], "healthy", "{answer}");
    let (status, body) = get(&motet, "/broken/x");
    assert_eq!(status, 500);
    assert!(body.contains("schema.graphql:2:"), "{body}");
}

#[test]
fn an_application_without_anything_in_it_and_scripts_are_reported() {
    let root = TempDir::new().unwrap();
    write(
        root.path(),
        &[
            ("components/empty/README.md", "# Nothing\n"),
            ("components/scripts/resources.js", "export class A {}\n"),
        ],
    );
    let mut motet = Builder::new().root(root.path()).start();
    logged(
        &mut motet,
        "components/empty did not load any modules, resources, or files, is this a valid component?",
    );
    logged(
        &mut motet,
        "scripts: scripts are not supported in this build: resources.js is not loaded",
    );
}

#[test]
fn harper_safe_mode_loads_no_application() {
    let directory = application(&[("schema.graphql", DOG)]);
    let mut motet = Builder::new()
        .application(directory.path())
        .environment("HARPER_SAFE_MODE", "1")
        .start();
    logged(
        &mut motet,
        "HARPER_SAFE_MODE is set: no application is loaded",
    );
    assert_eq!(get(&motet, "/Dog/").0, 404);
    let describe = json!({ "operation": "describe_all" });
    assert_eq!(operation(&motet.operations_url(), &describe).0, 200);
}

fn roles(motet: &Motet) -> Vec<Value> {
    let (status, roles) = operation(&motet.operations_url(), &json!({"operation": "list_roles"}));
    assert_eq!(status, 200, "{roles}");
    roles.as_array().unwrap().clone()
}

fn permission(motet: &Motet, name: &str) -> Option<Value> {
    let roles = roles(motet);
    let role = roles.iter().find(|role| role["role"] == name)?;
    Some(role["permission"].clone())
}

#[test]
fn section_7_roles_are_added_altered_where_they_differ_and_never_dropped() {
    let clerk = "clerk:\n  data:\n    Dog:\n      read: true\n";
    let directory = application(&[("schema.graphql", DOG), ("roles.yaml", clerk)]);
    let mut motet = Builder::new().application(directory.path()).start();
    let flags =
        |motet: &Motet| permission(motet, "clerk").unwrap()["data"]["tables"]["Dog"].clone();
    let expected = json!({"read": true, "insert": false, "update": false, "delete": false,
        "attribute_permissions": null});
    assert_eq!(flags(&motet), expected);

    let more = format!("{clerk}      insert: true\nlost:\n  data:\n    Nothing: {{read: true}}\n");
    write(directory.path(), &[("roles.yaml", &more)]);
    eventually("the altered role", || {
        (flags(&motet)["insert"] == true).then_some(())
    });
    logged(&mut motet, "roles.yaml:6: role 'lost': ");
    write(directory.path(), &[("roles.yaml", "")]);
    logged(&mut motet, "loaded 'roles' again");
    assert!(permission(&motet, "clerk").is_some());
}

#[test]
fn vector_9_unchanged_data_is_not_written_again_and_what_a_user_changed_stays() {
    let file = |name: &str, age: u32| {
        json!({"table": "Dog", "records": [
            {"id": "1", "name": name}, {"id": "2", "name": "Bello", "age": age}
        ]})
        .to_string()
    };
    let manifest =
        "rest: true\ngraphqlSchema: {files: '*.graphql'}\ndataLoader: {files: 'data/*.json'}\n";
    let directory = application(&[
        ("config.yaml", manifest),
        ("schema.graphql", DOG),
        ("data/dogs.json", &file("Rex", 1)),
    ]);
    let root = TempDir::new().unwrap();
    let start = || {
        Builder::new()
            .application(directory.path())
            .root(root.path())
            .start()
    };
    let mut motet = start();
    logged(&mut motet, "Loaded 2 new and updated 0 records in data.Dog");
    assert!(motet.stop().success());
    let mut motet = start();
    logged(&mut motet, "All 2 records in data.Dog already up-to-date");
    let body = json!({"name": "Hasso"});
    assert_eq!(curl("PATCH", &motet.url("/Dog/1"), Some(&body), &[]).0, 204);
    write(directory.path(), &[("data/dogs.json", &file("Waldi", 2))]);
    logged(
        &mut motet,
        "Loaded 0 new and updated 1 records in data.Dog (1 records skipped)",
    );
    assert!(get(&motet, "/Dog/1").1.contains("Hasso"));
    assert!(get(&motet, "/Dog/2").1.contains("\"age\":2"));
}

#[test]
fn a_change_of_schema_page_and_data_is_live_and_an_error_is_named_with_its_place() {
    let manifest = "rest: true\ngraphqlSchema: {files: '*.graphql'}\ndataLoader: {files: 'data/*.{json,yaml}'}\nstatic: {files: 'web/**'}\n";
    let directory = application(&[
        ("config.yaml", manifest),
        ("schema.graphql", DOG),
        ("web/index.html", "one"),
        (
            "data/dogs.yaml",
            "table: Dog\nrecords:\n  - {id: '1', name: Rex}\n",
        ),
    ]);
    let path = directory.path();
    let mut motet = Builder::new().application(path).start();
    assert_eq!(get(&motet, "/").1, "one");
    write(path, &[("web/index.html", "two")]);
    live(&motet, "/", |_, body| body == "two");
    write(
        path,
        &[(
            "data/dogs.yaml",
            "table: Dog\nrecords:\n  - {id: '1', name: Waldi}\n",
        )],
    );
    live(&motet, "/Dog/1", |_, body| body.contains("Waldi"));
    write(
        path,
        &[(
            "cat.graphql",
            "type Cat @table @export { id: ID @primaryKey }\n",
        )],
    );
    live(&motet, "/Cat/", |status, _| status == 200);

    // What worked goes on, and the error is told.
    write(
        path,
        &[("cat.graphql", "type Cat @table @export {\n  id ID\n}\n")],
    );
    logged(&mut motet, "due to: cat.graphql:2:");
    assert_eq!(get(&motet, "/Cat/").0, 200);
    assert_eq!(get(&motet, "/Dog/1").0, 200);
    write(path, &[("data/dogs.yaml", "table: Dog\nrecords: 1\n")]);
    logged(
        &mut motet,
        "Data file data/dogs.yaml has invalid \"records\" property, expected array",
    );
    write(path, &[("config.yaml", "rest: [\n")]);
    logged(&mut motet, "config.yaml: ");
    assert_eq!(get(&motet, "/Dog/1").0, 200);

    // Where nothing is exported, the errors are answered.
    let (status, body) = get(&motet, "/Nothing/");
    assert_eq!(status, 500, "{body}");
    let data = "table: Dog\nrecords: []\n";
    let files = [
        ("config.yaml", manifest),
        ("cat.graphql", "# none\n"),
        ("data/dogs.yaml", data),
    ];
    write(path, &files);
    live(&motet, "/Cat/", |status, _| status == 404);
    assert_eq!(get(&motet, "/Dog/1").0, 200);
}

#[test]
fn deployed_applications_come_change_and_go_without_a_restart() {
    let root = TempDir::new().unwrap();
    let mut motet = Builder::new().trusting_nobody().root(root.path()).start();
    let password = std::fs::read_to_string(root.path().join("admin-password")).unwrap();
    let status = |path: &str| curl("GET", &motet.url(path), None, &["-u", password.trim()]).0;
    assert_eq!(status("/Dog/"), 404);
    write(root.path(), &[("components/shop/schema.graphql", DOG)]);
    eventually("the application", || (status("/Dog/") == 200).then_some(()));
    let file = root.path().join("components/shop/schema.graphql");
    std::fs::write(file, DOG.replace("Dog", "Cat")).unwrap();
    eventually("the change", || (status("/Cat/") == 200).then_some(()));
    assert_eq!(status("/Dog/"), 404);
    std::fs::remove_dir_all(root.path().join("components/shop")).unwrap();
    eventually("the end", || (status("/Cat/") == 404).then_some(()));
    assert!(motet.stop().success());
}

#[test]
fn a_request_in_flight_keeps_the_resource_it_began_with() {
    let directory = application(&[("schema.graphql", DOG)]);
    let motet = Builder::new().application(directory.path()).start();
    let mut connection = Connection::open(motet.address("http.port")).unwrap();
    let head = "PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    connection.send(br#"{"name""#).unwrap();
    assert_eq!(get(&motet, "/Dog/").0, 200);
    write(
        directory.path(),
        &[("schema.graphql", &DOG.replace("@export ", ""))],
    );
    eventually("the end of the export", || {
        (get(&motet, "/Dog/").0 == 404).then_some(())
    });
    connection.send(br#":"Rex"}"#).unwrap();
    assert_eq!(connection.response().unwrap().0, 204);
}

#[test]
fn section_9_a_broken_line_of_an_environment_file_is_named_without_its_text() {
    let manifest = "loadEnv: {files: ['.env', '.env.local']}\nrest: true\ngraphqlSchema: {files: '*.graphql'}\n";
    let directory = application(&[
        ("config.yaml", manifest),
        ("schema.graphql", DOG),
        (".env", "A=1\nmy secret\n"),
        (".env.local", "A=2\n"),
    ]);
    let mut motet = Builder::new().application(directory.path()).start();
    logged(&mut motet, "due to: .env:2:");
    logged(
        &mut motet,
        ".env.local: the variable A is set already and stays",
    );
    assert!(!motet.output().contains("secret"));
    assert_eq!(get(&motet, "/Dog/").0, 200);
}
