//! What can go wrong with certificates, and what is worth a word: each sentence ends in the cure.

use std::io;
use std::path::PathBuf;

use super::identity::IdentityError;

/// Why certificates cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file named in the configuration cannot be read.
    #[error("cannot read {}: correct the path in [tls] or [[listen]], or let the server's user read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("{} is damaged PEM: write the file anew", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Where it broke.
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("no certificate in {}: it must hold `-----BEGIN CERTIFICATE-----` (DER is converted by `openssl x509 -inform der`)", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no private key.
    #[error("no private key in {}: it must hold `-----BEGIN PRIVATE KEY-----`, or the RSA or EC form of it", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A private key is protected by a passphrase.
    #[error("the private key in {} is encrypted: remove the passphrase with `openssl pkey -in … -out …`", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A private key of a kind that is not served.
    #[error("the private key in {} cannot be used: make an EC P-256 key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// A certificate is not X.509, or a version that is not served.
    #[error("certificate {position} in {} cannot be used ({reason}): have it issued anew as X.509 version 3", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Its place in the file, from 1.
        position: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Key and certificate are not of one pair.
    #[error("the key {} does not belong to the certificate {}: give the two files of one issue", key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate that belongs to the key is not the first.
    #[error("certificate {position} in {} belongs to the key, not the first: put the leaf first, then who issued it, and so on", path.display())]
    LeafNotFirst {
        /// The file.
        path: PathBuf,
        /// Where the leaf is, from 1.
        position: usize,
    },
    /// A certificate of the chain did not issue the one before it. BearSSL reads chains strictly in order
    /// (`src/x509/x509_minimal.t0`, error `BR_ERR_X509_DN_MISMATCH`).
    #[error("certificate {position} in {} (`{subject}`) is not who issued the one before it (`{issuer}`): put the leaf first, then who issued it, and so on", path.display())]
    ChainOrder {
        /// The file.
        path: PathBuf,
        /// The place of the wrong certificate, from 1.
        position: usize,
        /// Who it is.
        subject: String,
        /// Who it should be.
        issuer: String,
    },
    /// The leaf is too old.
    #[error("the certificate {} expired on {not_after}: renew it", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// Its last moment.
        not_after: String,
    },
    /// The leaf is too young, or the clock is wrong.
    #[error("the certificate {} is valid only from {not_before}, and the clock says {now}: set the clock, or wait", path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Its first moment.
        not_before: String,
        /// What the clock says.
        now: String,
    },
    /// A device that trusts only this anchor would refuse the chain.
    #[error("the chain {} does not verify against the anchor {} alone: add the intermediate or cross-signed certificates that lead to it", certificate.display(), anchor.display())]
    NotAnchored {
        /// The chain.
        certificate: PathBuf,
        /// The anchor.
        anchor: PathBuf,
        /// What the verifier said.
        source: rustls::Error,
    },
    /// No client can be verified by a file.
    #[error("no client can be judged by {} ({reason}): `client_ca` must hold the certificates of authorities", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        reason: String,
    },
    /// Anchors without a certificate of one's own: the private leaf verifies against its own root only.
    #[error(
        "`anchors` needs a certificate, and only the private one is there: set `certificate` and `key` in [tls], or remove `anchors`"
    )]
    AnchorsWithoutCertificate,
    /// A name that no certificate can carry.
    #[error(
        "`{name}` in [tls] names is neither a host name nor an address: write it as in `ota.example.org` or `192.0.2.7`"
    )]
    Name {
        /// As it was written.
        name: String,
    },
    /// The private root or leaf.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// rustls refuses our own choice of versions and suites.
    #[error("TLS cannot be set up: report this with the versions of otatree and of the system")]
    Setup(#[source] rustls::Error),
}

/// What is served all the same, and should be known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsWarning {
    /// Little time is left.
    #[error("the certificate {} expires in {days} days, on {not_after}: renew it", path.display())]
    ExpiresSoon {
        /// The file.
        path: PathBuf,
        /// Whole days that are left.
        days: i64,
        /// Its last moment.
        not_after: String,
    },
    /// An intermediate is out of its dates; clients that know another way do not mind.
    #[error("certificate {position} in {} (`{subject}`) is out of its dates: take the chain anew from who issued it", path.display())]
    IntermediateOutOfDate {
        /// The file.
        path: PathBuf,
        /// Its place, from 1.
        position: usize,
        /// Who it is.
        subject: String,
    },
    /// The first answer is larger than small clients read: mbedTLS needs a whole record in its input buffer,
    /// also of a plaintext handshake, and sketches cut that to 4096 bytes.
    #[error("{} makes a first answer of {bytes} bytes, over the 4096 that small ESP32 builds can read: use an EC P-256 certificate with a short chain and few names", path.display())]
    LargeFlight {
        /// The file.
        path: PathBuf,
        /// ServerHello to ServerHelloDone.
        bytes: usize,
    },
    /// A key that is slow on an ESP8266, or that it cannot check at all.
    #[error("the certificate {} has a key of kind {kind}, slow or impossible for small nodes: use EC P-256", path.display())]
    SlowKey {
        /// The file.
        path: PathBuf,
        /// Which key.
        kind: super::KeyKind,
    },
    /// A self-signed certificate at the end of the chain: clients have it or they do not trust it.
    #[error("{} sends its root too, {bytes} bytes for nothing: take the last certificate out", path.display())]
    RootSent {
        /// The file.
        path: PathBuf,
        /// What it costs.
        bytes: usize,
    },
    /// The certificate names no host and no address.
    #[error("the certificate {} has no subjectAltName, so most clients refuse it: have it issued anew with its names", path.display())]
    NoNames {
        /// The file.
        path: PathBuf,
    },
    /// Anyone on this machine can read a private key.
    #[error("the private key {} can be read by everyone on this machine: `chmod o-r` it", path.display())]
    KeyOpenToAll {
        /// The file.
        path: PathBuf,
    },
    /// The private leaf should be re-issued, and the disk does not let us.
    #[error("the private certificate in {} could not be re-issued ({reason}), the old one is served: free the disk or let the server's user write there", path.display())]
    NotReissued {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The size of the session cache changed in the settings.
    #[error("`sessions` is taken over at the next start")]
    SessionsAtNextStart,
}

/// One finding of [`check`](super::check).
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// The server would not start, or would keep what it has.
    #[error(transparent)]
    Error(#[from] TlsError),
    /// The server would start.
    #[error(transparent)]
    Warning(#[from] TlsWarning),
}
