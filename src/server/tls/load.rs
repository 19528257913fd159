//! All that is configured, read and judged at once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::server::danger::ClientCertVerifier;

use super::chain::Certificate;
use super::clients;
use super::files::{Files, open_to_all};
use super::identity::{self, Identity, Issued};
use super::resolver::NameIndex;
use super::{CertificateSummary, Pair, TlsError, TlsProblem, TlsSettings, TlsWarning};

/// By the file of `client_ca`.
pub(super) type Verifiers = HashMap<PathBuf, Arc<dyn ClientCertVerifier>>;

/// What handshakes look at: one load, whole.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The default first; never empty.
    pub(super) certificates: Vec<Certificate>,
    pub(super) index: NameIndex,
    pub(super) clients: Verifiers,
    pub(super) files: Files,
    pub(super) root_pem: Option<String>,
    pub(super) issued: Option<Issued>,
}

impl Loaded {
    pub(super) fn summary(&self, now: SystemTime) -> Vec<CertificateSummary> {
        let ours = self.root_pem.is_some();
        let summary = |certificate: &Certificate| CertificateSummary {
            path: certificate.pair.certificate.clone(),
            names: certificate.names.clone(),
            addresses: certificate.addresses.clone(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            days_left: certificate.days_left(now),
            issuer: certificate.issuer.clone(),
            ours,
            key: certificate.key,
            sha256: certificate.sha256(),
            flight_bytes: certificate.flight,
        };
        self.certificates.iter().map(summary).collect()
    }
}

/// Reads all that `settings` name; makes or re-issues the private leaf where it is due.
///
/// # Errors
/// With the first problem.
pub(super) fn load(
    settings: &TlsSettings,
    now: SystemTime,
) -> Result<(Loaded, Vec<TlsWarning>), TlsError> {
    let mut warnings = Vec::new();
    lone_anchors(settings).map_or(Ok(()), Err)?;
    let (pairs, root_pem, issued) = if settings.pairs.is_empty() {
        let (root_pem, issued) = private(settings, now, &mut warnings)?;
        (vec![identity::pair(&settings.identity)], root_pem, issued)
    } else {
        (settings.pairs.clone(), None, None)
    };
    let mut read = Read::of(settings, &pairs, now);
    if let Some(error) = read.errors.drain(..).next() {
        return Err(error);
    }
    warnings.append(&mut read.warnings);
    let mut index = NameIndex::default();
    for (place, certificate) in read.certificates.iter().enumerate() {
        index.add(place, &certificate.names);
    }
    let loaded = Loaded {
        certificates: read.certificates,
        index,
        clients: read.clients,
        files: read.files,
        root_pem,
        issued,
    };
    Ok((loaded, warnings))
}

fn private(
    settings: &TlsSettings,
    now: SystemTime,
    warnings: &mut Vec<TlsWarning>,
) -> Result<(Option<String>, Option<Issued>), TlsError> {
    let wanted = identity::wanted(&identity::checked(&settings.names)?);
    let mut identity = Identity::read(&settings.identity, now)?;
    let issued = match identity.due(&wanted, now) {
        None => None,
        Some(reason) => match identity.issue(&wanted, reason, now) {
            Ok(issued) => Some(issued),
            // A full disk takes no working leaf away.
            Err(error) if identity.serves(now) => {
                warnings.push(TlsWarning::NotReissued {
                    path: settings.identity.clone(),
                    reason: error.to_string(),
                });
                None
            }
            Err(error) => return Err(error.into()),
        },
    };
    Ok((identity.root_pem().map(str::to_owned), issued))
}

fn lone_anchors(settings: &TlsSettings) -> Option<TlsError> {
    let lone = settings.pairs.is_empty() && !settings.anchors.is_empty();
    lone.then_some(TlsError::AnchorsWithoutCertificate)
}

/// Everything that `otatree check` can say of these settings, without writing anything.
#[must_use]
pub fn check(settings: &TlsSettings, now: SystemTime) -> Vec<TlsProblem> {
    let mut problems = Vec::new();
    problems.extend(lone_anchors(settings).map(TlsProblem::from));
    let pairs: Vec<Pair> = if settings.pairs.is_empty() {
        if let Err(error) = identity::checked(&settings.names) {
            problems.push(error.into());
        }
        match Identity::read(&settings.identity, now) {
            // A leaf that will be made, or made anew, at the next start is no problem.
            Ok(identity) if identity.serves(now) => vec![identity::pair(&settings.identity)],
            Ok(_) => Vec::new(),
            Err(error) => {
                problems.push(TlsError::from(error).into());
                Vec::new()
            }
        }
    } else {
        settings.pairs.clone()
    };
    let read = Read::of(settings, &pairs, now);
    problems.extend(read.errors.into_iter().map(TlsProblem::from));
    problems.extend(read.warnings.into_iter().map(TlsProblem::from));
    problems
}

/// Pairs, anchors and authorities of clients, with all that is wrong with them.
struct Read {
    certificates: Vec<Certificate>,
    clients: Verifiers,
    files: Files,
    errors: Vec<TlsError>,
    warnings: Vec<TlsWarning>,
}

impl Read {
    fn of(settings: &TlsSettings, pairs: &[Pair], now: SystemTime) -> Self {
        let mut read = Self {
            certificates: Vec::new(),
            clients: Verifiers::new(),
            files: Files::default(),
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        for pair in pairs {
            match Certificate::read(pair, now, &mut read.files) {
                Ok(certificate) => {
                    read.warnings.append(&mut certificate.warnings(now));
                    read.certificates.push(certificate);
                }
                Err(error) => read.errors.push(error),
            }
        }
        if settings.pairs.is_empty() {
            let path = identity::root_key(&settings.identity);
            if open_to_all(&path) {
                read.warnings.push(TlsWarning::KeyOpenToAll { path });
            }
        } else {
            read.anchors(settings, now);
        }
        for path in &settings.client_cas {
            match clients::read(path, &mut read.files) {
                Ok(verifier) => {
                    read.clients.insert(path.clone(), verifier);
                }
                Err(error) => read.errors.push(error),
            }
        }
        read.warnings.append(&mut read.files.take_warnings());
        read
    }

    fn anchors(&mut self, settings: &TlsSettings, now: SystemTime) {
        for path in &settings.anchors {
            let anchors = match self.files.certificates(path) {
                Ok(anchors) => anchors,
                Err(error) => {
                    self.errors.push(error);
                    continue;
                }
            };
            // Each certificate of a file is an anchor of its own: a device holds one of them.
            for anchor in &anchors {
                let failed =
                    |certificate: &Certificate| certificate.leads_to(anchor, path, now).err();
                self.errors
                    .extend(self.certificates.iter().filter_map(failed));
            }
        }
    }
}
