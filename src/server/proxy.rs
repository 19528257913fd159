//! Who the client is when a trusted proxy stands before us: PROXY protocol v2 on the connection (HAProxy's
//! `proxy-protocol.txt`, section 2.2), or X-Forwarded-For and X-Forwarded-Proto in the request.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hyper::header::{HeaderMap, HeaderName};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::http::{Client, Peer, Scheme};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Addresses and what may follow them; HAProxy sends at most 536.
const LONGEST: usize = 4096;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Why a PROXY header cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The first 12 bytes are others.
    #[error("it does not begin with a PROXY protocol v2 header")]
    NotThere,
    /// Another version than 2, or an unknown command.
    #[error("its PROXY header has version and command {0:#04x}")]
    Version(u8),
    /// Longer than anybody's.
    #[error("its PROXY header has {0} bytes")]
    TooLong(usize),
    /// Shorter than its addresses.
    #[error("its PROXY header has {0} bytes for its addresses, too few")]
    TooShort(usize),
}

/// Reads the header's fixed part; gives the length of what follows.
///
/// # Errors
/// When it is none of version 2.
pub fn parse_head(head: &[u8; 16]) -> Result<usize, ProxyError> {
    if head[..12] != SIGNATURE {
        return Err(ProxyError::NotThere);
    }
    if head[12] >> 4 != 2 || head[12] & 15 > 1 {
        return Err(ProxyError::Version(head[12]));
    }
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > LONGEST {
        Err(ProxyError::TooLong(length))
    } else {
        Ok(length)
    }
}

/// Reads the addresses; `rest` has the length that [`parse_head`] gave. Where the proxy speaks for itself (a health check)
/// or of something that is not TCP, the specification says to use the connection's own addresses. They are the proxy's,
/// and nothing shows that nobody stands behind it.
///
/// # Errors
/// When `rest` is shorter than its address family needs.
pub fn parse_addresses(head: &[u8; 16], rest: &[u8]) -> Result<Client, ProxyError> {
    let local = head[12] & 15 == 0;
    // Family in the high half, transport in the low one: TCP only.
    match (local, head[13]) {
        (false, 0x11) => {
            let address: [u8; 4] = first(rest, 12)?;
            Ok(IpAddr::from(address).into())
        }
        (false, 0x21) => {
            let address: [u8; 16] = first(rest, 36)?;
            Ok(IpAddr::from(address).into())
        }
        _ => Ok(Client::Unknown),
    }
}

fn first<const N: usize>(rest: &[u8], needed: usize) -> Result<[u8; N], ProxyError> {
    if rest.len() < needed {
        return Err(ProxyError::TooShort(rest.len()));
    }
    rest.first_chunk()
        .copied()
        .ok_or(ProxyError::TooShort(rest.len()))
}

/// Takes the header off a connection.
///
/// # Errors
/// When it cannot be read or is none.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Client> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let mut rest = vec![0; parse_head(&head).map_err(invalid)?];
    stream.read_exact(&mut rest).await?;
    parse_addresses(&head, &rest).map_err(invalid)
}

/// An address of a proxy whose word is taken.
#[must_use]
pub fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    trusted.iter().any(|net| net.contains(&peer))
}

/// An address of X-Forwarded-For; some proxies add the port.
fn address(text: &str) -> Option<Client> {
    let bare = || {
        text.strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
    };
    let address = text
        .parse()
        .or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()))
        .or_else(|error| bare().ok_or(error)?.parse().map(IpAddr::V6));
    address.ok().map(Client::from)
}

