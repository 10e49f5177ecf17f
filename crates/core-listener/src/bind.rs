//! Opens listening sockets. All are opened by the thread that starts the server, before any worker runs,
//! so that a failure is the answer of `start` and not a line in a log.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::address::ListenAddress;
use crate::config::TcpConfig;
use crate::error::BindError;
use crate::listener::AnyPort;

/// The listening sockets of one TCP listener, one for each of `copies` workers.
pub(crate) struct TcpSockets {
    pub(crate) local: SocketAddr,
    pub(crate) sockets: Vec<TcpListener>,
}

/// Opens `copies` sockets on one port, of each address if `hosts` asks for all.
///
/// # Errors
///
/// [`BindError`] if the port is taken, also when its owner would share it: `SO_REUSEPORT` lets a second
/// process of the same user join silently, and each would then see a part of the connections. Not if
/// `config` asks to share.
pub(crate) fn bind_tcp(
    setting: &Arc<str>,
    address: &ListenAddress,
    config: &TcpConfig,
    copies: usize,
    any_port: Option<AnyPort>,
    hosts: Hosts,
) -> Result<Vec<TcpSockets>, BindError> {
    let bind = |address: SocketAddr| {
        bind_any_port(address, config, copies, any_port).map_err(|error| BindError {
            setting: setting.clone(),
            address: address.to_string(),
            error,
        })
    };
    match resolve(address) {
        Ok(Resolved::These(addresses)) => bind_each(&addresses, hosts, bind),
        Ok(Resolved::Wildcard(port)) => {
            let bound = bind((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| {
                // Any other failure may mean that this machine has no IPv6.
                match error.error.kind() {
                    io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                    _ => bind((Ipv4Addr::UNSPECIFIED, port).into()),
                }
            });
            Ok(vec![bound?])
        }
        Err(error) => Err(BindError {
            setting: setting.clone(),
            address: address.to_string(),
            error,
        }),
    }
}

/// How many addresses of a host are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hosts {
    First,
    All,
}

/// The first address, or all of them on the port that the first one got.
fn bind_each(
    addresses: &[SocketAddr],
    hosts: Hosts,
    bind: impl Fn(SocketAddr) -> Result<TcpSockets, BindError>,
) -> Result<Vec<TcpSockets>, BindError> {
    let wanted = match hosts {
        Hosts::First => &addresses[..addresses.len().min(1)],
        Hosts::All => addresses,
    };
    let mut bound: Vec<TcpSockets> = Vec::with_capacity(wanted.len());
    for address in wanted {
        let mut address = *address;
        if let Some(first) = bound.first() {
            address.set_port(first.local.port());
        }
        bound.push(bind(address)?);
    }
    Ok(bound)
}

pub(crate) enum Resolved {
    /// One or more.
    These(Vec<SocketAddr>),
    Wildcard(u16),
}

pub(crate) fn resolve(address: &ListenAddress) -> io::Result<Resolved> {
    match address {
        ListenAddress::Wildcard(port) => Ok(Resolved::Wildcard(*port)),
        ListenAddress::Tcp(address) => Ok(Resolved::These(vec![*address])),
        ListenAddress::Host(host, port) => {
            let mut addresses = Vec::new();
            for address in (host.as_str(), *port).to_socket_addrs()? {
                // Name services repeat themselves.
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            let none = || io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
            let some = (!addresses.is_empty()).then_some(addresses);
            some.map(Resolved::These).ok_or_else(none)
        }
        ListenAddress::Unix(_) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not an internet address",
        )),
    }
}

fn bind_any_port(
    mut address: SocketAddr,
    config: &TcpConfig,
    copies: usize,
    any_port: Option<AnyPort>,
) -> io::Result<TcpSockets> {
    if any_port == Some(AnyPort::Ephemeral) {
        address.set_port(0);
    }
    loop {
        let result = bind_copies(address, config, copies);
        let is_taken = result
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
        match address.port().checked_add(1) {
            Some(next) if is_taken && any_port == Some(AnyPort::FromRequested) => {
                address.set_port(next);
            }
            _ => return result,
        }
    }
}

fn bind_copies(
    mut address: SocketAddr,
    config: &TcpConfig,
    copies: usize,
) -> io::Result<TcpSockets> {
    if address.port() != 0 && !config.share_port {
        // Without `SO_REUSEPORT` this fails if anybody listens, whatever options they set.
        open_tcp(address, false, config.v6_only)?;
    }
    let mut sockets = Vec::with_capacity(copies);
    for _ in 0..copies {
        let shared = copies > 1 || config.share_port;
        let socket = open_tcp(address, shared, config.v6_only)?;
        // With port 0 the first socket chooses and the others follow.
        address = socket.local_addr()?.as_socket().unwrap_or(address);
        socket.listen(i32::try_from(config.backlog).unwrap_or(i32::MAX))?;
        sockets.push(socket.into());
    }
    Ok(TcpSockets {
        local: address,
        sockets,
    })
}

fn open_tcp(address: SocketAddr, shared: bool, v6_only: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() && (v6_only || address.ip() == Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Sets the options of an accepted TCP socket (`http-server.md` §1.2). A failure means that the peer is
/// gone already, which the first read will tell as well.
pub(crate) fn configure_accepted(stream: &tokio::net::TcpStream, config: &TcpConfig) {
    let socket = socket2::SockRef::from(stream);
    let nodelay = socket.set_tcp_nodelay(config.nodelay);
    let keepalive = config.keepalive.map_or(Ok(()), |idle| {
        socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(idle))
    });
    if let Err(error) = nodelay.and(keepalive) {
        tracing::debug!(%error, "cannot set the options of an accepted socket");
    }
}

/// Opens a Unix socket that only its owner can use, replacing one that nobody listens on any more.
pub(crate) fn bind_unix(
    setting: &Arc<str>,
    path: &Path,
    config: &TcpConfig,
) -> Result<(UnixListener, UnixSocketFile), BindError> {
    open_unix(path, config).map_err(|error| BindError {
        setting: setting.clone(),
        address: path.display().to_string(),
        error,
    })
}

fn open_unix(path: &Path, config: &TcpConfig) -> io::Result<(UnixListener, UnixSocketFile)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = UnixSocketFile::new(path)?;
    // Nobody can connect before `listen`, so there is no moment at which the mode is wider.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.listen(i32::try_from(config.backlog).unwrap_or(i32::MAX))?;
    Ok((socket.into(), file))
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the path exists and is no socket",
            ));
        }
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full backlog must not make us wait: that is a live server too.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Removes the file of a Unix socket when dropped, unless another process has put its own there.
#[derive(Debug)]
pub(crate) struct UnixSocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl UnixSocketFile {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
        })
    }

    /// Somebody else removes it.
    pub(crate) fn leave(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for UnixSocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}
