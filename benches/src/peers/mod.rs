//! The servers that are measured, each a process of its own on the server cores.

mod chain;
mod floor;
mod installed;
mod motet;
mod plain_hyper;

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

pub use installed::{Mosquitto, Nginx, Rumqttd};
pub(crate) use motet::item;
pub use motet::{Motet, Settings};

use crate::cpu::Layout;

/// Longest time a server may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running process. Dropping it ends it.
pub struct Process {
    child: Child,
    /// Files that live as long as it does.
    _directory: Option<TempDir>,
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    ///
    /// If it cannot be told or does not end in a minute.
    pub fn stop(mut self) -> Result<()> {
        Command::new("kill").arg(self.id().to_string()).status()?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > START_LIMIT {
                bail!("process {} does not stop", self.id());
            }
            pause(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Children that a parent has no time to end, such as the workers of nginx, would outlive it.
        let family = crate::cpu::family(self.id());
        let _ = self.child.kill();
        for child in &family[1..] {
            let _ = Command::new("kill")
                .args(["-KILL", &child.to_string()])
                .status();
        }
        let _ = self.child.wait();
    }
}

/// The servers of our own that do little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// hyper with one handler that answers a constant.
    Hyper,
    /// The listener and all stages of Motet with one handler that answers a constant.
    Chain,
    /// Writes a constant response for every read.
    FloorHttp,
    /// Copies every PUBLISH to all who subscribed, whatever they subscribed to.
    FloorMqtt,
    /// Returns the bytes it reads.
    FloorEcho,
}

impl Own {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Hyper, "hyper"),
        (Self::Chain, "chain"),
        (Self::FloorHttp, "floor-http"),
        (Self::FloorMqtt, "floor-mqtt"),
        (Self::FloorEcho, "floor-echo"),
    ];

    /// The server of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, own)| *own == name)
            .map(|(own, _)| *own)
    }

    fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(own, _)| *own == self);
        named.map_or("", |(_, name)| name)
    }

    /// Serves in this process until it is killed; prints the address first.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a socket.
    pub fn serve(self) -> Result<()> {
        match self {
            Self::Hyper => plain_hyper::serve(announced()?),
            Self::Chain => chain::serve(),
            Self::FloorHttp => floor::serve(announced()?, floor::Kind::Http),
            Self::FloorMqtt => floor::serve(announced()?, floor::Kind::Mqtt),
            Self::FloorEcho => floor::serve(announced()?, floor::Kind::Echo),
        }
    }

    /// Starts it as a process of this program.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(self, layout: &Layout) -> Result<(Process, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--serve", self.name()]);
        let (process, mut lines) = start(layout, &mut command, None)?;
        Ok((process, address_after(&mut lines, "listening: ")?))
    }
}

/// A listening socket whose address was printed.
fn announced() -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("listening: {}", listener.local_addr()?);
    Ok(listener)
}

/// Starts `echo`, the example of `proto-ws`: the listener, the pipeline and the WebSocket engine of Motet.
///
/// # Errors
///
/// If it is not built or does not start.
pub fn start_echo(layout: &Layout) -> Result<(Process, SocketAddr)> {
    let mut command = Command::new(build_directory()?.join("examples/echo"));
    command.arg("127.0.0.1:0");
    let (process, mut lines) = start(layout, &mut command, None)?;
    let line = lines.next().context("echo ended")??;
    let port = line
        .trim_end_matches('/')
        .rsplit(':')
        .next()
        .and_then(|port| port.parse::<u16>().ok())
        .with_context(|| format!("echo printed no address: {line}"))?;
    Ok((process, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

type Lines = std::io::Lines<BufReader<std::process::ChildStdout>>;

fn start(
    layout: &Layout,
    command: &mut Command,
    directory: Option<TempDir>,
) -> Result<(Process, Lines)> {
    let child = layout.on_server_cores(1, || {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))
    })?;
    let mut process = Process {
        child,
        _directory: directory,
    };
    let output = process.child.stdout.take().context("its output is piped")?;
    Ok((process, BufReader::new(output).lines()))
}

fn address_after(lines: &mut Lines, label: &str) -> Result<SocketAddr> {
    for line in lines {
        let line = line?;
        if let Some(address) = line.trim().strip_prefix(label) {
            return address
                .parse()
                .with_context(|| format!("{line}: not an address"));
        }
    }
    bail!("the server ended before it printed {label:?}")
}

/// Waits until something accepts connections there.
fn wait_for(address: SocketAddr, process: &mut Process) -> Result<()> {
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        if let Some(status) = process.child.try_wait()? {
            bail!("the server ended with {status}");
        }
        if start.elapsed() > START_LIMIT {
            bail!("nothing listens on {address}");
        }
        pause(Duration::from_millis(10));
    }
    Ok(())
}

/// Lets other programs run; nothing here can be awaited.
pub(crate) fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

/// A port that was free a moment ago, for servers that cannot be told to take any.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Where cargo has put this program, and beside it what it measures.
///
/// # Errors
///
/// If the operating system does not say.
pub fn build_directory() -> Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(path
        .parent()
        .context("a program lies in a directory")?
        .to_owned())
}

/// A new directory on the disk of the build, not in memory, so that a durable write is one.
///
/// # Errors
///
/// If it cannot be made.
pub fn scratch() -> Result<TempDir> {
    let parent = build_directory()?.join("motet-bench-data");
    std::fs::create_dir_all(&parent)?;
    Ok(TempDir::new_in(parent)?)
}

/// A certificate for localhost with an ECDSA P-256 key, the same for all servers of a run.
pub struct Certificate {
    directory: TempDir,
    der: Vec<u8>,
}

impl Certificate {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// If the files cannot be written.
    pub fn new() -> Result<Self> {
        let directory = scratch()?;
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        std::fs::write(directory.path().join("certificate.pem"), pair.cert.pem())?;
        std::fs::write(
            directory.path().join("key.pem"),
            pair.signing_key.serialize_pem(),
        )?;
        Ok(Self {
            directory,
            der: pair.cert.der().to_vec(),
        })
    }

    /// The certificate as PEM.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    /// Its key as PEM.
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    /// The certificate as DER, for clients that trust it.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}
