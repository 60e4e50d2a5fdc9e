//! Sockets that are listened on, and what happens to a new connection before a shard gets it.

use super::{NewClient, Shared};
use crate::config::Config;
use crate::journal;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrAny, SocketFlags, SocketType, accept_with, bind, getpeername, getsockname, ipproto,
    listen, send, socket_with, sockopt,
};
use shards::ids::ConnId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Connections accepted before other work gets its turn, as in Redis.
const ACCEPTS_PER_PASS: usize = 1000;

const DENIED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the \
default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to \
Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' \
from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly \
accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the \
protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. \
3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Set up an authentication \
password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections \
from the outside.\r\n";

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

pub struct Listener {
    pub fd: OwnedFd,
    /// "tcp" or "unix", as the ready line says.
    pub kind: &'static str,
    path: Option<PathBuf>,
}

/// Settings that concern new connections.
pub struct Admission {
    pub maxclients: usize,
    protected: bool,
    keepalive_s: u64,
}

impl Admission {
    pub fn of(config: &Config) -> Admission {
        Admission {
            maxclients: config.number("maxclients"),
            protected: config.flag("protected-mode") && config.text("requirepass").is_empty(),
            keepalive_s: config.number("tcp-keepalive"),
        }
    }
}

/// Binds everything; nothing is accepted before `start`.
pub fn bind_all(config: &Config) -> Result<Vec<Listener>, String> {
    let mut listeners = Vec::new();
    if config.port() > 0 {
        for (address, is_optional) in config.bind() {
            match bind_tcp(address, config.port()) {
                Ok(fd) => listeners.push(Listener { fd, kind: "tcp", path: None }),
                Err(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT) if is_optional => {}
                Err(error) => {
                    let error = std::io::Error::from(error);
                    journal::warning(&format!(
                        "Warning: Could not create server TCP listening socket {address}:{}: bind: {error}",
                        config.port()
                    ));
                    return Err(format!("Failed listening on port {} (TCP), aborting.", config.port()));
                }
            }
        }
    }
    let path = config.text("unixsocket");
    if !path.is_empty() {
        let permissions = u32::from_str_radix(config.text("unixsocketperm"), 8).unwrap_or(0);
        let fd =
            bind_unix(path, permissions).map_err(|error| format!("Failed opening Unix socket {path}: {error}, aborting."))?;
        listeners.push(Listener { fd, kind: "unix", path: Some(path.into()) });
    }
    if listeners.is_empty() {
        return Err("Configured to not listen anywhere, exiting.".into());
    }
    Ok(listeners)
}

fn bind_tcp(address: &str, port: u16) -> Result<OwnedFd, Errno> {
    let ip: IpAddr = match address {
        "*" => Ipv4Addr::UNSPECIFIED.into(),
        "::*" => Ipv6Addr::UNSPECIFIED.into(),
        text => match text.parse() {
            Ok(ip) => ip,
            Err(_) => resolve(text).ok_or(Errno::ADDRNOTAVAIL)?,
        },
    };
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    bind(&fd, &SocketAddr::new(ip, port))?;
    Ok(fd)
}

fn resolve(name: &str) -> Option<IpAddr> {
    use std::net::ToSocketAddrs;
    (name, 0).to_socket_addrs().ok()?.next().map(|address| address.ip())
}

fn bind_unix(path: &str, permissions: u32) -> std::io::Result<OwnedFd> {
    // What an earlier server left would refuse the name.
    _ = std::fs::remove_file(path);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&fd, &rustix::net::SocketAddrUnix::new(Path::new(path))?)?;
    if permissions > 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(permissions))?;
    }
    Ok(fd)
}

impl Listener {
    pub fn start(&self, backlog: i32) -> std::io::Result<()> {
        Ok(listen(&self.fd, backlog)?)
    }

    /// The socket's file, which the server removes at its end.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Accepts what waits; false when more may be waiting.
    pub fn accept(
        &self,
        shared: &Shared,
        admission: &Admission,
        rejected: &mut u64,
        mut take: impl FnMut(usize, NewClient),
    ) -> bool {
        for _ in 0..ACCEPTS_PER_PASS {
            match accept_with(&self.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(fd) => {
                    if let Some((shard, client)) = self.admit(fd, shared, admission, rejected) {
                        take(shard, client);
                    }
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return true,
                Err(error) => {
                    journal::warning(&format!("Accepting client connection: {}", std::io::Error::from(error)));
                    return true;
                }
            }
        }
        false
    }

    fn admit(&self, fd: OwnedFd, shared: &Shared, admission: &Admission, rejected: &mut u64) -> Option<(usize, NewClient)> {
        let (peer, local, is_local) = self.addresses(&fd)?;
        let refusal = match () {
            () if shared.client_count() >= admission.maxclients => TOO_MANY,
            () if admission.protected && !is_local => DENIED,
            () => b"",
        };
        if !refusal.is_empty() {
            *rejected += 1;
            // The peer may not read it: nobody waits.
            _ = send(&fd, refusal, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            return None;
        }
        if self.kind == "tcp" {
            // A connection without these works too.
            _ = sockopt::set_tcp_nodelay(&fd, true);
            _ = set_keepalive(&fd, admission.keepalive_s);
        }
        let counts = shared.clients.iter().map(|count| count.load(Ordering::Relaxed));
        let (shard, _) = counts.enumerate().min_by_key(|(_, count)| *count)?;
        shared.clients[shard].fetch_add(1, Ordering::Relaxed);
        let id = ConnId(shared.next_conn.fetch_add(1, Ordering::Relaxed));
        Some((shard, NewClient { fd, id, peer, local, is_local }))
    }

    fn addresses(&self, fd: &OwnedFd) -> Option<(String, String, bool)> {
        if let Some(path) = &self.path {
            let name = format!("{}:0", path.display());
            return Some((name.clone(), name, true));
        }
        let peer = socket_address(getpeername(fd).ok()??)?;
        let local = socket_address(getsockname(fd).ok()?)?;
        Some((peer.to_string(), local.to_string(), peer.ip().is_loopback()))
    }
}

fn socket_address(address: SocketAddrAny) -> Option<SocketAddr> {
    SocketAddr::try_from(address).ok()
}

/// As Redis: the first probe after `seconds`, then three at a third of that.
fn set_keepalive(fd: &OwnedFd, seconds: u64) -> Result<(), Errno> {
    if seconds == 0 {
        return Ok(());
    }
    sockopt::set_socket_keepalive(fd, true)?;
    sockopt::set_tcp_keepidle(fd, Duration::from_secs(seconds))?;
    sockopt::set_tcp_keepintvl(fd, Duration::from_secs((seconds / 3).max(1)))?;
    sockopt::set_tcp_keepcnt(fd, 3)
}