/// The client's address and how it sent the request, as the request's trusted proxy says: the last address in
/// X-Forwarded-For that is no trusted proxy itself. A client that the proxy does not name is unknown: not the proxy, and
/// certainly not this machine. `tls`: the connection has it.
#[must_use]
pub fn forwarded(
    headers: &HeaderMap,
    peer: Peer,
    tls: bool,
    trusted: &[IpNet],
) -> (Client, Scheme) {
    let is_proxy = |client| matches!(client, Client::At(address) if is_trusted(address, trusted));
    let (asks, unnamed) = match peer {
        Peer::Direct(address) => (Client::from(address), Client::Unknown),
        Peer::Named(client) => (client, client),
    };
    if !is_proxy(asks) {
        let scheme = match peer {
            _ if tls => Scheme::Https,
            Peer::Direct(_) => Scheme::Http,
            // The proxy may have taken the TLS off.
            Peer::Named(_) => Scheme::Unknown,
        };
        return (asks, scheme);
    }
    let mut client = unnamed;
    let lines: Vec<&str> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        // A line that is no text names nobody, and must not be passed over.
        .map(|line| line.to_str().unwrap_or("unknown"))
        .collect();
    for text in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        client = address(text.trim()).unwrap_or(Client::Unknown);
        if !is_proxy(client) {
            break;
        }
    }
    (client, scheme(headers))
}

