//! One certificate with its chain and key: read, checked, and what is known of it.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::InconsistentKeys;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::files::Files;
use super::{Pair, TlsError, TlsWarning, anchor, config, flight};
use crate::firmware::Sha256;

const DAY: u64 = 24 * 60 * 60;
const WARN_DAYS: i64 = 14;

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

/// One certificate that is served.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) pair: Pair,
    pub(super) certified: Arc<CertifiedKey>,
    /// Host names and wildcards, as they stand in the certificate.
    pub(super) names: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) issuer: String,
    pub(super) key: KeyKind,
    pub(super) flight: usize,
}

impl Certificate {
    /// Reads a pair of files and checks all that can be checked without the anchors.
    ///
    /// # Errors
    /// When clients would refuse it, or the files are not what they should be.
    pub(super) fn read(pair: &Pair, now: SystemTime, files: &mut Files) -> Result<Self, TlsError> {
        let chain = files.certificates(&pair.certificate)?;
        let key = files.key(&pair.key)?;
        let unusable = |position, reason: String| TlsError::Certificate {
            path: pair.certificate.clone(),
            position,
            reason,
        };
        let parsed = parse(&chain).map_err(|(position, reason)| unusable(position, reason))?;
        let leaf = &parsed[0];
        let (names, addresses) = names(leaf).map_err(|reason| unusable(1, reason))?;
        let key = config::provider()
            .key_provider
            .load_private_key(key)
            .map_err(|source| TlsError::Key {
                path: pair.key.clone(),
                source,
            })?;
        let certified = CertifiedKey::new(chain.clone(), key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(mismatch(pair, &certified)),
            Err(error) => return Err(unusable(1, error.to_string())),
        }
        in_order(&pair.certificate, &parsed)?;
        let validity = leaf.validity();
        let (not_before, not_after) = (
            moment(validity.not_before.timestamp()),
            moment(validity.not_after.timestamp()),
        );
        if now > not_after {
            return Err(TlsError::Expired {
                path: pair.certificate.clone(),
                not_after: written(not_after),
            });
        }
        if now < not_before {
            return Err(TlsError::NotYetValid {
                path: pair.certificate.clone(),
                not_before: written(not_before),
                now: written(now),
            });
        }
        let key = kind(leaf);
        Ok(Self {
            pair: pair.clone(),
            names,
            addresses,
            not_before,
            not_after,
            issuer: leaf.issuer().to_string(),
            key,
            flight: flight::bytes(chain.iter().map(|der| der.len()), key),
            certified: Arc::new(certified),
        })
    }

    /// Whole days until it expires; negative afterwards.
    pub(super) fn days_left(&self, now: SystemTime) -> i64 {
        let days = |duration: Duration| i64::try_from(duration.as_secs() / DAY).unwrap_or(i64::MAX);
        match self.not_after.duration_since(now) {
            Ok(left) => days(left),
            Err(past) => -1 - days(past.duration()),
        }
    }

    /// Fingerprint of the leaf.
    pub(super) fn sha256(&self) -> Sha256 {
        self.certified
            .cert
            .first()
            .map_or_else(|| Sha256::of(&[]), |der| Sha256::of(der))
    }

