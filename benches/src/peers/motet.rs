//! Motet itself: the release binary on an application made for the measurement.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{Certificate, Process, build_directory, scratch, start};
use crate::cpu::Layout;
use crate::load::{Net, run_operations};
use crate::scripts::{HttpLoad, Pace};
use crate::wire;

const SCHEMA: &str = "\
type Item @table @export {
  id: ID @primaryKey
  name: String
  category: Int @indexed
  price: Float
  description: String
}
type Message @table @export {
  id: ID @primaryKey
}
type Feed @table @export {
  id: ID @primaryKey
}
";
const MANIFEST: &str = "\
rest: true
graphqlSchema:
  files: '*.graphql'
";
const WEB: &str = "\
static:
  files: 'web/**'
";

/// What differs between the cases.
#[derive(Debug, Default, Clone)]
pub struct Settings {
    /// A root directory that is kept; a new one otherwise.
    pub root: Option<PathBuf>,
    /// Serve files as well, which are looked for before records are.
    pub web: bool,
    /// Worker threads; one when 0.
    pub workers: usize,
    /// In front of the binary, for example `valgrind`.
    pub wrapper: Vec<String>,
    /// Further settings of the command line.
    pub more: Vec<String>,
}

/// A running server.
pub struct Motet {
    process: Process,
    /// Application port, plain.
    pub http: SocketAddr,
    /// Application port, TLS and HTTP/2, when it was started with a certificate.
    pub https: Option<SocketAddr>,
    /// MQTT over TCP.
    pub mqtt: SocketAddr,
    /// Operations API.
    pub operations: SocketAddr,
    /// From the start of the process to the first line that says it serves.
    pub start_time: Duration,
}

impl Settings {
    /// With static files.
    pub fn with_web() -> Self {
        Self {
            web: true,
            ..Self::default()
        }
    }
}

impl Motet {
    /// Starts it with one worker, loopback trusted and the log level of production.
    ///
    /// # Errors
    ///
    /// If it is not built or does not start.
    pub fn start(
        layout: &Layout,
        certificate: Option<&Certificate>,
        settings: &Settings,
    ) -> Result<Self> {
        let directory = scratch()?;
        let application = directory.path().join("application");
        write_application(&application, settings.web)?;
        let root = settings
            .root
            .clone()
            .unwrap_or_else(|| directory.path().join("root"));
        let mut command = command(settings)?;
        command.arg("run").arg(&application);
        let workers = settings.workers.max(1);
        command.arg(format!("--THREADS_COUNT={workers}"));
        command.args([
            "--HTTP_PORT=127.0.0.1:0",
            "--OPERATIONSAPI_NETWORK_PORT=127.0.0.1:0",
            "--MQTT_NETWORK_PORT=127.0.0.1:0",
            "--MQTT_NETWORK_SECUREPORT=null",
            "--AUTHENTICATION_AUTHORIZELOCAL=true",
            "--HTTP_HTTP2=true",
            "--LOGGING_LEVEL=warn",
        ]);
        if let Some(certificate) = certificate {
            command.arg("--HTTP_SECUREPORT=127.0.0.1:0");
            command.arg(format!(
                "--TLS_CERTIFICATE={}",
                certificate.certificate().display()
            ));
            command.arg(format!("--TLS_PRIVATEKEY={}", certificate.key().display()));
        }
        command.args(&settings.more);
        command.env("ROOTPATH", &root).env("HOME", &root);
        Self::run(layout, &mut command, directory, certificate.is_some())
            .context("motet did not start (its log is in its root directory)")
    }

    fn run(
        layout: &Layout,
        command: &mut Command,
        directory: TempDir,
        secure: bool,
    ) -> Result<Self> {
        let begin = Instant::now();
        let (process, mut lines) = start(layout, command, Some(directory))?;
        let mut start_time = Duration::ZERO;
        let mut addresses = [None; 4];
        let labels = [
            "http.port: ",
            "http.securePort: ",
            "mqtt.network.port: ",
            "operationsApi.network.port: ",
        ];
        let wanted = if secure { 4 } else { 3 };
        while addresses.iter().flatten().count() < wanted {
            let line = lines.next().context("it ended")??;
            if line.contains("successfully started") {
                start_time = begin.elapsed();
            }
            for (label, address) in labels.iter().zip(&mut addresses) {
                if let Some(text) = line.trim().strip_prefix(label) {
                    *address = Some(text.parse().with_context(|| line.clone())?);
                }
            }
        }
        let [http, https, mqtt, operations] = addresses;
        // The rest of what it prints is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self {
            process,
            http: http.context("no http.port")?,
            https,
            mqtt: mqtt.context("no mqtt.network.port")?,
            operations: operations.context("no operationsApi.network.port")?,
            start_time,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }

    /// Inserts the items with numbers from `from` to `to` by the Operations API, 1000 at a time.
    ///
    /// # Errors
    ///
    /// If it refuses.
    pub fn load_items(&self, from: u64, to: u64, mut progress: impl FnMut(u64)) -> Result<()> {
        const BATCH: u64 = 1000;
        let mut next = from;
        while next < to {
            // One connection with one request at a time leaves the text of a batch in memory alone.
            let end = (next + BATCH).min(to);
            let records: Vec<String> = (next..end).map(item).collect();
            let body = format!(
                r#"{{"operation":"upsert","table":"Item","records":[{}]}}"#,
                records.join(",")
            );
            let request = wire::http::request("POST", "/", &[], Some(&body));
            let mut net = Net::new()?;
            let mut load =
                HttpLoad::open(&mut net, self.operations, 1, vec![request], Pace::Closed(1))?;
            run_operations(&mut net, &mut load, 1, true)?;
            next = end;
            progress(next);
        }
        Ok(())
    }
}

fn command(settings: &Settings) -> Result<Command> {
    let binary = build_directory()?.join("motet");
    ensure!(
        binary.is_file(),
        "motet is not built: `cargo xtask bench` does it"
    );
    let Some((program, arguments)) = settings.wrapper.split_first() else {
        return Ok(Command::new(binary));
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(binary);
    Ok(command)
}

fn write_application(directory: &Path, web: bool) -> Result<()> {
    std::fs::create_dir_all(directory.join("web"))?;
    std::fs::write(directory.join("schema.graphql"), SCHEMA)?;
    let web = if web { WEB } else { "" };
    std::fs::write(directory.join("config.yaml"), format!("{MANIFEST}{web}"))?;
    std::fs::write(directory.join("web/hello.json"), r#"{"message":"hello"}"#)?;
    std::fs::write(directory.join("web/record.json"), item(0))?;
    Ok(())
}

/// One record of about 200 bytes as JSON; 20 records share a category.
pub(crate) fn item(number: u64) -> String {
    format!(
        r#"{{"id":"{number}","name":"Item number {number}","category":{},"price":{}.5,"description":"A plain thing that stands in a table with many others of its kind, with words to fill two hundred bytes or so."}}"#,
        number / 20,
        number % 1000,
    )
}
