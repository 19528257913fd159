//! The private root and its leaf, for servers without a certificate of their own.
//!
//! Devices are built to trust the root, so it is made once and never replaced: where it is damaged, a person
//! decides. The leaf is ours to re-issue, always with the same key (devices may have pinned that).
//!
//! | file in `state/identity/` | |
//! |---|---|
//! | `root.pem` | what goes into the sketch; never sent in a handshake |
//! | `root-key.pem` | signs leaves; readable by the server's user only |
//! | `leaf.pem`, `leaf-key.pem` | what is served |

mod error;
mod issue;
mod names;
mod sketch;
mod store;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::facts::{self, dates};
use super::{Pair, TlsError, anchor};

pub use error::{IdentityError, Issued, LeafReason, RootFault};
pub(super) use names::wanted;
pub use sketch::arduino_lines;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A leaf with less than this left is re-issued.
const RENEW: Duration = DAY.saturating_mul(30);

/// What the folder holds.
pub(super) struct Identity {
    folder: PathBuf,
    root: Option<Root>,
    /// A root key without `root.pem`, left by a first start that was cut short.
    spare_key: Option<KeyPair>,
    leaf: Option<CertificateDer<'static>>,
    leaf_key: Option<KeyPair>,
}

struct Root {
    pem: String,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// The key that must not be lost, and must not be read by others.
pub(super) fn root_key(folder: &Path) -> PathBuf {
    folder.join("root-key.pem")
}

/// What is served of an identity.
pub(super) fn pair(folder: &Path) -> Pair {
    Pair {
        certificate: folder.join("leaf.pem"),
        key: folder.join("leaf-key.pem"),
    }
}

impl Identity {
    /// Reads the folder, which need not exist, and writes nothing.
    ///
    /// # Errors
    /// When the root is damaged in any way, or a file cannot be read.
    pub(super) fn read(folder: &Path, now: SystemTime) -> Result<Self, IdentityError> {
        let root_path = folder.join("root.pem");
        let key_path = root_key(folder);
        let root_pem = store::read(&root_path)?;
        let key_pem = store::read(&key_path)?;
        let leaf = store::read(&folder.join("leaf.pem"))?;
        let leaf_key = store::read(&folder.join("leaf-key.pem"))?;
        let fault = |path: &Path, fault| IdentityError::Root {
            path: path.to_owned(),
            fault,
        };
        let (root, spare_key) = match (root_pem, key_pem) {
            (Some(pem), Some(key)) => {
                let certificate = store::certificate(&pem)
                    .ok_or_else(|| fault(&root_path, RootFault::Damaged))?;
                let key = store::key(&key).ok_or_else(|| fault(&key_path, RootFault::Damaged))?;
                let root = Root {
                    pem,
                    certificate,
                    key,
                };
                root.check(now).map_err(|(of_key, found)| {
                    fault(if of_key { &key_path } else { &root_path }, found)
                })?;
                (Some(root), None)
            }
            (Some(_), None) => return Err(fault(&key_path, RootFault::Missing)),
            // A leaf is written after its root: where it is, the root was.
            (None, _) if leaf.is_some() => return Err(fault(&root_path, RootFault::Missing)),
            (None, key) => (None, key.as_deref().and_then(store::key)),
        };
        Ok(Self {
            folder: folder.to_owned(),
            root,
            spare_key,
            leaf: leaf.as_deref().and_then(store::certificate),
            leaf_key: leaf_key.as_deref().and_then(store::key),
        })
    }

    /// Whether what the folder holds can be served now, due or not.
    pub(super) fn serves(&self, now: SystemTime) -> bool {
        self.whole_leaf().is_ok_and(|leaf| {
            let (not_before, not_after) = dates(&leaf);
            not_before <= now && now <= not_after
        })
    }

