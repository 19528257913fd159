//! Certificates for the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use otatree::server::tls::Pair;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    RsaKeySize,
};

use super::{DAY, today};

pub type Authority = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str, from: SystemTime, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    let since_1970 = from.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970;
    params.not_after = params.not_before + life;
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name, today() - 100 * DAY, 3650 * DAY);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

pub fn p384() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()
}

pub fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

pub fn rsa4096() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).unwrap()
}

pub fn root(name: &str) -> Authority {
    root_with(name, p256())
}

pub fn root_with(name: &str, key: KeyPair) -> Authority {
    CertifiedIssuer::self_signed(authority(name), key).unwrap()
}

pub fn intermediate(name: &str, issuer: &Authority) -> Authority {
    intermediate_with(name, p256(), issuer)
}

pub fn intermediate_with(name: &str, key: KeyPair, issuer: &Authority) -> Authority {
    CertifiedIssuer::signed_by(authority(name), key, issuer).unwrap()
}

/// An authority with the name and the key of another, signed by a third.
pub fn cross_sign(name: &str, key: &KeyPair, issuer: &Authority) -> String {
    authority(name).signed_by(key, issuer).unwrap().pem()
}

/// The same, and its time is over.
pub fn expired_cross_sign(name: &str, key: &KeyPair, issuer: &Authority) -> String {
    let mut params = authority(name);
    params.not_after = params.not_before + 99 * DAY;
    params.signed_by(key, issuer).unwrap().pem()
}

/// A leaf of 90 days that began yesterday, and its key.
pub struct Leaf {
    pub pem: String,
    pub key: KeyPair,
}

pub fn leaf(names: &[&str], issuer: &Authority) -> Leaf {
    dated_leaf(names, issuer, p256(), today() - DAY, 90 * DAY)
}

pub fn dated_leaf(
    names: &[&str],
    issuer: &Authority,
    key: KeyPair,
    from: SystemTime,
    life: Duration,
) -> Leaf {
    let mut params = params("leaf", from, life);
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pem = params.signed_by(&key, issuer).unwrap().pem();
    Leaf { pem, key }
}

/// Writes chain and key as `<name>.pem` and `<name>-key.pem`.
pub fn save(folder: &Path, name: &str, leaf: &Leaf, chain: &[&str]) -> Pair {
    let certificate = write(
        folder,
        &format!("{name}.pem"),
        &(leaf.pem.clone() + &chain.concat()),
    );
    let key = write(
        folder,
        &format!("{name}-key.pem"),
        &leaf.key.serialize_pem(),
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    Pair { certificate, key }
}

pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}
