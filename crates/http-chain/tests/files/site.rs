//! A site, as a client sees it with the default settings.

use std::fs;
use std::path::Path;

use http::{Method, StatusCode};
use http_chain::files::{Absent, StaticFiles, StaticFilesConfig};
use http_chain::{Body, Request};

use crate::support::{DATE, Site, directory, header, text};

#[tokio::test]
async fn a_file_is_served_with_its_type_and_validators() {
    let site = Site::new(|_| {});
    let response = site.ask(Method::GET, "/docs/a%20b.txt?v=1", &[]).await;
    let expected = [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "10"),
        ("last-modified", DATE),
        ("accept-ranges", "bytes"),
        ("cache-control", "public, max-age=0"),
        ("x-content-type-options", "nosniff"),
    ];
    for (name, value) in expected {
        assert_eq!(header(&response, name), Some(value), "{name}");
    }
    assert!(header(&response, "etag").unwrap().starts_with("W/\"a-"));
    assert_eq!(text(response).await, (200, "0123456789".to_owned()));
    let head = site.ask(Method::HEAD, "/docs/a%20b.txt", &[]).await;
    assert_eq!(
        (head.status().as_u16(), header(&head, "content-length")),
        (200, Some("10"))
    );
    assert!(matches!(head.body(), Body::Empty));
}

#[tokio::test]
async fn a_directory_serves_its_index_and_redirects_to_its_slash() {
    let site = Site::new(|_| {});
    assert_eq!(site.get("/").await, (200, "home".to_owned()));
    assert_eq!(site.get("/docs/").await, (200, "docs".to_owned()));
    for (url, location) in [
        ("/docs?x=1", "/docs/?x=1"),
        ("//docs", "/docs/"),
        ("///docs?//evil.example", "/docs/?//evil.example"),
    ] {
        let response = site.ask(Method::GET, url, &[]).await;
        assert_eq!(
            (response.status().as_u16(), header(&response, "location")),
            (301, Some(location)),
            "{url}"
        );
    }
    // No index, no listing; a file is no directory.
    assert_eq!(site.get("/empty").await.0, 418);
    assert_eq!(site.get("/empty/").await.0, 418);
    assert_eq!(site.get("/about.html/").await.0, 418);
    assert_eq!(site.get("/about.html/x").await.0, 418);
}

#[tokio::test]
async fn what_is_no_file_goes_to_the_next_handler() {
    let site = Site::new(|_| {});
    assert_eq!(site.get("/Dog/1").await, (418, "behind".to_owned()));
    assert_eq!(
        site.ask(Method::POST, "/index.html", &[]).await.status(),
        418
    );
    assert_eq!(site.get(&format!("/{}", "x".repeat(5000))).await.0, 418);
    for hidden in ["/.env", "/%2eenv", "/docs/.git/config"] {
        assert_eq!(site.get(hidden).await.0, 418, "{hidden}");
    }
}

#[tokio::test]
async fn changes_show_at_once() {
    let site = Site::new(|_| {});
    let first = site.ask(Method::GET, "/index.html", &[]).await;
    let etag = header(&first, "etag").unwrap().to_owned();
    fs::write(site.root().join("index.html"), "new home").unwrap();
    fs::write(site.root().join("added.txt"), "added").unwrap();
    fs::remove_file(site.root().join("about.html")).unwrap();
    let second = site
        .ask(Method::GET, "/index.html", &[("if-none-match", &etag)])
        .await;
    assert_eq!(text(second).await, (200, "new home".to_owned()));
    assert_eq!(site.get("/added.txt").await, (200, "added".to_owned()));
    assert_eq!(site.get("/about.html").await.0, 418);
    // A deployment swaps the directory as a whole.
    fs::rename(site.root(), site.base.path().join("old")).unwrap();
    assert_eq!(site.get("/index.html").await.0, 418);
    fs::create_dir(site.root()).unwrap();
    fs::write(site.root().join("index.html"), "v2").unwrap();
    assert_eq!(site.get("/").await, (200, "v2".to_owned()));
}

