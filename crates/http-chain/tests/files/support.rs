//! A directory with a site in it, and a chain that serves it.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use http::{Method, StatusCode};
use http_chain::files::{StaticFiles, StaticFilesConfig};
use http_chain::{Body, Chain, Request, Response, Stage};
use tempfile::TempDir;

/// When `docs/a b.txt` was changed.
pub(crate) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A directory with a site in it and a secret beside it.
pub(crate) fn directory() -> TempDir {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("web");
    for (path, text) in [
        ("index.html", "home"),
        ("docs/index.html", "docs"),
        ("docs/a b.txt", "0123456789"),
        ("about.html", "about"),
        ("empty/readme.md", "# readme"),
        (".env", "hidden"),
        ("docs/.git/config", "hidden"),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::write(base.path().join("secret.txt"), "secret").unwrap();
    let file = fs::File::options()
        .write(true)
        .open(root.join("docs/a b.txt"))
        .unwrap();
    let modified = std::time::UNIX_EPOCH + std::time::Duration::from_millis(784_111_777_250);
    file.set_modified(modified).unwrap();
    base
}

/// The files behind a chain; what they hand back is a 418.
pub(crate) struct Site {
    pub(crate) base: TempDir,
    pub(crate) chain: Chain,
}

impl Site {
    pub(crate) fn new(change: impl FnOnce(&mut StaticFilesConfig)) -> Self {
        let base = directory();
        let mut config = StaticFilesConfig::new(base.path().join("web"));
        change(&mut config);
        let behind = Stage::handler(|_: Request| async {
            ControlFlow::Break(Response::from((StatusCode::IM_A_TEAPOT, "behind")))
        });
        let files = StaticFiles::new(config).unwrap();
        Self {
            base,
            chain: Chain::new([("static", Stage::handler(files)), ("behind", behind)]),
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.base.path().join("web")
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Response {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.chain
            .answer(request.body(Body::Empty).unwrap().into())
            .await
    }

    pub(crate) async fn get(&self, url: &str) -> (u16, String) {
        text(self.ask(Method::GET, url, &[]).await).await
    }
}

pub(crate) async fn text(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect(10_000_000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

pub(crate) fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}
