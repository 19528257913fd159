//! Who asks, as far as it is known.

use std::fmt;
use std::net::IpAddr;

/// Who asks.
///
/// Behind a proxy the connection's own address says nothing of the client: an address is here only when it is the
/// client's. So nobody is taken for this machine because the proxy runs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// The client's own address; never an IPv4 address in the clothes of IPv6.
    At(IpAddr),
    /// A trusted proxy stands before it and does not say who it is.
    Unknown,
}

impl Client {
    /// It is a program on this machine.
    #[must_use]
    pub const fn is_this_machine(self) -> bool {
        match self {
            Self::At(address) => address.is_loopback(),
            Self::Unknown => false,
        }
    }
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        Self::At(address.to_canonical())
    }
}

/// How the client sent its request, before any proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Nobody on the way could read it.
    Https,
    /// Anybody on the way could.
    Http,
    /// A trusted proxy stands before it and does not say.
    Unknown,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Unknown => "unknown",
        })
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Who connected: the client, or a proxy that may name it in each request.
    Direct(IpAddr),
    /// Whom a proxy named with the connection.
    Named(Client),
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self::Direct(address.to_canonical())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(address) => address.fmt(f),
            Self::Named(client) => client.fmt(f),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_loopback_address_is_this_machine() {
        for (address, is_it) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("192.0.2.7", false),
            ("2001:db8::7", false),
        ] {
            let client = Client::from(address.parse::<IpAddr>().unwrap());
            assert_eq!(client.is_this_machine(), is_it, "{address}");
        }
        assert!(!Client::Unknown.is_this_machine());
    }
}