/// What a trusted proxy says; several words that differ say nothing, since the first may be the client's own.
fn scheme(headers: &HeaderMap) -> Scheme {
    let mut words = headers
        .get_all(X_FORWARDED_PROTO)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|word| match word.trim_ascii() {
            word if word.eq_ignore_ascii_case(b"https") => Scheme::Https,
            word if word.eq_ignore_ascii_case(b"http") => Scheme::Http,
            _ => Scheme::Unknown,
        });
    match words.next() {
        Some(first) if words.all(|word| word == first) => first,
        _ => Scheme::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use proptest::prelude::*;

    fn direct(address: &str) -> Peer {
        address.parse::<IpAddr>().unwrap().into()
    }

    fn at(address: &str) -> Client {
        address.parse::<IpAddr>().unwrap().into()
    }

    fn head(command: u8, family: u8, length: u16) -> [u8; 16] {
        let mut head = [0; 16];
        head[..12].copy_from_slice(&SIGNATURE);
        head[12] = command;
        head[13] = family;
        head[14..].copy_from_slice(&length.to_be_bytes());
        head
    }

    #[test]
    fn the_clients_address_is_read() {
        let mut rest = vec![192, 0, 2, 7, 127, 0, 0, 1, 0x30, 0x39, 0x20, 0xFB];
        rest.extend([1, 2, 3]);
        let said = parse_addresses(&head(0x21, 0x11, 15), &rest).unwrap();
        assert_eq!(said, at("192.0.2.7"));
        let mut six = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets().to_vec();
        six.resize(36, 0);
        assert_eq!(
            parse_addresses(&head(0x21, 0x21, 36), &six),
            Ok(at("2001:db8::7"))
        );
    }

    #[test]
    fn who_has_no_tcp_address_is_unknown() {
        let rest = [127; 216];
        for (command, family) in [
            (0x20, 0x00),
            (0x20, 0x11),
            (0x20, 0x21),
            (0x21, 0x00),
            (0x21, 0x12),
            (0x21, 0x22),
            (0x21, 0x31),
        ] {
            let said = parse_addresses(&head(command, family, 216), &rest);
            assert_eq!(said, Ok(Client::Unknown), "{command:#x} {family:#x}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(parse_head(b"GET /ota_update/"), Err(ProxyError::NotThere));
        assert_eq!(
            parse_head(&head(0x11, 0x11, 12)),
            Err(ProxyError::Version(0x11))
        );
        assert_eq!(
            parse_head(&head(0x22, 0x11, 12)),
            Err(ProxyError::Version(0x22))
        );
        assert_eq!(
            parse_head(&head(0x21, 0x11, 5000)),
            Err(ProxyError::TooLong(5000))
        );
        assert_eq!(
            parse_addresses(&head(0x21, 0x11, 4), &[1, 2, 3, 4]),
            Err(ProxyError::TooShort(4))
        );
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let trusted: Vec<IpNet> = vec![
            "10.0.0.0/8".parse().unwrap(),
            "127.0.0.1/32".parse().unwrap(),
        ];
        let ask = |peer: &str, forwarded_for: &str| {
            let headers = HeaderMap::from_iter([
                (X_FORWARDED_FOR, forwarded_for.parse().unwrap()),
                (X_FORWARDED_PROTO, "https".parse().unwrap()),
            ]);
            let (client, scheme) = forwarded(&headers, direct(peer), false, &trusted);
            (client.to_string(), scheme == Scheme::Https)
        };
        assert_eq!(ask("127.0.0.1", "192.0.2.1"), ("192.0.2.1".into(), true));
        assert_eq!(
            ask("::ffff:127.0.0.1", "192.0.2.1"),
            ("192.0.2.1".into(), true)
        );
        assert_eq!(
            ask("127.0.0.1", "1.1.1.1, 192.0.2.1, 10.9.9.9"),
            ("192.0.2.1".into(), true)
        );
        assert_eq!(
            ask("127.0.0.1", "1.1.1.1, nonsense"),
            ("unknown".into(), true)
        );
        for named in ["192.0.2.1:80", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:80"] {
            assert_eq!(ask("127.0.0.1", named), ("192.0.2.1".into(), true));
        }
        assert_eq!(ask("192.0.2.9", "1.1.1.1"), ("192.0.2.9".into(), false));
        // All the way only proxies: the first of them asked by itself.
        assert_eq!(
            ask("127.0.0.1", "10.1.1.1, 10.9.9.9"),
            ("10.1.1.1".into(), true)
        );
        let silent = HeaderMap::new();
        for (peer, client) in [
            (direct("127.0.0.1"), Client::Unknown),
            (direct("192.0.2.9"), at("192.0.2.9")),
            (Peer::Named(Client::Unknown), Client::Unknown),
            (Peer::Named(at("127.0.0.1")), at("127.0.0.1")),
            (Peer::Named(at("192.0.2.9")), at("192.0.2.9")),
        ] {
            assert_eq!(forwarded(&silent, peer, false, &trusted).0, client);
        }
        // What a proxy is not known to have passed on is not believed.
        let unknown = Peer::Named(Client::Unknown);
        let forged = HeaderMap::from_iter([(X_FORWARDED_FOR, "127.0.0.1".parse().unwrap())]);
        assert_eq!(
            forwarded(&forged, unknown, false, &trusted).0,
            Client::Unknown
        );
    }

    #[test]
    fn how_the_client_came_is_said_by_the_wire_or_by_a_trusted_proxy() {
        use Scheme::{Http, Https, Unknown};
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let (client, proxy) = (direct("192.0.2.1"), direct("10.0.0.1"));
        let far = Peer::Named(at("192.0.2.1"));
        for (peer, tls, says, wanted) in [
            (client, true, &[][..], Https),
            (client, false, &[], Http),
            (client, true, &["http"], Https),
            (client, false, &["https"], Http),
            (proxy, false, &["https"], Https),
            (proxy, false, &["HTTPS "], Https),
            (proxy, false, &["http"], Http),
            (proxy, true, &["http"], Http),
            // From the proxy to here is not from the client to the proxy.
            (proxy, true, &[], Unknown),
            (proxy, false, &[], Unknown),
            (proxy, false, &[""], Unknown),
            (proxy, false, &["wss"], Unknown),
            (proxy, false, &["https", "http"], Unknown),
            (proxy, false, &["https, http"], Unknown),
            (proxy, false, &["https,https"], Https),
            (far, true, &[], Https),
            (far, false, &[], Unknown),
            (far, false, &["https"], Unknown),
            (Peer::Named(Client::Unknown), false, &["https"], Unknown),
            (Peer::Named(at("10.0.0.2")), false, &["https"], Https),
        ] {
            let headers: HeaderMap = says
                .iter()
                .map(|says| (X_FORWARDED_PROTO, says.parse().unwrap()))
                .collect();
            let (_, scheme) = forwarded(&headers, peer, tls, &trusted);
            assert_eq!(scheme, wanted, "{peer} tls {tls} {says:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(start: [u8; 16], rest: Vec<u8>, ours: bool) {
            let mut start = start;
            if ours {
                start[..12].copy_from_slice(&SIGNATURE);
            }
            if parse_head(&start).is_ok() {
                let _ = parse_addresses(&start, &rest);
            }
        }
    }
}
