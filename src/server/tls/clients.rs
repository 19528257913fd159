//! `client_ca` of a listener: who may connect there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::TlsError;
use super::files::Files;
use super::load::Loaded;

/// Reads the authorities of a file.
///
/// # Errors
/// When it cannot be read, or holds none.
pub(super) fn read(
    path: &Path,
    files: &mut Files,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let failed = |reason: String| TlsError::ClientCa {
        path: path.to_owned(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for authority in files.certificates(path)? {
        roots
            .add(authority)
            .map_err(|error| failed(error.to_string()))?;
    }
    let provider = Arc::new(super::config::provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| failed(error.to_string()))
}

/// Judges by the file as it was loaded last.
pub(super) struct Clients {
    pub(super) path: PathBuf,
    pub(super) loaded: Arc<ArcSwap<Loaded>>,
}

impl Clients {
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let loaded = self.loaded.load();
        let found = loaded.clients.get(&self.path).cloned();
        // A listener lives as long as the process, and so does its file in the settings.
        found.ok_or_else(|| Error::General("no client_ca is loaded".to_owned()))
    }
}

impl ClientCertVerifier for Clients {
    /// The names of the authorities would only make the request larger: a client has one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verifier()?
            .verify_client_cert(leaf, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        super::config::provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
