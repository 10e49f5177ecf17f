//! What the settings change.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, StatusCode};
use http_chain::files::{
    Absent, CachePolicy, Dotfiles, EntityTag, EntityTags, MediaTypes, StaticFiles,
    StaticFilesConfig, StaticFilesError, StaticSection, SymbolicLinks, file_server,
};
use http_chain::request::OriginalPathname;
use http_chain::{Body, Chain, Request, Response, Stage};

use crate::support::{Site, directory, header, text};

fn write(site: &Site, path: &str, text: &str) {
    let path = site.root().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn set_age(path: &Path, age: Duration) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[tokio::test]
async fn patterns_say_what_belongs_to_the_site_and_lie_over_each_other() {
    let site = Site::new(|config| {
        let root = &config.root;
        for (path, text) in [
            ("top/a.txt", "top a"),
            ("low/a.txt", "low a"),
            ("low/b.txt", "low b"),
            ("low/b.map", "map"),
            ("low/deep/index.html", "deep"),
            ("low/deep/private.html", "private"),
        ] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        }
        config.files = ["top/*.txt", "low/**/*.{txt,map}", "low/**/index.html"]
            .map(str::to_owned)
            .into();
        config.ignore = vec!["**/*.map".to_owned()];
    });
    assert_eq!(site.get("/a.txt").await, (200, "top a".to_owned()));
    assert_eq!(site.get("/b.txt").await, (200, "low b".to_owned()));
    assert_eq!(site.get("/deep/").await, (200, "deep".to_owned()));
    assert_eq!(site.get("/deep").await.0, 301);
    for outside in [
        "/low/b.txt",
        "/top/a.txt",
        "/b.map",
        "/deep/private.html",
        "/about.html",
        "/",
    ] {
        assert_eq!(site.get(outside).await.0, 418, "{outside}");
    }
    fs::remove_file(site.root().join("top/a.txt")).unwrap();
    assert_eq!(site.get("/a.txt").await, (200, "low a".to_owned()));
}

#[tokio::test]
async fn a_precompressed_sibling_is_used_when_the_client_accepts_it() {
    let site = Site::new(|_| {});
    write(&site, "app.js", "original");
    write(&site, "app.js.gz", "gzip bytes");
    write(&site, "app.js.br", "br bytes");
    let ask = async |fields: &[(&str, &str)]| site.ask(Method::GET, "/app.js", fields).await;
    let plain = ask(&[]).await;
    let plain_tag = header(&plain, "etag").unwrap().to_owned();
    assert_eq!(header(&plain, "vary"), Some("Accept-Encoding"));
    assert_eq!(header(&plain, "content-encoding"), None);
    let cases = [
        ("gzip, deflate, br, zstd", "br", "br bytes"),
        ("gzip", "gzip", "gzip bytes"),
        ("br;q=0.1, gzip", "gzip", "gzip bytes"),
        ("*", "br", "br bytes"),
        ("zstd", "", "original"),
        ("br;q=0, gzip;q=0", "", "original"),
        ("identity, br;q=0.5", "", "original"),
    ];
    for (accepted, coding, expected) in cases {
        let response = ask(&[("accept-encoding", accepted)]).await;
        assert_eq!(
            header(&response, "content-encoding").unwrap_or_default(),
            coding,
            "{accepted}"
        );
        assert_eq!(
            header(&response, "vary"),
            Some("Accept-Encoding"),
            "{accepted}"
        );
        assert_eq!(
            header(&response, "content-type"),
            Some("text/javascript; charset=utf-8")
        );
        assert_eq!(
            header(&response, "etag") == Some(&*plain_tag),
            coding.is_empty(),
            "{accepted}"
        );
        assert_eq!(
            text(response).await,
            (200, expected.to_owned()),
            "{accepted}"
        );
    }
    // Conditions and ranges are about the form that is sent.
    let br = ask(&[("accept-encoding", "br")]).await;
    let br_tag = header(&br, "etag").unwrap().to_owned();
    let again = |tag| [("accept-encoding", "br"), ("if-none-match", tag)];
    let same = ask(&again(&br_tag)).await;
    assert_eq!(
        (same.status().as_u16(), header(&same, "vary")),
        (304, Some("Accept-Encoding"))
    );
    assert_eq!(header(&same, "content-encoding"), None);
    assert_eq!(ask(&again(&plain_tag)).await.status(), 200);
    let part = ask(&[("accept-encoding", "br"), ("range", "bytes=0-1")]).await;
    assert_eq!(header(&part, "content-encoding"), Some("br"));
    assert_eq!(header(&part, "content-range"), Some("bytes 0-1/8"));
    let head = site
        .ask(Method::HEAD, "/app.js", &[("accept-encoding", "br")])
        .await;
    assert_eq!(header(&head, "content-length"), Some("8"));
    // A file without siblings does not vary.
    let alone = site
        .ask(Method::GET, "/about.html", &[("accept-encoding", "br")])
        .await;
    assert_eq!(header(&alone, "vary"), None);
}

