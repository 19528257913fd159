//! Listeners: bound here, or taken from systemd (socket activation), matched by port.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use listenfd::ListenFd;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::config::{LimitsConfig, ListenConfig};

/// Connections that the kernel keeps while all places are taken.
const BACKLOG: i32 = 4096;

/// A peer that is silent for so long is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    /// The socket, not blocking.
    pub socket: TcpListener,
    /// HTTPS.
    pub tls: bool,
    /// Connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Its clients show a certificate of an authority in this file.
    pub client_ca: Option<PathBuf>,
}

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The kernel refuses the address.
    #[error("cannot listen on {address} ({error}){}", hint(.error, .address))]
    Bind {
        /// From `[[listen]]`.
        address: SocketAddr,
        /// The cause.
        error: io::Error,
    },
    /// systemd passed a socket that no `[[listen]]` section speaks of.
    #[error("systemd passed a socket on {0}, but no [[listen]] section has port {port}; add one or correct ListenStream=", port = .0.port())]
    Unasked(SocketAddr),
    /// systemd passed something else than a TCP socket.
    #[error("what systemd passed is no TCP socket ({0})")]
    Passed(io::Error),
}

fn hint(error: &io::Error, address: &SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program listens there: stop it, or choose another port in [[listen]]"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "; ports below 1024 need socket activation or CAP_NET_BIND_SERVICE (see systemd/)"
                .to_owned()
        }
        _ => String::new(),
    }
}

/// Binds all addresses, or takes those that systemd bound.
///
/// # Errors
/// With the first address that cannot be had.
pub fn bind(wanted: &[ListenConfig], limits: &LimitsConfig) -> Result<Vec<Listener>, ListenError> {
    let mut passed = passed()?;
    let mut listeners = Vec::new();
    for listen in wanted {
        let at = passed
            .iter()
            .position(|(_, address)| address.port() == listen.address.port());
        let socket = match at {
            Some(at) => passed.swap_remove(at).0,
            None => bind_one(listen.address).map_err(|error| ListenError::Bind {
                address: listen.address,
                error,
            })?,
        };
        tune(&socket, limits).map_err(|error| ListenError::Bind {
            address: listen.address,
            error,
        })?;
        listeners.push(Listener {
            socket,
            tls: listen.tls,
            proxy_protocol: listen.proxy_protocol,
            client_ca: listen.client_ca.clone(),
        });
    }
    match passed.first() {
        Some((_, address)) => Err(ListenError::Unasked(*address)),
        None => Ok(listeners),
    }
}

fn passed() -> Result<Vec<(TcpListener, SocketAddr)>, ListenError> {
    let mut fds = ListenFd::from_env();
    let mut passed = Vec::new();
    for at in 0..fds.len() {
        if let Some(socket) = fds.take_tcp_listener(at).map_err(ListenError::Passed)? {
            let address = socket.local_addr().map_err(ListenError::Passed)?;
            passed.push((socket, address));
        }
    }
    Ok(passed)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if let SocketAddr::V6(v6) = address {
        // `[::]` is for everybody, whatever the system's default.
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Bytes that wait in the kernel before a connection takes no more; it takes again when half of them have left. So a
/// reader is seen to live while it takes half of them in `dead_peer`, and what is left at the end of an image leaves soon.
const UNSENT: u32 = 16 * 1024;

/// What accepted sockets inherit (Linux): no delay, and little that is unsent.
///
/// `TCP_USER_TIMEOUT` is not for us: it counts from the first moment that the peer's window was shut, and goes on counting
/// while the window opens by less than what is queued first. A live reader of 1 KB a second was ended by it.
fn tune(socket: &TcpListener, limits: &LimitsConfig) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE.min(limits.dead_peer))
            .with_interval(Duration::from_secs(15)),
    )?;
    socket.set_tcp_notsent_lowat(UNSENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_socket_has_what_its_listener_has() {
        let socket = bind_one("127.0.0.1:0".parse().unwrap()).unwrap();
        tune(&socket, &LimitsConfig::default()).unwrap();
        let _client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        let mut accepted = socket.accept();
        while accepted.is_err() {
            accepted = socket.accept();
        }
        let (stream, _) = accepted.unwrap();
        let stream = SockRef::from(&stream);
        assert_eq!(stream.tcp_notsent_lowat().unwrap(), UNSENT);
        assert!(stream.tcp_nodelay().unwrap());
        assert_eq!(stream.tcp_keepalive_time().unwrap(), KEEPALIVE);
    }
}
