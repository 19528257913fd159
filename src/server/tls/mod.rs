//! TLS for people and tiny nodes: certificates from files, or a private root and leaf of our own.
//!
//! Synchronous: files are read and parsed in [`Tls::open`], [`Tls::reload`] and [`check`] only (an async caller puts
//! those on a blocking thread); a handshake looks at memory. The [`rustls::ServerConfig`]s live as long as the
//! process, so sessions outlive a change of certificates.
//!
//! | file | what lives there |
//! |---|---|
//! | `config` | versions, groups, sessions |
//! | `clients` | the authorities of `client_ca` |
//! | `resolver` | the certificate for a name and a client |
//! | `load` | all that is configured, read and judged at once |
//! | `chain`, `facts`, `files`, `anchor`, `flight` | one pair of files: reading it, and what devices would say of it |
//! | `identity` | the private root and leaf |
//! | `error` | the sentences for the operator |

mod anchor;
mod chain;
mod clients;
mod config;
mod error;
mod facts;
mod files;
mod flight;
mod identity;
mod load;
mod resolver;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};

use crate::firmware::Sha256;
use clients::Clients;
use config::Configs;
use load::Loaded;
use resolver::Resolver;

pub use error::{TlsError, TlsProblem, TlsWarning};
pub use facts::KeyKind;
pub use identity::{IdentityError, Issued, LeafReason, RootFault, arduino_lines};
pub use load::check;

/// Places in the session cache when nothing is configured: a fleet, at about a kilobyte each.
pub const DEFAULT_SESSIONS: usize = 100_000;

/// What config.toml says of TLS. Paths are absolute, or relative to where the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificates with their keys; the first is the default, for clients that name no host or an unknown one.
    /// Empty: a private root and leaf are made.
    pub pairs: Vec<Pair>,
    /// PEM files of roots. The chain that we send must verify against each of them alone.
    pub anchors: Vec<PathBuf>,
    /// PEM files of authorities, each for the listeners that ask their clients for a certificate of one.
    pub client_cas: Vec<PathBuf>,
    /// Further host names and addresses for the private leaf.
    pub names: Vec<String>,
    /// Places in the cache of session ids; 0: none.
    pub sessions: usize,
    /// The folder of the private root and leaf.
    pub identity: PathBuf,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// PEM: the leaf, then who issued it, and so on.
    pub certificate: PathBuf,
    /// PEM: the leaf's private key.
    pub key: PathBuf,
}

/// One served certificate, for pages, logs and `--json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSummary {
    /// Where it was read.
    pub path: PathBuf,
    /// Host names it carries.
    pub names: Vec<String>,
    /// Addresses it carries.
    pub addresses: Vec<IpAddr>,
    /// Its first moment.
    pub not_before: SystemTime,
    /// Its last moment.
    pub not_after: SystemTime,
    /// Whole days left; negative when it is over.
    pub days_left: i64,
    /// Who issued it.
    pub issuer: String,
    /// We made it, under the private root.
    pub ours: bool,
    /// The kind of its key.
    pub key: KeyKind,
    /// Fingerprint of the leaf.
    pub sha256: Sha256,
    /// Bytes of the server's first answer in a full TLS 1.2 handshake.
    pub flight_bytes: usize,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Files with other contents than before, newly named, or no longer named; empty when all is as it was.
    pub changed: Vec<PathBuf>,
    /// What was made under the private root.
    pub issued: Option<Issued>,
    /// What is served now.
    pub certificates: Vec<CertificateSummary>,
    /// What should be known, changed or not.
    pub warnings: Vec<TlsWarning>,
}

/// The TLS side of the server, for the listeners that ask their clients for nothing or for one kind of certificate.
/// Clones share all of it.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
    configs: Arc<Configs>,
}

struct Shared {
    /// By the file of `client_ca`.
    asking: HashMap<PathBuf, Arc<Configs>>,
    loaded: Arc<ArcSwap<Loaded>>,
    settings: Mutex<TlsSettings>,
}