#[cfg(feature = "compression")]
#[tokio::test]
async fn compression_leaves_parts_and_siblings_alone_and_weakens_tags() {
    use http_chain::compression::Compression;

    let site = Site::new(|_| {});
    let long = "0123456789".repeat(1000);
    write(&site, "long.txt", &long);
    write(&site, "app.js", &long);
    write(&site, "app.js.br", &long);
    let files = StaticFiles::new(StaticFilesConfig {
        entity_tags: EntityTags::Content { max_bytes: 1 << 20 },
        ..StaticFilesConfig::new(site.root())
    });
    let chain = Chain::new([
        ("compression", Stage::gate(Compression::default())),
        ("files", Stage::handler(files.unwrap())),
    ]);
    let ask = async |url: &str, fields: &[(&str, &str)]| {
        let mut request = http::Request::get(url).header("accept-encoding", "br");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        chain
            .answer(request.body(Body::Empty).unwrap().into())
            .await
    };
    let compressed = ask("/long.txt", &[]).await;
    assert_eq!(header(&compressed, "content-encoding"), Some("br"));
    assert_eq!(header(&compressed, "accept-ranges"), None);
    let tag = header(&compressed, "etag").unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    assert_eq!(
        ask("/long.txt", &[("if-none-match", &tag)]).await.status(),
        304
    );
    // The rest of compressed bytes cannot be had from the original ones.
    let rest = [("range", "bytes=10-"), ("if-range", &*tag)];
    assert_eq!(ask("/long.txt", &rest).await.status(), 200);
    let part = ask("/long.txt", &[("range", "bytes=10-9999")]).await;
    assert_eq!(header(&part, "content-encoding"), None);
    assert_eq!(text(part).await, (206, long[10..].to_owned()));
    let sibling = ask("/app.js", &[]).await;
    assert_eq!(header(&sibling, "vary"), Some("Accept-Encoding"));
    assert!(header(&sibling, "etag").unwrap().starts_with('"'));
    assert_eq!(text(sibling).await, (200, long));
}

#[tokio::test]
async fn a_sibling_older_than_its_original_is_not_used() {
    let site = Site::new(|_| {});
    write(&site, "app.js.br", "old");
    set_age(&site.root().join("app.js.br"), Duration::from_secs(60));
    write(&site, "app.js", "new");
    let response = site
        .ask(Method::GET, "/app.js", &[("accept-encoding", "br")])
        .await;
    assert_eq!(text(response).await, (200, "new".to_owned()));
    write(&site, "app.js.br", "compressed again");
    let response = site
        .ask(Method::GET, "/app.js", &[("accept-encoding", "br")])
        .await;
    assert_eq!(text(response).await.1, "compressed again");
    let off = Site::new(|config| config.precompressed.clear());
    write(&off, "about.html.br", "br");
    let response = off
        .ask(Method::GET, "/about.html", &[("accept-encoding", "br")])
        .await;
    assert_eq!(text(response).await.1, "about");
}

