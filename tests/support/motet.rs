//! The server as a process of its own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::wait::{LIMIT, pause};

/// How a server is started.
pub struct Builder {
    command: &'static str,
    application: Option<PathBuf>,
    root: Option<PathBuf>,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            command: "dev",
            application: None,
            root: None,
            settings: Vec::new(),
            environment: Vec::new(),
        }
    }
}

impl Builder {
    /// `motet dev`, which trusts loopback.
    pub fn new() -> Self {
        Self::default()
    }

    /// `motet run`, which trusts nobody.
    #[must_use]
    pub fn trusting_nobody(mut self) -> Self {
        self.command = "run";
        self
    }

    /// An application made of this schema and `rest: true`.
    #[must_use]
    pub fn schema(self, directory: &TempDir, schema: &str) -> Self {
        std::fs::write(directory.path().join("schema.graphql"), schema)
            .expect("the schema is written");
        let manifest = "rest: true\ngraphqlSchema:\n  files: '*.graphql'\n";
        std::fs::write(directory.path().join("config.yaml"), manifest)
            .expect("the manifest is written");
        self.application(directory.path())
    }

    /// An application directory.
    #[must_use]
    pub fn application(mut self, directory: &Path) -> Self {
        self.application = Some(directory.to_owned());
        self
    }

    /// A root directory that outlives the process; a new one by default.
    #[must_use]
    pub fn root(mut self, root: &Path) -> Self {
        self.root = Some(root.to_owned());
        self
    }

    /// One setting by its name on the command line.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One variable of the environment, which is empty otherwise.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command line, with every port at 0 and two workers unless set otherwise.
    fn command(&self, root: &Path) -> Command {
        let mut command = Command::new(binary());
        command.arg(self.command).args(self.application.iter());
        let defaults = [
            ("HTTP_PORT", "127.0.0.1:0"),
            ("OPERATIONSAPI_NETWORK_PORT", "127.0.0.1:0"),
            ("MQTT_NETWORK_PORT", "127.0.0.1:0"),
            ("MQTT_NETWORK_SECUREPORT", "127.0.0.1:0"),
            ("THREADS_COUNT", "2"),
            ("STORAGE_MAPSIZE", "4G"),
        ];
        let given = |name: &str| self.settings.iter().any(|(set, _)| set == name);
        let kept = defaults.into_iter().filter(|(name, _)| !given(name));
        let kept = kept.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (name, value) in kept.chain(self.settings.iter().cloned()) {
            command.arg(format!("--{name}={value}"));
        }
        command
            .env_clear()
            .env("ROOTPATH", root)
            .env("HOME", root)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// If it ends or says nothing within the time limit.
    pub fn start(self) -> Motet {
        let temporary = TempDir::new().expect("a temporary directory");
        let root = self
            .root
            .clone()
            .unwrap_or_else(|| temporary.path().to_owned());
        let mut command = self.command(&root);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("motet starts");
        let (send, lines) = mpsc::channel();
        forward_lines(child.stdout.take().expect("stdout is piped"), send.clone());
        forward_lines(child.stderr.take().expect("stderr is piped"), send);
        let mut motet = Motet {
            child,
            root,
            addresses: BTreeMap::new(),
            output: Vec::new(),
            lines,
            _temporary: temporary,
        };
        motet.wait_until_started();
        motet
    }

    /// Runs a server that is expected to refuse to start.
    pub fn fail(self) -> Failure {
        let temporary = TempDir::new().expect("a temporary directory");
        let root = self
            .root
            .clone()
            .unwrap_or_else(|| temporary.path().to_owned());
        let child = self
            .command(&root)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("motet runs");
        let start = Instant::now();
        while child
            .try_wait()
            .expect("the process can be awaited")
            .is_none()
        {
            if start.elapsed() > LIMIT {
                child.kill().expect("the process can be killed");
                panic!("motet started, although it should refuse to");
            }
            pause();
        }
        let output = child.wait_with_output().expect("motet runs");
        Failure {
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A start that failed.
#[derive(Debug)]
pub struct Failure {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said.
    pub stderr: String,
}

/// A running server. Dropping it kills the process.
pub struct Motet {
    child: Child,
    root: PathBuf,
    addresses: BTreeMap<String, SocketAddr>,
    output: Vec<String>,
    lines: mpsc::Receiver<String>,
    _temporary: TempDir,
}

impl Motet {
    /// The address behind a setting, for example `http.port`.
    ///
    /// # Panics
    ///
    /// If the server does not listen there.
    pub fn address(&self, setting: &str) -> SocketAddr {
        *self
            .addresses
            .get(setting)
            .unwrap_or_else(|| panic!("{setting} is not among {:?}", self.addresses))
    }

    /// `http://127.0.0.1:PORT` of the application port, followed by `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address("http.port"))
    }

    /// URL of the Operations API.
    pub fn operations_url(&self) -> String {
        format!("http://{}/", self.address("operationsApi.network.port"))
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed so far, on both streams.
    pub fn output(&mut self) -> String {
        self.output.extend(self.lines.try_iter());
        self.output.join("\n")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be awaited");
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Panics
    ///
    /// If it does not end within the time limit.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.stop_after_signal()
    }

    /// Waits for the end.
    ///
    /// # Panics
    ///
    /// If it does not end within the time limit.
    pub fn stop_after_signal(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process can be awaited") {
                return status;
            }
            assert!(start.elapsed() < LIMIT, "motet does not stop");
            pause();
        }
    }

    fn wait_until_started(&mut self) {
        let start = Instant::now();
        let mut started = false;
        // The summary ends with the last listener; a silent moment after it means it is complete.
        loop {
            let wait = if started && !self.addresses.is_empty() {
                Duration::from_millis(200)
            } else {
                LIMIT
            };
            match self.lines.recv_timeout(wait) {
                Ok(line) => {
                    started |= line.contains("successfully started");
                    if let Some((setting, address)) = line.trim().split_once(": ")
                        && let Ok(address) = address.parse()
                    {
                        self.addresses.insert(setting.to_owned(), address);
                    }
                    self.output.push(line);
                }
                Err(mpsc::RecvTimeoutError::Timeout) if started => return,
                Err(_) => panic!("motet did not start: {:?}", self.output),
            }
            assert!(
                start.elapsed() < LIMIT,
                "motet did not start: {:?}",
                self.output
            );
        }
    }
}

impl Drop for Motet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward_lines(output: impl std::io::Read + Send + 'static, send: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
}

/// The binary of this build, which `cargo xtask test` makes first; made here when a test is run alone.
pub fn binary() -> PathBuf {
    static BUILD: std::sync::Once = std::sync::Once::new();
    let tests = std::env::current_exe().expect("a test knows its own path");
    let profile = tests
        .parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/deps/test");
    BUILD.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "server", "--bin", "motet"]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(
            cargo
                .current_dir(workspace())
                .status()
                .expect("cargo runs")
                .success(),
            "motet does not build"
        );
    });
    profile.join("motet")
}

/// The top of the repository.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests is in the workspace")
        .to_owned()
}