impl Tls {
    /// Reads, checks and, where no certificate is configured, makes all that is needed.
    ///
    /// # Errors
    /// With the first thing that would keep clients away, now and not at the first handshake.
    pub fn open(
        settings: TlsSettings,
        now: SystemTime,
    ) -> Result<(Self, Vec<TlsWarning>), TlsError> {
        let (loaded, warnings) = load::load(&settings, now)?;
        let loaded = Arc::new(ArcSwap::from_pointee(loaded));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(Resolver(loaded.clone()));
        let configs = |clients, sessions| {
            let configs = Configs::new(&resolver, &clients, sessions);
            configs.map(Arc::new).map_err(TlsError::Setup)
        };
        let asks = |path: &PathBuf| -> Result<_, TlsError> {
            let clients = Arc::new(Clients {
                path: path.clone(),
                loaded: loaded.clone(),
            });
            // Without sessions: who resumes one shows no certificate again.
            Ok((path.clone(), configs(clients, 0)?))
        };
        let asking = settings
            .client_cas
            .iter()
            .map(asks)
            .collect::<Result<_, _>>()?;
        let open = configs(WebPkiClientVerifier::no_client_auth(), settings.sessions)?;
        let tls = Self {
            configs: open,
            shared: Arc::new(Shared {
                asking,
                loaded,
                settings: Mutex::new(settings),
            }),
        };
        Ok((tls, warnings))
    }

    /// The same for a listener whose clients show a certificate of an authority in this file, one of `client_cas`.
    #[must_use]
    pub fn asking(&self, client_ca: &Path) -> Option<Self> {
        Some(Self {
            shared: self.shared.clone(),
            configs: self.shared.asking.get(client_ca)?.clone(),
        })
    }

    /// The configuration for a client whose hello is not known yet.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.configs.any.clone()
    }

    /// The configuration for one client ([`rustls::server::Acceptor`], or tokio-rustls' `LazyConfigAcceptor`, gives
    /// the hello): nodes get X25519 by this one only, because rustls follows the client's order of groups.
    #[must_use]
    pub fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        self.configs.suited(hello).clone()
    }

    /// Reads all files anew; connections and sessions stay. Costs about what [`open`](Self::open) does,
    /// under a millisecond for a few certificates.
    ///
    /// # Errors
    /// As [`open`](Self::open); the old certificates stay then.
    pub fn reload(&self, now: SystemTime) -> Result<Reloaded, TlsError> {
        self.reload_with(None, now)
    }

    /// As [`reload`](Self::reload), with new settings, which are kept if they load.
    ///
    /// # Errors
    /// As [`open`](Self::open); the old certificates and settings stay then.
    pub fn reload_settings(
        &self,
        settings: TlsSettings,
        now: SystemTime,
    ) -> Result<Reloaded, TlsError> {
        self.reload_with(Some(settings), now)
    }

    fn reload_with(
        &self,
        settings: Option<TlsSettings>,
        now: SystemTime,
    ) -> Result<Reloaded, TlsError> {
        // Held to the end: two reloads at once must not both issue a leaf.
        let mut kept = self
            .shared
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (loaded, mut warnings) = load::load(settings.as_ref().unwrap_or(&kept), now)?;
        if let Some(settings) = settings {
            if settings.sessions != kept.sessions {
                warnings.push(TlsWarning::SessionsAtNextStart);
            }
            *kept = settings;
        }
        let reloaded = Reloaded {
            changed: loaded.files.changed_since(&self.shared.loaded.load().files),
            issued: loaded.issued.clone(),
            certificates: loaded.summary(now),
            warnings,
        };
        self.shared.loaded.store(Arc::new(loaded));
        Ok(reloaded)
    }

    /// What is served now, the default first.
    #[must_use]
    pub fn summary(&self, now: SystemTime) -> Vec<CertificateSummary> {
        self.shared.loaded.load().summary(now)
    }

    /// The private root in PEM, for sketches; `None` when certificates are configured.
    #[must_use]
    pub fn root_pem(&self) -> Option<String> {
        self.shared.loaded.load().root_pem.clone()
    }

    /// What the last load made under the private root, if anything.
    #[must_use]
    pub fn issued(&self) -> Option<Issued> {
        self.shared.loaded.load().issued.clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
