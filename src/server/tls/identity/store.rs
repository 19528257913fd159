//! The files of the identity folder: whole or not there, secrets for one user only.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::disk;

use super::IdentityError;

/// The text of a file; `None` when it is not there. Bytes that are no text are damage, not an error.
pub(super) fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The certificate in a PEM text, `None` when it is damaged.
pub(super) fn certificate(pem: &str) -> Option<CertificateDer<'static>> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let whole = matches!(X509Certificate::from_der(&der), Ok(([], _)));
    whole.then_some(der)
}

/// The key in a PEM text, `None` when it is damaged.
pub(super) fn key(pem: &str) -> Option<KeyPair> {
    KeyPair::from_pem(pem).ok()
}

/// Makes the folder, open to the server's user only, without what a killed server left in it.
pub(super) fn make_folder(path: &Path) -> Result<(), IdentityError> {
    let made = match path.parent() {
        Some(parent) => fs::create_dir_all(parent),
        None => Ok(()),
    };
    made.and_then(|()| match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    })
    .and_then(|()| disk::tidy(path))
    .map_err(|source| failed(path, source))
}

/// Puts a certificate in its place.
pub(super) fn write(path: &Path, pem: &str) -> Result<(), IdentityError> {
    disk::place(path, pem.as_bytes(), 0o644).map_err(|source| failed(path, source))
}

/// Puts a key in its place.
pub(super) fn write_secret(path: &Path, pem: &str) -> Result<(), IdentityError> {
    // SECURITY: the mode is given at creation, so that a key is never readable in between.
    disk::place(path, pem.as_bytes(), 0o600).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Write {
        path: path.to_owned(),
        source,
    }
}
