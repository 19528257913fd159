//! `config.toml`: parsed at the edge into values that cannot be wrong. One option, one place: the command line
//! overrides only which file is read, and the log level.
//!
//! Paths are relative to the file and absolute from here on. Unknown keys are errors with line and column.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("{path}: {source}; give another one with --config FILE")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It is not TOML, or has a key or a value that cannot be.
    #[error("{path}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// With line and column.
        message: String,
    },
}

/// Everything an operator can set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder of images.
    #[serde(default)]
    pub tree: TreeConfig,
    /// What the server keeps for itself.
    #[serde(default)]
    pub state: StateConfig,
    /// Where it listens; at least one.
    pub listen: Vec<ListenConfig>,
    /// Certificates.
    #[serde(default)]
    pub tls: TlsConfig,
    /// Rules that protect devices.
    #[serde(default)]
    pub guards: GuardsConfig,
    /// Caps and deadlines.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The log.
    #[serde(default)]
    pub log: LogConfig,
    /// One section a door.
    #[serde(default)]
    pub doors: DoorsConfig,
    /// Addresses of proxies whose word about a client's address is taken.
    #[serde(default)]
    pub trusted_proxies: Vec<IpNet>,
}

/// `[tree]`
#[derive(Debug, Clone, Deserialize)]
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
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// Identity, caches, kept images.
    pub dir: PathBuf,
    /// Copies of delivered images per slot, beside the one in use.
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
#[derive(Debug, Clone, Deserialize)]
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
}

/// `[tls]`
#[derive(Debug, Clone, Deserialize)]
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
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairConfig {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// `[guards]`
#[derive(Debug, Clone, Deserialize)]
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
#[derive(Debug, Clone, Deserialize)]
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
    /// A peer that acknowledges nothing for so long is dead.
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
#[derive(Debug, Clone, Deserialize)]
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
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoorsConfig {
    /// Frugal-IoT and all Arduino updaters.
    pub frugal_iot: FrugalIotConfig,
}

/// `[doors.frugal_iot]`
#[derive(Debug, Clone, Deserialize)]
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

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or says what cannot be.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let base = absolute.parent().unwrap_or(Path::new("/"));
        Self::parse(&text, base).map_err(|message| ConfigError::Invalid {
            path: path.to_owned(),
            message,
        })
    }

    /// Reads a text whose paths are relative to `base`.
    ///
    /// # Errors
    /// As [`Config::load`], with the sentence alone.
    pub fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let mut config: Self =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        config.check()?;
        config.resolve(base);
        Ok(config)
    }

    /// What parses but cannot be meant.
    fn check(&self) -> Result<(), String> {
        if self.listen.is_empty() {
            return Err("there is no [[listen]] section, so nobody could ask".to_owned());
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err("[tls] needs both certificate and key, or neither".to_owned());
        }
        if self.tls.certificate.is_none() && !self.tls.more.is_empty() {
            return Err("[[tls.more]] needs a first certificate in [tls]: the one for clients that name no host".to_owned());
        }
        for (at, listen) in self.listen.iter().enumerate() {
            if self.listen[..at]
                .iter()
                .any(|other| other.address == listen.address && listen.address.port() != 0)
            {
                return Err(format!(
                    "two [[listen]] sections have the address {}",
                    listen.address
                ));
            }
            if listen.proxy_protocol && self.trusted_proxies.is_empty() {
                return Err(format!(
                    "{} has proxy_protocol, but trusted_proxies is empty: nobody could connect",
                    listen.address
                ));
            }
        }
        for (name, size, least) in [
            ("head_size", self.limits.head_size, ByteSize::kib(8)),
            ("send_buffer", self.limits.send_buffer, ByteSize::kib(8)),
        ] {
            if size < least {
                return Err(format!(
                    "[limits] {name} is {size}; at least {least} is needed"
                ));
            }
        }
        if self.limits.connections == 0 {
            return Err("[limits] connections is 0, so nobody could connect".to_owned());
        }
        if self.tree.sweep.is_zero() || self.tree.poll.is_zero() {
            return Err("[tree] sweep and poll must be longer than 0s".to_owned());
        }
        let prefix = &self.doors.frugal_iot.prefix;
        if prefix.parse::<crate::firmware::Project>().is_err()
            || ["files", "healthz", "readyz"].contains(&prefix.as_str())
        {
            return Err(format!(
                "[doors.frugal_iot] prefix {prefix:?} is no free word: 1 to 64 of [A-Za-z0-9._-]"
            ));
        }
        Ok(())
    }

    fn resolve(&mut self, base: &Path) {
        let resolve = |path: &mut PathBuf| *path = base.join(&*path);
        resolve(&mut self.tree.root);
        resolve(&mut self.state.dir);
        self.tls.certificate.iter_mut().for_each(resolve);
        self.tls.key.iter_mut().for_each(resolve);
        for pair in &mut self.tls.more {
            resolve(&mut pair.certificate);
            resolve(&mut pair.key);
        }
        self.tls.anchors.iter_mut().for_each(resolve);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("/etc/otatree")).unwrap_err()
    }

    const LISTEN: &str = "[[listen]]\naddress = \"[::]:8080\"\n";

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = Config::parse(
            &format!("{LISTEN}[tree]\nroot = \"images\"\n"),
            Path::new("/etc/otatree"),
        )
        .unwrap();
        assert_eq!(config.tree.root, Path::new("/etc/otatree/images"));
        assert_eq!(config.state.dir, Path::new("/etc/otatree/state"));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line() {
        let text = error(&format!("{LISTEN}[tree]\nrooot = \"x\"\n"));
        assert!(
            text.contains("line 4") && text.contains("rooot") && text.contains("root"),
            "{text}"
        );
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for (text, wanted) in [
            ("listen = []", "[[listen]]"),
            (
                &format!("{LISTEN}[tls]\nkey = \"k.pem\"\n"),
                "both certificate and key",
            ),
            (&format!("{LISTEN}{LISTEN}"), "two [[listen]]"),
            (
                &format!("{LISTEN}proxy_protocol = true\n"),
                "trusted_proxies",
            ),
            (
                &format!("{LISTEN}[tree]\nsettle = \"soon\"\n"),
                "no duration",
            ),
            (&format!("{LISTEN}[tree]\nsettle = \"-2s\"\n"), "negative"),
            (
                &format!("{LISTEN}[limits]\nhead_size = \"1 KiB\"\n"),
                "head_size",
            ),
            (
                &format!("{LISTEN}[doors.frugal_iot]\nprefix = \"a/b\"\n"),
                "prefix",
            ),
        ] {
            assert!(error(text).contains(wanted), "{text}: {}", error(text));
        }
    }
}