#[tokio::test]
async fn conditions_and_ranges_save_the_transfer() {
    let site = Site::new(|_| {});
    let url = "/docs/a%20b.txt";
    let etag = header(&site.ask(Method::GET, url, &[]).await, "etag")
        .unwrap()
        .to_owned();
    for condition in [("if-none-match", &*etag), ("if-modified-since", DATE)] {
        let response = site.ask(Method::GET, url, &[condition]).await;
        assert_eq!(
            (
                response.status().as_u16(),
                header(&response, "content-length")
            ),
            (304, None),
            "{condition:?}"
        );
        assert_eq!(
            (
                header(&response, "etag"),
                header(&response, "cache-control")
            ),
            (Some(&*etag), Some("public, max-age=0"))
        );
    }
    let old = "Sun, 06 Nov 1994 08:49:36 GMT";
    assert_eq!(
        site.ask(Method::GET, url, &[("if-unmodified-since", old)])
            .await
            .status(),
        412
    );

    let part = site.ask(Method::GET, url, &[("range", "bytes=2-4")]).await;
    assert_eq!(
        (
            header(&part, "content-range"),
            header(&part, "content-length")
        ),
        (Some("bytes 2-4/10"), Some("3"))
    );
    assert_eq!(text(part).await, (206, "234".to_owned()));
    let beyond = site.ask(Method::GET, url, &[("range", "bytes=10-")]).await;
    assert_eq!(
        (beyond.status().as_u16(), header(&beyond, "content-range")),
        (416, Some("bytes */10"))
    );
    let resumed = site
        .ask(
            Method::GET,
            url,
            &[("range", "bytes=8-"), ("if-range", DATE)],
        )
        .await;
    assert_eq!(text(resumed).await, (206, "89".to_owned()));
    let changed = site
        .ask(
            Method::GET,
            url,
            &[("range", "bytes=8-"), ("if-range", old)],
        )
        .await;
    assert_eq!(text(changed).await, (200, "0123456789".to_owned()));
}

#[tokio::test]
async fn a_large_file_is_streamed_in_whole_or_in_part() {
    let site = Site::new(|_| {});
    let content: String = (0..200_000).map(|line| format!("{line}\n")).collect();
    fs::write(site.root().join("large.txt"), &content).unwrap();
    let whole = site.ask(Method::GET, "/large.txt", &[]).await;
    assert_eq!(whole.body().known_length(), Some(content.len() as u64));
    assert_eq!(text(whole).await, (200, content.clone()));
    let part = site
        .ask(Method::GET, "/large.txt", &[("range", "bytes=1000-900000")])
        .await;
    assert_eq!(text(part).await, (206, content[1000..=900_000].to_owned()));

    // A file that shrinks breaks the transfer instead of ending it early.
    let whole = site.ask(Method::GET, "/large.txt", &[]).await;
    fs::write(site.root().join("large.txt"), "short").unwrap();
    assert!(whole.into_body().collect(10_000_000).await.is_err());
}

#[tokio::test]
async fn a_prefix_ends_at_a_segment() {
    for prefix in ["site", "/site", "/site/"] {
        let site = Site::new(|config| config.url_path = prefix.to_owned());
        assert_eq!(site.get("/site/").await, (200, "home".to_owned()));
        assert_eq!(site.get("/site/docs/").await, (200, "docs".to_owned()));
        let response = site.ask(Method::GET, "/site", &[]).await;
        assert_eq!(header(&response, "location"), Some("/site/"));
        let response = site.ask(Method::GET, "/site/docs", &[]).await;
        assert_eq!(header(&response, "location"), Some("/site/docs/"));
        for outside in ["/", "/sites/", "/docs/", "/siteindex.html"] {
            assert_eq!(site.get(outside).await.0, 418, "{outside}");
        }
    }
}

