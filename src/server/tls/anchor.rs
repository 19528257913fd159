//! Would a device that trusts one root alone accept the chain that we send?

use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;

/// Verifies `chain` (leaf first) against `anchor` and nothing else, at `now`, under `name` where there is one.
///
/// # Errors
/// What webpki says against it.
pub(super) fn verify(
    chain: &[CertificateDer<'_>],
    anchor: &CertificateDer<'_>,
    name: Option<&ServerName<'_>>,
    now: SystemTime,
) -> Result<(), rustls::Error> {
    let [leaf, intermediates @ ..] = chain else {
        return Err(rustls::Error::NoCertificatesPresented);
    };
    // A leaf that signs itself and is trusted as such: devices take it, webpki has no word for it.
    if leaf == anchor {
        return Ok(());
    }
    let mut roots = RootCertStore::empty();
    roots.add(anchor.clone())?;
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let leaf = ParsedCertificate::try_from(leaf)?;
    verify_server_cert_signed_by_trust_anchor(
        &leaf,
        &roots,
        intermediates,
        UnixTime::since_unix_epoch(now),
        super::config::provider()
            .signature_verification_algorithms
            .all,
    )?;
    name.map_or(Ok(()), |name| verify_server_name(&leaf, name))
}