#[tokio::test]
async fn the_fallback_of_an_application_answers_routes_and_not_missing_files() {
    let spa = |config: &mut StaticFilesConfig| {
        config.absent = Absent::SpaFallback {
            path: "index.html".into(),
        };
    };
    let site = Site::new(spa);
    for route in ["/users/1", "/v1.2/users", "/orders/", "/.well-known/x"] {
        assert_eq!(site.get(route).await, (200, "home".to_owned()), "{route}");
    }
    for file in ["/app.js", "/a/b.c", "/.env", "/a%2Ejs"] {
        assert_eq!(
            site.get(file).await,
            (404, "File not found".to_owned()),
            "{file}"
        );
    }
    assert_eq!(site.get("/about.html").await.1, "about");
    assert_eq!(site.get("/%2e%2e/users").await.0, 400);
    let page = site.ask(Method::GET, "/users/1", &[]).await;
    let etag = header(&page, "etag").unwrap().to_owned();
    let again = site
        .ask(Method::GET, "/users/2", &[("if-none-match", &etag)])
        .await;
    assert_eq!(again.status(), 304);

    let base = directory();
    let mut config = StaticFilesConfig::new(base.path().join("web"));
    for absent in ["nothing.html", "docs", "../secret.txt"] {
        config.absent = Absent::SpaFallback {
            path: absent.into(),
        };
        let error = StaticFiles::new(config.clone()).unwrap_err();
        assert!(
            matches!(error, StaticFilesError::Fallback { .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_page_for_what_is_absent_has_its_status_and_no_conditions() {
    let site = Site::new(|config| {
        config.absent = Absent::File {
            path: "about.html".into(),
            status: StatusCode::NOT_FOUND,
        };
    });
    let fields = [("if-none-match", "*"), ("range", "bytes=0-1")];
    let response = site.ask(Method::GET, "/nothing", &fields).await;
    assert_eq!(header(&response, "accept-ranges"), None);
    assert_eq!(text(response).await, (404, "about".to_owned()));
    assert_eq!(site.ask(Method::HEAD, "/nothing", &[]).await.status(), 404);
    fs::remove_file(site.root().join("about.html")).unwrap();
    assert_eq!(
        site.get("/nothing").await,
        (404, "File not found".to_owned())
    );
}

#[tokio::test]
async fn a_redirect_from_inside_a_mount_names_the_path_of_the_client() {
    let site = Site::new(|_| {});
    let mut request = Request::new(Method::GET, "/docs?x=1").unwrap();
    request
        .extensions_mut()
        .insert(OriginalPathname("/shop/docs".into()));
    let response = site.chain.answer(request).await;
    assert_eq!(header(&response, "location"), Some("/shop/docs/?x=1"));
}

#[tokio::test]
async fn cache_control_tags_and_types_are_settings() {
    let site = Site::new(|config| {
        config.cache_control = HeaderValue::from_static("no-store").into();
        config.entity_tags = EntityTags::None;
        config.media_types = MediaTypes::default().with("md", HeaderValue::from_static("text/x"));
        config.ranges = None;
    });
    let response = site
        .ask(Method::GET, "/empty/readme.md", &[("range", "bytes=0-0")])
        .await;
    assert_eq!(response.status(), 200);
    for (name, value) in [
        ("cache-control", Some("no-store")),
        ("content-type", Some("text/x")),
        ("etag", None),
        ("accept-ranges", None),
    ] {
        assert_eq!(header(&response, name), value, "{name}");
    }
    let since = header(&response, "last-modified").unwrap().to_owned();
    let again = site
        .ask(
            Method::GET,
            "/empty/readme.md",
            &[("if-modified-since", &since)],
        )
        .await;
    assert_eq!(
        (again.status().as_u16(), header(&again, "cache-control")),
        (304, Some("no-store"))
    );

    let custom = Site::new(|config| {
        config.entity_tags =
            EntityTags::Custom(Arc::new(|path, _| EntityTag::strong(path.to_str()?).ok()));
        config.cache_control = CachePolicy::Custom(Arc::new(|path| {
            let is_page = path.extension()? == "html";
            is_page.then(|| HeaderValue::from_static("no-cache"))
        }));
    });
    let response = custom.ask(Method::GET, "/docs/", &[]).await;
    assert_eq!(header(&response, "etag"), Some("\"docs/index.html\""));
    assert_eq!(header(&response, "cache-control"), Some("no-cache"));
    let response = custom.ask(Method::GET, "/docs/a%20b.txt", &[]).await;
    assert_eq!(header(&response, "cache-control"), None);
}

#[cfg(unix)]
#[tokio::test]
async fn a_listing_shows_what_may_be_asked_for() {
    use std::os::unix::fs::symlink;

    let site = Site::new(|config| {
        config.listing = true;
        config.ignore = vec!["**/*.map".to_owned()];
    });
    write(&site, "empty/app.map", "");
    write(&site, "empty/sub/a:b.txt", "colon");
    write(&site, "empty/.hidden", "");
    symlink("../../secret.txt", site.root().join("empty/out")).unwrap();
    symlink("../about.html", site.root().join("empty/in.html")).unwrap();
    let page = site.ask(Method::GET, "/empty/", &[]).await;
    assert_eq!(
        header(&page, "content-type"),
        Some("text/html; charset=utf-8")
    );
    let (status, html) = text(page).await;
    let lines: Vec<_> = html
        .lines()
        .filter(|line| line.contains("href=\"./"))
        .collect();
    let expected = [
        "<li><a href=\"./in.html\">in.html</a></li>",
        "<li><a href=\"./readme.md\">readme.md</a></li>",
        "<li><a href=\"./sub/\">sub/</a></li>",
    ];
    assert_eq!((status, &lines[..]), (200, &expected[..]));
    assert_eq!(
        site.get("/empty/sub/a%3Ab.txt").await,
        (200, "colon".to_owned())
    );
    let moved = site.ask(Method::GET, "/empty", &[]).await;
    assert_eq!(
        (moved.status().as_u16(), header(&moved, "location")),
        (301, Some("/empty/"))
    );
    assert_eq!(site.get("/docs/").await, (200, "docs".to_owned()));
    let head = site.ask(Method::HEAD, "/empty/", &[]).await;
    assert_eq!(
        header(&head, "content-length"),
        Some(&*html.len().to_string())
    );
    assert!(matches!(head.body(), Body::Empty));
}

#[tokio::test]
async fn a_tag_by_content_is_strong_and_follows_the_content() {
    let site = Site::new(|config| config.entity_tags = EntityTags::Content { max_bytes: 100 });
    let path = site.root().join("about.html");
    let tag = async || {
        let response = site.ask(Method::GET, "/about.html", &[]).await;
        header(&response, "etag").unwrap().to_owned()
    };
    set_age(&path, Duration::from_secs(60));
    let first = tag().await;
    assert!(first.starts_with('"'), "{first}");
    assert_eq!(tag().await, first);
    fs::write(&path, "other").unwrap();
    let second = tag().await;
    assert_ne!(second, first);
    // Same size, and an old time of its own: a file moved into place.
    let moved = site.root().join("moved");
    fs::write(&moved, "about").unwrap();
    set_age(&moved, Duration::from_secs(60));
    fs::rename(&moved, &path).unwrap();
    assert_eq!(tag().await, first);
    let resumed = [("range", "bytes=2-"), ("if-range", &*first)];
    let response = site.ask(Method::GET, "/about.html", &resumed).await;
    assert_eq!(text(response).await, (206, "out".to_owned()));
    fs::write(&path, "x".repeat(101)).unwrap();
    assert!(tag().await.starts_with("W/"));
}

#[tokio::test]
async fn more_requests_for_files_than_allowed_get_503() {
    let (entered, mut is_entered) = tokio::sync::mpsc::unbounded_channel();
    let (release, is_released) = std::sync::mpsc::channel::<()>();
    let is_released = std::sync::Mutex::new(is_released);
    let site = Site::new(|config| {
        config.max_pending = 1;
        config.entity_tags = EntityTags::Custom(Arc::new(move |_, _| {
            entered.send(()).unwrap();
            is_released.lock().unwrap().recv().unwrap();
            None
        }));
    });
    let second = async {
        is_entered.recv().await.unwrap();
        let refused = site.ask(Method::GET, "/about.html", &[]).await;
        assert_eq!(header(&refused, "retry-after"), Some("1"));
        release.send(()).unwrap();
        refused.status()
    };
    let (first, second) = tokio::join!(site.get("/about.html"), second);
    assert_eq!((first.0, second.as_u16()), (200, 503));
    release.send(()).unwrap();
    assert_eq!(site.get("/about.html").await.0, 200);
}

#[tokio::test]
async fn dotfiles_can_be_denied_or_served() {
    let denied = Site::new(|config| config.dotfiles = Dotfiles::Deny);
    for hidden in ["/.env", "/%2eenv", "/docs/.git/config", "/.nothing"] {
        assert_eq!(denied.get(hidden).await.0, 403, "{hidden}");
    }
    let served = Site::new(|config| config.dotfiles = Dotfiles::Serve);
    assert_eq!(served.get("/.env").await, (200, "hidden".to_owned()));
    assert_eq!(served.get("/..").await.0, 418);
}

#[cfg(unix)]
#[tokio::test]
async fn links_out_of_the_root_are_followed_only_when_told_to() {
    let outside = |site: &Site| {
        std::os::unix::fs::symlink("../secret.txt", site.root().join("link.txt")).unwrap();
    };
    let site = Site::new(|_| {});
    outside(&site);
    assert_eq!(site.get("/link.txt").await.0, 418);
    let site = Site::new(|config| config.symbolic_links = SymbolicLinks::Anywhere);
    outside(&site);
    assert_eq!(site.get("/link.txt").await, (200, "secret".to_owned()));
    assert_eq!(site.get("/../secret.txt").await.0, 418);
    assert_eq!(site.get("/nothing").await.0, 418);
}

#[tokio::test]
async fn a_bad_pattern_or_a_missing_directory_is_refused_at_start() {
    let base = directory();
    let root = base.path().join("web");
    for (pattern, named) in [("nowhere/**", "nowhere"), ("../*", "../*"), ("a[", "a[")] {
        let mut config = StaticFilesConfig::new(&root);
        config.files = vec![pattern.to_owned()];
        let error = StaticFiles::new(config).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[tokio::test]
async fn the_section_of_the_specification_serves_an_application() {
    let site = Site::new(|config| {
        let options = serde_json::json!({
            "files": "ui/**",
            "after": "rest",
            "notFound": { "statusCode": 200, "file": "ui/index.html" },
            "fallthrough": false,
        });
        let ui = config.root.join("ui");
        fs::create_dir(&ui).unwrap();
        fs::write(ui.join("index.html"), "app").unwrap();
        fs::write(ui.join("main.css"), "css").unwrap();
        let section = StaticSection::from_json(&options, "shop").unwrap();
        *config = section.config(&config.root);
    });
    assert_eq!(site.get("/main.css").await, (200, "css".to_owned()));
    assert_eq!(site.get("/orders/new").await, (200, "app".to_owned()));
    assert_eq!(site.get("/").await, (200, "app".to_owned()));
    assert_eq!(site.get("/about.html").await, (200, "app".to_owned()));
}

async fn serve_alone(base: &tempfile::TempDir, method: Method, url: &str) -> Response {
    let files = file_server(base.path().join("web")).unwrap();
    let chain = Chain::new([("files", Stage::handler(files))]);
    let request = http::Request::builder().method(method).uri(url);
    chain
        .answer(request.body(Body::Empty).unwrap().into())
        .await
}

#[tokio::test]
async fn a_file_server_answers_everything() {
    let base = directory();
    fs::write(base.path().join("web/a:b"), "colon").unwrap();
    let cases = [
        ("/", 200),
        ("/docs/", 200),
        ("/about.html", 200),
        ("/.env", 200),
        ("/docs/a%20b.txt", 200),
        ("/nothing", 404),
        ("/empty/", 404),
        ("/empty", 404),
        ("/about.html/x", 404),
        ("/../x", 400),
        ("/%2e%2e/x", 400),
        ("/a%5cb", 400),
        ("/c:/x", 400),
        ("/a:b", 400),
        ("/a%3ab", 400),
        ("/docs%2fa%20b.txt", 400),
        ("/%00", 400),
        ("/.", 400),
        ("/%zz", 400),
        ("/%c0%ae%c0%ae/x", 400),
        ("//evil.example/..%2f", 400),
        ("/docs/..", 400),
    ];
    for (url, status) in cases {
        assert_eq!(
            serve_alone(&base, Method::GET, url).await.status(),
            status,
            "{url}"
        );
    }
    let moved = [
        ("/docs?x=1", "/docs/?x=1"),
        ("/docs/index.html?x", "/docs/?x"),
        ("/index.html", "/"),
        ("//docs/index.html", "/docs/"),
        ("/about.html/", "/about.html"),
        ("/about.html//?x=1", "/about.html?x=1"),
    ];
    for (url, location) in moved {
        let response = serve_alone(&base, Method::GET, url).await;
        assert_eq!(
            (response.status().as_u16(), header(&response, "location")),
            (301, Some(location)),
            "{url}"
        );
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let response = serve_alone(&base, method, "/about.html").await;
        assert_eq!(
            (response.status().as_u16(), header(&response, "allow")),
            (405, Some("GET, HEAD"))
        );
    }
}
