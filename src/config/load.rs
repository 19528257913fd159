//! From the file to a [`Config`]: parsing, what parses but cannot be meant, and paths.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;

use crate::firmware::{Org, Project};

use super::Config;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("cannot read {path}: correct the path, or give another one with --config FILE")]
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

    /// What parses but cannot be meant, all of it, a line each.
    fn check(&self) -> Result<(), String> {
        let mut wrong: Vec<String> = Vec::new();
        if self.listen.is_empty() {
            wrong.push("there is no [[listen]] section, so nobody could ask".to_owned());
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            wrong.push("[tls] needs both certificate and key, or neither".to_owned());
        }
        if self.tls.certificate.is_none() && !self.tls.more.is_empty() {
            wrong.push("[[tls.more]] needs a first certificate in [tls]: the one for clients that name no host".to_owned());
        }
        for (at, listen) in self.listen.iter().enumerate() {
            if self.listen[..at]
                .iter()
                .any(|other| other.address == listen.address && listen.address.port() != 0)
            {
                wrong.push(format!(
                    "two [[listen]] sections have the address {}",
                    listen.address
                ));
            }
            if listen.client_ca.is_some() && !listen.tls {
                wrong.push(format!(
                    "{} has client_ca, and nobody shows a certificate without tls = true",
                    listen.address
                ));
            }
            if listen.proxy_protocol && self.trusted_proxies.is_empty() {
                wrong.push(format!(
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
                wrong.push(format!(
                    "[limits] {name} is {size}; at least {least} is needed"
                ));
            }
        }
        if self.limits.connections == 0 {
            wrong.push("[limits] connections is 0, so nobody could connect".to_owned());
        }
        if self.tree.sweep.is_zero() || self.tree.poll.is_zero() {
            wrong.push("[tree] sweep and poll must be longer than 0s".to_owned());
        }
        let prefix = &self.doors.frugal_iot.prefix;
        if prefix.parse::<Project>().is_err()
            || ["files", "healthz", "readyz"].contains(&prefix.as_str())
        {
            wrong.push(format!(
                "[doors.frugal_iot] prefix {prefix:?} is no free word: 1 to 64 of [A-Za-z0-9._-]"
            ));
        }
        for org in self.orgs.keys() {
            if let Err(error) = org.parse::<Org>() {
                wrong.push(format!("[orgs.{org}] names no org: {error}"));
            }
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("\n"))
        }
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
        for listen in &mut self.listen {
            listen.client_ca.iter_mut().for_each(resolve);
        }
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
            (&format!("{LISTEN}client_ca = \"c.pem\"\n"), "tls = true"),
            (
                &format!("{LISTEN}[tree]\nsettle = \"soon\"\n"),
                "no duration",
            ),
            (&format!("{LISTEN}[tree]\nsettle = \"-2s\"\n"), "negative"),
            (
                &format!("{LISTEN}[orgs.dev]\npublic_keys = [\"RWQ\"]\n"),
                "second line of its .pub file",
            ),
            (
                &format!("{LISTEN}[orgs.dev]\npublic_keys = []\n"),
                "public_keys is empty",
            ),
            (&format!("{LISTEN}[orgs.\"a/b\"]\n"), "names no org"),
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
