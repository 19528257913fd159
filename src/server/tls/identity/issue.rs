//! Making keys, the root and leaves: EC P-256 with SHA-256, what BearSSL and mbedTLS 2.28 read alike.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;

use super::super::config;
use super::{DAY, IdentityError};

/// 30 years, leap days counted.
const ROOT_LIFE: Duration = DAY.saturating_mul(10_957);
/// Under the 398 days of the CA/Browser Forum (Baseline Requirements of 2020, section 6.3.2), which some clients
/// ask of every root.
const LEAF_LIFE: Duration = DAY.saturating_mul(397);
/// 2026-01-01: no otatree is older. A machine that starts with its clock at 1970, or years ahead, must not
/// make a root that is over, or not yet valid, when the clock is right.
const FIRST_DAY: Duration = Duration::from_secs(1_767_225_600);
/// Upper bound of a common name (RFC 5280 appendix A.1, `ub-common-name`).
const COMMON_NAME: usize = 64;

/// A new P-256 key.
pub(super) fn key() -> Result<KeyPair, IdentityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Issue)
}

/// A root that signs leaves and nothing else.
pub(super) fn root(
    key: &KeyPair,
    host: &str,
    now: SystemTime,
) -> Result<Certificate, IdentityError> {
    let mut params = params(format!("otatree root {host}").trim_end())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + FIRST_DAY;
    params.not_after =
        rcgen::date_time_ymd(1970, 1, 1) + since_1970(now).max(FIRST_DAY) + ROOT_LIFE;
    params.self_signed(key).map_err(IdentityError::Issue)
}

/// A leaf for `names`, which are host names and addresses.
pub(super) fn leaf(
    root: &CertificateDer<'_>,
    root_key: &KeyPair,
    key: &KeyPair,
    names: &[String],
    now: SystemTime,
) -> Result<Certificate, IdentityError> {
    let mut params = params("otatree")?;
    params.subject_alt_names = CertificateParams::new(names)
        .map_err(IdentityError::Issue)?
        .subject_alt_names;
    // BearSSL and mbedTLS 2.28 know no addresses in a certificate and look for their text among the host names.
    // They stand last, because others read up to the first match and may stumble over them.
    for name in names.iter().filter(|name| name.parse::<Ipv4Addr>().is_ok()) {
        let text = name.as_str().try_into().map_err(IdentityError::Issue)?;
        params.subject_alt_names.push(SanType::DnsName(text));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    // A day back, for devices whose clock is behind.
    let first = since_1970(now).saturating_sub(DAY);
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + first;
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + first + LEAF_LIFE;
    let issuer = Issuer::from_ca_cert_der(root, root_key).map_err(IdentityError::Issue)?;
    params.signed_by(key, &issuer).map_err(IdentityError::Issue)
}

fn params(common_name: &str) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    let name: String = common_name.chars().take(COMMON_NAME).collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Leaves share a key, so a serial made from it (rcgen's default) would name two certificates alike,
    // which Firefox refuses (SEC_ERROR_REUSED_ISSUER_AND_SERIAL).
    let mut serial = [0; 16];
    config::provider()
        .secure_random
        .fill(&mut serial)
        .map_err(|_| IdentityError::Random)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn since_1970(moment: SystemTime) -> Duration {
    moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