    /// Whether a leaf must be issued, and why.
    pub(super) fn due(&self, wanted: &[String], now: SystemTime) -> Option<LeafReason> {
        let leaf = match self.whole_leaf() {
            Ok(leaf) => leaf,
            Err(reason) => return Some(reason),
        };
        let (not_before, not_after) = dates(&leaf);
        if now < not_before || now + RENEW > not_after {
            return Some(LeafReason::Dates);
        }
        let (names, addresses) = facts::names(&leaf).unwrap_or_default();
        let carried = |name: &String| {
            names.contains(name)
                || name
                    .parse()
                    .is_ok_and(|address| addresses.contains(&address))
        };
        let new: Vec<_> = wanted
            .iter()
            .filter(|name| !carried(name))
            .cloned()
            .collect();
        (!new.is_empty()).then_some(LeafReason::Names(new))
    }

    /// The leaf, if its key is there and the root signed it, whatever its dates.
    fn whole_leaf(&self) -> Result<X509Certificate<'_>, LeafReason> {
        let (Some(root), Some(leaf)) = (&self.root, &self.leaf) else {
            return Err(LeafReason::Missing);
        };
        let key = self.leaf_key.as_ref().ok_or(LeafReason::KeyLost)?;
        let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
            return Err(LeafReason::Missing);
        };
        let of_key = parsed.public_key().subject_public_key.as_ref() == key.public_key_raw();
        let (_, at) = dates(&parsed);
        let chain = std::slice::from_ref(leaf);
        if of_key && anchor::verify(chain, &root.certificate, None, at).is_ok() {
            Ok(parsed)
        } else {
            Err(LeafReason::Missing)
        }
    }

    /// Makes what is missing, root first, and writes it.
    ///
    /// # Errors
    /// When the folder cannot be written; what was there stays.
    pub(super) fn issue(
        &mut self,
        wanted: &[String],
        reason: LeafReason,
        now: SystemTime,
    ) -> Result<Issued, IdentityError> {
        store::make_folder(&self.folder)?;
        let made = self.root.is_none();
        let root = match self.root.take() {
            Some(root) => root,
            None => self.make_root(now)?,
        };
        let root = self.root.insert(root);
        let key = match self.leaf_key.take() {
            Some(key) => key,
            None => new_key(&self.folder.join("leaf-key.pem"))?,
        };
        let key = self.leaf_key.insert(key);
        let leaf = issue::leaf(&root.certificate, &root.key, key, wanted, now)?;
        store::write(&self.folder.join("leaf.pem"), &leaf.pem())?;
        self.leaf = Some(leaf.der().clone());
        Ok(Issued {
            root: made,
            leaf: reason,
        })
    }

    fn make_root(&mut self, now: SystemTime) -> Result<Root, IdentityError> {
        // The key first: a start that is cut short between the two leaves nothing that a device could trust.
        let key = match self.spare_key.take() {
            Some(key) => key,
            None => new_key(&root_key(&self.folder))?,
        };
        let host = names::canonical(&names::host()).unwrap_or_default();
        let certificate = issue::root(&key, &host, now)?;
        let pem = certificate.pem();
        store::write(&self.folder.join("root.pem"), &pem)?;
        Ok(Root {
            pem,
            certificate: certificate.der().clone(),
            key,
        })
    }

    /// The root as it stands in `root.pem`; `None` before the first [`issue`](Self::issue).
    pub(super) fn root_pem(&self) -> Option<&str> {
        self.root.as_ref().map(|root| root.pem.as_str())
    }
}

impl Root {
    /// Says what is wrong, and whether it is the key's fault.
    fn check(&self, now: SystemTime) -> Result<(), (bool, RootFault)> {
        let (_, parsed) = X509Certificate::from_der(&self.certificate)
            .map_err(|_| (false, RootFault::Damaged))?;
        if parsed.public_key().subject_public_key.as_ref() != self.key.public_key_raw() {
            return Err((true, RootFault::OtherKey));
        }
        if now > dates(&parsed).1 {
            return Err((false, RootFault::Expired));
        }
        Ok(())
    }
}

fn new_key(path: &Path) -> Result<KeyPair, IdentityError> {
    let key = issue::key()?;
    store::write_secret(path, &key.serialize_pem())?;
    Ok(key)
}

/// The names that the private leaf must carry, or the first of `given` that it cannot.
pub(super) fn checked(given: &[String]) -> Result<Vec<String>, TlsError> {
    given
        .iter()
        .map(|name| names::canonical(name).ok_or_else(|| TlsError::Name { name: name.clone() }))
        .collect()
}