    /// What works, and should be known.
    pub(super) fn warnings(&self, now: SystemTime) -> Vec<TlsWarning> {
        let path = &self.pair.certificate;
        let mut warnings = Vec::new();
        let days = self.days_left(now);
        if days < WARN_DAYS {
            warnings.push(TlsWarning::ExpiresSoon {
                path: path.clone(),
                days,
                not_after: written(self.not_after),
            });
        }
        if self.names.is_empty() && self.addresses.is_empty() {
            warnings.push(TlsWarning::NoNames { path: path.clone() });
        }
        if self.key != KeyKind::P256 {
            warnings.push(TlsWarning::SlowKey {
                path: path.clone(),
                kind: self.key,
            });
        }
        if self.flight > flight::SMALL_BUFFER {
            warnings.push(TlsWarning::LargeFlight {
                path: path.clone(),
                bytes: self.flight,
            });
        }
        // Parsed once already, when it was read.
        for (place, certificate) in parse(&self.certified.cert)
            .iter()
            .flatten()
            .enumerate()
            .skip(1)
        {
            let validity = certificate.validity();
            if now < moment(validity.not_before.timestamp())
                || now > moment(validity.not_after.timestamp())
            {
                warnings.push(TlsWarning::IntermediateOutOfDate {
                    path: path.clone(),
                    position: place + 1,
                    subject: certificate.subject().to_string(),
                });
            }
            if certificate.subject().as_raw() == certificate.issuer().as_raw() {
                warnings.push(TlsWarning::RootSent {
                    path: path.clone(),
                    bytes: self.certified.cert[place].len() + 3,
                });
            }
        }
        warnings
    }

    /// Verifies the chain against one anchor alone, under the first name that the leaf carries.
    ///
    /// # Errors
    /// Names chain and anchor.
    pub(super) fn leads_to(
        &self,
        anchor: &CertificateDer<'_>,
        path: &Path,
        now: SystemTime,
    ) -> Result<(), TlsError> {
        let name = match (self.names.first(), self.addresses.first()) {
            (Some(name), _) => ServerName::try_from(name.replacen('*', "any", 1)).ok(),
            (None, Some(address)) => Some(ServerName::from(*address)),
            (None, None) => None,
        };
        anchor::verify(&self.certified.cert, anchor, name.as_ref(), now).map_err(|source| {
            TlsError::NotAnchored {
                certificate: self.pair.certificate.clone(),
                anchor: path.to_owned(),
                source,
            }
        })
    }
}

fn parse<'a>(chain: &'a [CertificateDer<'_>]) -> Result<Vec<X509Certificate<'a>>, (usize, String)> {
    chain
        .iter()
        .enumerate()
        .map(|(place, der)| match X509Certificate::from_der(der) {
            Ok((_, certificate)) => Ok(certificate),
            Err(error) => Err((place + 1, error.to_string())),
        })
        .collect()
}

/// Host names and addresses of a leaf's subjectAltName.
pub(super) fn names(leaf: &X509Certificate<'_>) -> Result<(Vec<String>, Vec<IpAddr>), String> {
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    let alternatives = leaf
        .subject_alternative_name()
        .map_err(|error| error.to_string())?;
    for name in alternatives.iter().flat_map(|san| &san.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    Ok((names, addresses))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn kind(leaf: &X509Certificate<'_>) -> KeyKind {
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

fn mismatch(pair: &Pair, certified: &CertifiedKey) -> TlsError {
    let key = certified.key.public_key();
    let leaf = certified.cert.iter().position(|der| {
        X509Certificate::from_der(der).is_ok_and(|(_, found)| {
            key.as_ref()
                .is_some_and(|key| key.as_ref() == found.public_key().raw)
        })
    });
    match leaf {
        Some(place) => TlsError::LeafNotFirst {
            path: pair.certificate.clone(),
            position: place + 1,
        },
        None => TlsError::KeyMismatch {
            certificate: pair.certificate.clone(),
            key: pair.key.clone(),
        },
    }
}

fn in_order(path: &Path, chain: &[X509Certificate<'_>]) -> Result<(), TlsError> {
    for (place, two) in chain.windows(2).enumerate() {
        if two[0].issuer().as_raw() != two[1].subject().as_raw() {
            return Err(TlsError::ChainOrder {
                path: path.to_owned(),
                position: place + 2,
                subject: two[1].subject().to_string(),
                issuer: two[0].issuer().to_string(),
            });
        }
    }
    Ok(())
}

/// From seconds since 1970, which are negative before it.
pub(super) fn moment(seconds: i64) -> SystemTime {
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
