//! What stands in a certificate, in our words.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;

/// The kind of a certificate's key. Small nodes want P-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// RSA.
    Rsa {
        /// Length of the modulus.
        bits: usize,
    },
    /// Ed25519, or what comes after it.
    Other,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("EC P-256"),
            Self::P384 => f.write_str("EC P-384"),
            Self::P521 => f.write_str("EC P-521"),
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::Other => f.write_str("neither EC nor RSA"),
        }
    }
}

/// Host names and addresses of a leaf's subjectAltName.
pub(super) fn names(leaf: &X509Certificate<'_>) -> Result<(Vec<String>, Vec<IpAddr>), String> {
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    let alternatives = leaf
        .subject_alternative_name()
        .map_err(|error| error.to_string())?;
    for name in alternatives.iter().flat_map(|san| &san.value.general_names) {
        match name {
            GeneralName::DNSName(name) => match name.parse() {
                // An address as text, for clients that read no other form (`identity::issue`).
                Ok(address) => addresses.push(address),
                Err(_) => names.push((*name).to_owned()),
            },
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    let mut seen = HashSet::new();
    addresses.retain(|address: &IpAddr| seen.insert(*address));
    Ok((names, addresses))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The kind of its key.
pub(super) fn kind(leaf: &X509Certificate<'_>) -> KeyKind {
    match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => KeyKind::Rsa {
            bits: key.key_size(),
        },
        Ok(PublicKey::EC(point)) => match point.key_size() {
            ..=256 => KeyKind::P256,
            257..=384 => KeyKind::P384,
            _ => KeyKind::P521,
        },
        _ => KeyKind::Other,
    }
}

/// Its first and its last moment.
pub(super) fn dates(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = certificate.validity();
    (
        moment(validity.not_before.timestamp()),
        moment(validity.not_after.timestamp()),
    )
}

/// From seconds since 1970, which are negative before it.
fn moment(seconds: i64) -> SystemTime {
    let duration = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(duration)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(duration)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A moment as people read it.
pub(super) fn written(moment: SystemTime) -> String {
    jiff::Timestamp::try_from(moment).map_or_else(
        |_| "a day out of range".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}
