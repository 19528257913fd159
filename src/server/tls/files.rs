//! PEM files, read once per load, with their digests kept: so that a reload can say which ones changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{TlsError, TlsWarning};
use crate::firmware::Sha256;

/// The files of one load.
#[derive(Debug, Default)]
pub(super) struct Files {
    digests: BTreeMap<PathBuf, Sha256>,
    warnings: Vec<TlsWarning>,
}

impl Files {
    /// All certificates of a file, in its order; at least one.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or holds none.
    pub(super) fn certificates(
        &mut self,
        path: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read(path)?;
        let found = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| TlsError::Pem {
                path: path.to_owned(),
                source,
            })?;
        if found.is_empty() {
            return Err(TlsError::NoCertificate {
                path: path.to_owned(),
            });
        }
        Ok(found)
    }

    /// The first private key of a file.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or holds none in the clear.
    pub(super) fn key(&mut self, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
        let text = self.read(path)?;
        if open_to_all(path) {
            let path = path.to_owned();
            self.warnings.push(TlsWarning::KeyOpenToAll { path });
        }
        let path = path.to_owned();
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            _ if encrypted(&text) => TlsError::EncryptedKey { path },
            PemError::NoItemsFound => TlsError::NoKey { path },
            source => TlsError::Pem { path, source },
        })
    }

    fn read(&mut self, path: &Path) -> Result<Vec<u8>, TlsError> {
        let text = fs::read(path).map_err(|source| TlsError::Read {
            path: path.to_owned(),
            source,
        })?;
        self.digests.insert(path.to_owned(), Sha256::of(&text));
        Ok(text)
    }

    /// Warnings met while reading.
    pub(super) fn take_warnings(&mut self) -> Vec<TlsWarning> {
        std::mem::take(&mut self.warnings)
    }

    /// Files that differ from those of an earlier load, were added, or are no longer named.
    pub(super) fn changed_since(&self, earlier: &Self) -> Vec<PathBuf> {
        let new = self
            .digests
            .iter()
            .filter(|(path, digest)| earlier.digests.get(*path) != Some(digest));
        let gone = earlier
            .digests
            .iter()
            .filter(|(path, _)| !self.digests.contains_key(*path));
        new.chain(gone).map(|(path, _)| path.clone()).collect()
    }
}

fn encrypted(text: &[u8]) -> bool {
    // PKCS #8 (RFC 7468 section 11), and the older form of OpenSSL with `Proc-Type: 4,ENCRYPTED`.
    text.windows(9).any(|part| part == b"ENCRYPTED")
}

/// Whether every user of this machine can read a file.
pub(super) fn open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}
