//! `config.toml`: parsed at the edge into values that cannot be wrong. One option, one place: the command line
//! overrides only which file is read, and the log level.
//!
//! Paths are relative to the file and absolute from here on. Unknown keys are errors with line and column.
//!
//! | file | what lives there |
//! |---|---|
//! | `sections` | one struct a section, with its defaults |
//! | `load` | reading the file, what parses but cannot be meant, paths |
//!
//! The shipped `config.toml` names every option with its default; a test holds the two together.

mod load;
mod sections;

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Deserialize;

pub use load::ConfigError;
pub use sections::{
    DoorsConfig, FrugalIotConfig, GuardsConfig, Level, LimitsConfig, ListenConfig, LogConfig,
    LogFormat, OrgConfig, PairConfig, StateConfig, TlsConfig, TreeConfig,
};

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
    /// One section an org that has settings of its own.
    #[serde(default)]
    pub orgs: BTreeMap<String, OrgConfig>,
    /// Addresses of proxies whose word about a client's address is taken.
    #[serde(default)]
    pub trusted_proxies: Vec<IpNet>,
}
