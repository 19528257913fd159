//! The sections of `config.toml`, one struct each, with their defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer};

use crate::firmware::Keys;

/// `[tree]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TreeConfig {
    /// The root.
    pub root: PathBuf,
    /// A folder must be quiet for so long before a new file in it is offered.
    #[serde(deserialize_with = "duration")]
    pub settle: Duration,
    /// A removal counts after so long.
    #[serde(deserialize_with = "duration")]
    pub removal_grace: Duration,
    /// A file that cannot prove that it is whole is offered after so long without a change.
    #[serde(deserialize_with = "duration")]
    pub quiet: Duration,
    /// All folders are looked at this often even where changes are reported.
    #[serde(deserialize_with = "duration")]
    pub sweep: Duration,
    /// The same where no changes are reported.
    #[serde(deserialize_with = "duration")]
    pub poll: Duration,
    /// Larger files are not images.
    pub largest_image: ByteSize,
    /// Images held in memory at once, at most; others are read as they are sent.
    pub memory: ByteSize,
}

impl Default for TreeConfig {
    fn default() -> Self {
        Self {
            root: "ota".into(),
            settle: Duration::from_secs(2),
            removal_grace: Duration::from_secs(60),
            quiet: Duration::from_secs(60),
            sweep: Duration::from_secs(600),
            poll: Duration::from_secs(30),
            largest_image: ByteSize::mib(32),
            memory: ByteSize::mib(32),
        }
    }
}

/// `[state]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// Identity, caches, kept images.
    pub dir: PathBuf,
    /// Copies of images per slot and kind, beside the one in use.
    pub keep_previous: usize,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            dir: "state".into(),
            keep_previous: 5,
        }
    }
}

/// `[[listen]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// Address and port; `[::]` is IPv6 and IPv4.
    pub address: SocketAddr,
    /// HTTPS.
    #[serde(default)]
    pub tls: bool,
    /// Connections begin with a PROXY protocol v2 header; only `trusted_proxies` may connect.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// PEM authorities; only clients with a certificate of theirs may connect.
    pub client_ca: Option<PathBuf>,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM chain, leaf first; with `key`.
    pub certificate: Option<PathBuf>,
    /// PEM private key; with `certificate`.
    pub key: Option<PathBuf>,
    /// Further certificates, chosen by the name that the client asks for.
    pub more: Vec<PairConfig>,
    /// PEM roots; what we send must verify against each alone.
    pub anchors: Vec<PathBuf>,
    /// Further names and addresses for the certificate that we make ourselves.
    pub names: Vec<String>,
    /// Sessions that can be resumed by id.
    pub sessions: usize,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            more: Vec::new(),
            anchors: Vec::new(),
            names: Vec::new(),
            sessions: 100_000,
        }
    }
}

/// `[[tls.more]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairConfig {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// `[guards]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardsConfig {
    /// Complete downloads without effect after which an image is held; 0 is off.
    #[serde(rename = "loop")]
    pub loop_limit: u32,
}

impl Default for GuardsConfig {
    fn default() -> Self {
        Self { loop_limit: 3 }
    }
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Downloads at once; beyond, devices hear 304. 0 is no limit.
    pub downloads_at_once: usize,
    /// Time for a TLS handshake.
    #[serde(deserialize_with = "duration")]
    pub handshake: Duration,
    /// Time for the head of a request, and for silence between two.
    #[serde(deserialize_with = "duration")]
    pub head: Duration,
    /// Size of the head of a request.
    pub head_size: ByteSize,
    /// Time in which the head of an answer leaves.
    #[serde(deserialize_with = "duration")]
    pub answer: Duration,
    /// A peer that takes nothing of its download for so long is dead.
    #[serde(deserialize_with = "duration")]
    pub dead_peer: Duration,
    /// Downloads above which each is given `send_buffer` only.
    pub wide_downloads: usize,
    /// Kernel memory for what is sent on one connection, when there are many.
    pub send_buffer: ByteSize,
    /// Time for running downloads when the server ends.
    #[serde(deserialize_with = "duration")]
    pub drain: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 20_000,
            downloads_at_once: 200,
            handshake: Duration::from_secs(30),
            head: Duration::from_secs(30),
            head_size: ByteSize::kib(16),
            answer: Duration::from_secs(3),
            dead_peer: Duration::from_secs(150),
            wide_downloads: 128,
            send_buffer: ByteSize::kib(64),
            drain: Duration::from_secs(30),
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// What is worth a line.
    pub level: Level,
    /// How it is written.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: Level::Info,
            format: LogFormat::Text,
        }
    }
}

/// `level` of `[log]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Only what needs a person.
    Error,
    /// And what may need one.
    Warn,
    /// And what a person may want to know.
    Info,
    /// And every poll.
    Debug,
    /// And everything.
    Trace,
}

/// `format` of `[log]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// `[doors]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoorsConfig {
    /// Frugal-IoT and all Arduino updaters.
    pub frugal_iot: FrugalIotConfig,
}

/// `[doors.frugal_iot]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrugalIotConfig {
    /// The door is open.
    pub enabled: bool,
    /// First word of its paths.
    pub prefix: String,
    /// Orgs that are served to this machine only.
    pub loopback_only: Vec<String>,
}

impl Default for FrugalIotConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            prefix: "ota_update".to_owned(),
            loopback_only: vec!["demo".to_owned()],
        }
    }
}

/// `[orgs.<org>]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrgConfig {
    /// Public keys of minisign; with any, an image without a valid signature is withheld.
    #[serde(deserialize_with = "keys")]
    pub public_keys: Option<Arc<Keys>>,
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Keys>>, D::Error> {
    Keys::deserialize(deserializer).map(|keys| Some(Arc::new(keys)))
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |why: String| {
        serde::de::Error::custom(format!(
            "{text:?} is no duration such as \"2s\" or \"1h 30m\"{why}"
        ))
    };
    let signed: SignedDuration = text.parse().map_err(|error| wrong(format!(" ({error})")))?;
    Duration::try_from(signed).map_err(|_| wrong(": it is negative".to_owned()))
}