#[tokio::test]
async fn extensions_are_tried_in_order() {
    let site = Site::new(|config| config.extensions = vec!["htm".into(), "html".into()]);
    assert_eq!(site.get("/about").await, (200, "about".to_owned()));
    assert_eq!(site.get("/about/").await.0, 418);
    assert_eq!(site.get("/nothing").await.0, 418);
}

#[tokio::test]
async fn without_hand_back_absence_is_answered_here() {
    let site = Site::new(|config| config.absent = Absent::NotFound);
    assert_eq!(site.get("/Dog/1").await, (404, "File not found".to_owned()));
    assert_eq!(site.get("/a%2fb").await.0, 400);
    let page = Absent::File {
        path: "index.html".into(),
        status: StatusCode::OK,
    };
    let site = Site::new(|config| config.absent = page);
    assert_eq!(site.get("/orders/new").await, (200, "home".to_owned()));
    assert_eq!(site.get("/.env").await, (200, "home".to_owned()));
    assert_eq!(site.get("/%2e%2e/secret.txt").await.0, 400);
    assert_eq!(site.ask(Method::POST, "/orders", &[]).await.status(), 418);
}

#[tokio::test]
async fn a_root_that_is_no_directory_is_refused_at_start() {
    let base = directory();
    for root in ["nowhere", "secret.txt"] {
        let error = StaticFiles::new(StaticFilesConfig::new(base.path().join(root))).unwrap_err();
        assert!(error.to_string().contains(root), "{error}");
    }
}

/// Every URL of up to three of these pieces in front of the secret's name.
#[tokio::test]
async fn no_url_reaches_the_file_beside_the_root() {
    let site = Site::new(|_| {});
    let pieces = [
        "../",
        "..%2f",
        "%2e%2e/",
        "%2E%2e%2F",
        ".%2e/",
        "..\\",
        "..%5c",
        "%2e%2e%5c",
        "./",
        "/",
        "%252e%252e/",
        "%252e%252e%252f",
        "..%00/",
        "%c0%ae%c0%ae/",
        "docs/",
        "....//",
        "..;/",
    ];
    let mut prefixes = vec![String::new()];
    for _ in 0..3 {
        let longer: Vec<_> = prefixes
            .iter()
            .flat_map(|prefix| pieces.map(|piece| format!("{prefix}{piece}")))
            .collect();
        prefixes.extend(longer);
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    let outside = site.base.path().to_str().unwrap().to_owned();
    prefixes.push(outside.trim_start_matches('/').to_owned() + "/");
    for prefix in prefixes {
        let Ok(request) = Request::new(Method::GET, &format!("/{prefix}secret.txt")) else {
            continue;
        };
        let (status, text) = text(site.chain.answer(request).await).await;
        assert!(
            status == 418 && text == "behind",
            "{prefix}: {status} {text}"
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn no_link_leads_out_of_the_root_and_no_pipe_blocks() {
    use std::os::unix::fs::symlink;

    let site = Site::new(|_| {});
    let link = |target: &Path, name: &str| symlink(target, site.root().join(name)).unwrap();
    link(Path::new("../secret.txt"), "relative.txt");
    link(&site.base.path().join("secret.txt"), "absolute.txt");
    link(site.base.path(), "up");
    link(Path::new("docs"), "inside");
    link(&site.root().join("about.html"), "inside.html");
    for outside in [
        "/relative.txt",
        "/absolute.txt",
        "/up/secret.txt",
        "/up/web/index.html",
    ] {
        let (status, text) = site.get(outside).await;
        assert!(
            status == 418 || (status == 200 && text == "home"),
            "{outside}: {status} {text}"
        );
    }
    assert_eq!(site.get("/inside/").await, (200, "docs".to_owned()));
    assert_eq!(site.get("/inside.html").await, (200, "about".to_owned()));
    let pipe = site.root().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(site.get("/pipe").await.0, 418);
}
