//! One certificate with its chain and key: read, checked, and what is known of it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::InconsistentKeys;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::facts::{KeyKind, dates, kind, names, written};
use super::files::Files;
use super::{Pair, TlsError, TlsWarning, anchor, config, flight};
use crate::firmware::Sha256;

const DAY: i64 = 24 * 60 * 60;
const WARN_DAYS: i64 = 14;

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
        let (not_before, not_after) = dates(leaf);
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
        let whole = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let seconds = match self.not_after.duration_since(now) {
            Ok(left) => whole(left),
            Err(past) => -whole(past.duration()),
        };
        seconds.div_euclid(DAY)
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
            let (not_before, not_after) = dates(certificate);
            if now < not_before || now > not_after {
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
