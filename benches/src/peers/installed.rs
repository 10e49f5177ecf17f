//! Servers from elsewhere, when they are installed, each set for speed and for one worker.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::{Certificate, Process, free_port, scratch, wait_for};
use crate::cpu::Layout;

/// Where programs of servers lie besides the directories of `PATH`.
const PLACES: [&str; 5] = [
    "/usr/sbin",
    "/usr/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
];

fn installed(program: &str) -> Option<PathBuf> {
    let own = super::build_directory()
        .ok()
        .map(|directory| directory.join("motet-bench-tools/bin"));
    own.iter()
        .map(PathBuf::as_path)
        .chain(PLACES.iter().map(Path::new))
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

fn spawn(
    layout: &Layout,
    command: &mut Command,
    directory: tempfile::TempDir,
    address: SocketAddr,
) -> Result<Process> {
    let child = layout.on_server_cores(1, || {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))
    })?;
    let mut process = Process {
        child,
        _directory: Some(directory),
    };
    wait_for(address, &mut process)?;
    Ok(process)
}

/// nginx with one worker process, keep-alive without end and cached open files.
pub struct Nginx {
    process: Process,
    /// Plain HTTP/1.1.
    pub http: SocketAddr,
    /// TLS with HTTP/2.
    pub https: SocketAddr,
}

impl Nginx {
    /// Starts it, or nothing if it is not installed. `/hello.json` is a constant, `/record.json` a file.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(layout: &Layout, record: &str, certificate: &Certificate) -> Result<Option<Self>> {
        let Some(program) = installed("nginx") else {
            return Ok(None);
        };
        let directory = scratch()?;
        let (http, https) = (local(free_port()?), local(free_port()?));
        let path = directory.path().display();
        std::fs::create_dir(directory.path().join("web"))?;
        std::fs::write(directory.path().join("web/record.json"), record)?;
        let configuration = format!(
            "daemon off;\nworker_processes 1;\nuser root;\npid {path}/pid;\nerror_log {path}/error.log;\n\
             events {{ worker_connections 16384; multi_accept on; }}\n\
             http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  tcp_nodelay on;\n\
             keepalive_requests 1000000000;\n  keepalive_timeout 600;\n  open_file_cache max=1000;\n\
             open_file_cache_valid 600;\n  default_type application/json;\n\
             client_body_temp_path {path}/body;\n  proxy_temp_path {path}/proxy;\n\
             fastcgi_temp_path {path}/fastcgi;\n  uwsgi_temp_path {path}/uwsgi;\n  scgi_temp_path {path}/scgi;\n\
             ssl_certificate {};\n  ssl_certificate_key {};\n  ssl_session_cache shared:tls:10m;\n\
             ssl_protocols TLSv1.2 TLSv1.3;\n\
             server {{\n    listen {http};\n    listen {https} ssl http2;\n    root {path}/web;\n\
             location = /hello.json {{ return 200 '{{\"message\":\"hello\"}}'; }}\n  }}\n}}\n",
            certificate.certificate().display(),
            certificate.key().display(),
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, configuration)?;
        let process = spawn(
            layout,
            Command::new(program).arg("-c").arg(file),
            directory,
            http,
        )?;
        Ok(Some(Self {
            process,
            http,
            https,
        }))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// mosquitto without persistence and without limits to its queues.
pub struct Mosquitto {
    process: Process,
    /// MQTT over TCP.
    pub address: SocketAddr,
}

impl Mosquitto {
    /// Starts it, or nothing if it is not installed.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(layout: &Layout) -> Result<Option<Self>> {
        let Some(program) = installed("mosquitto") else {
            return Ok(None);
        };
        let directory = scratch()?;
        let address = local(free_port()?);
        let configuration = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
             max_queued_messages 0\nmax_inflight_messages 0\nlog_type error\nuser root\n",
            address.port()
        );
        let file = directory.path().join("mosquitto.conf");
        std::fs::write(&file, configuration)?;
        let process = spawn(
            layout,
            Command::new(program).arg("-c").arg(file),
            directory,
            address,
        )?;
        Ok(Some(Self { process, address }))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// rumqttd, which `cargo xtask bench --setup` builds.
pub struct Rumqttd {
    process: Process,
    /// MQTT over TCP.
    pub address: SocketAddr,
}

impl Rumqttd {
    /// Starts it, or nothing if it is not installed.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(layout: &Layout) -> Result<Option<Self>> {
        let Some(program) = installed("rumqttd") else {
            return Ok(None);
        };
        let directory = scratch()?;
        let address = local(free_port()?);
        let configuration = format!(
            "id = 0\n\n[router]\nid = 0\nmax_connections = 10010\nmax_outgoing_packet_count = 200\n\
             max_segment_size = 104857600\nmax_segment_count = 10\n\n\
             [v4.1]\nname = \"v4-1\"\nlisten = \"{address}\"\nnext_connection_delay_ms = 1\n\
             [v4.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 20480\n\
             max_inflight_count = 100\ndynamic_filters = true\n"
        );
        let file = directory.path().join("rumqttd.toml");
        std::fs::write(&file, configuration)?;
        let process = spawn(
            layout,
            Command::new(program).arg("-c").arg(file),
            directory,
            address,
        )?;
        Ok(Some(Self { process, address }))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
