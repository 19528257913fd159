//! The server of this machine: by its control socket, or, where none runs, by its own routes in this process.

use std::fmt;
use std::fs::{self, File};
use std::future;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use otatree::config::Config;
use otatree::doors::people::api::Api;
use otatree::health::Board;
use otatree::server::control;
use otatree::tree::Tree;

use super::Stream;
use super::remote::Remote;
use crate::cli::{console, people, settings, state};

/// For a server that starts, or another command that has the folder in hand.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks.
const BREATH: Duration = Duration::from_millis(20);

/// Bytes under way between the two ends in this process.
const PIPE: usize = 64 * 1024;

/// How the server is reached.
pub enum Way {
    /// Over the network.
    Remote(Remote),
    /// By the control socket of this state folder.
    Socket(PathBuf),
    /// Nothing runs: by the same routes, with the state folder locked as long as this lives.
    Here(
        Api,
        #[allow(dead_code, reason = "held, and let go at the end")] File,
    ),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(remote) => f.write_str(&remote.authority),
            Self::Socket(dir) => write!(f, "the server of {}", dir.display()),
            Self::Here(..) => f.write_str("otatree"),
        }
    }
}

impl Way {
    /// As `Host:` has it.
    pub fn host(&self) -> &str {
        match self {
            Self::Remote(remote) => &remote.authority,
            Self::Socket(_) | Self::Here(..) => "localhost",
        }
    }

    /// A connection for one request.
    pub async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        match self {
            Self::Remote(remote) => remote.connect().await,
            Self::Socket(dir) => {
                let stream = control::connect(dir).await;
                Ok(Box::new(stream.with_context(|| format!("{self} ended"))?))
            }
            Self::Here(api, _) => {
                let (ours, theirs) = tokio::io::duplex(PIPE);
                let routes = console::service(api.clone());
                tokio::spawn(control::converse(theirs, routes, future::pending()));
                Ok(Box::new(ours))
            }
        }
    }
}

/// The control socket, else the lock; else somebody is about to offer the one or to let go of the other.
pub async fn way(config: Config) -> anyhow::Result<Way> {
    let dir = config.state.dir.clone();
    let end = Instant::now() + PATIENCE;
    loop {
        match control::connect(&dir).await {
            Ok(_) => return Ok(Way::Socket(dir)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let cure = format!("run this {}, or with --server and a token", as_whom(&dir));
                return Err(error).with_context(|| {
                    format!("the state folder {} is not yours; {cure}", dir.display())
                });
            }
            Err(_) => {}
        }
        must_be_ours(&dir)?;
        if let Some(lock) = state::try_lock(&dir)? {
            return Ok(Way::Here(alone(&config)?, lock));
        }
        if Instant::now() > end {
            bail!(
                "another otatree has the state folder {} and does not answer on its control socket; look into its log, or stop it",
                dir.display()
            );
        }
        tokio::time::sleep(BREATH).await;
    }
}

/// The routes as a server has them, over the database and the tree of the configuration.
fn alone(config: &Config) -> anyhow::Result<Api> {
    let people = people::open(&config.state.dir)?;
    let tree = Tree::start(settings::tree(config), &Arc::new(Board::new()))?;
    let office = people::office(config, Ok(people), tree);
    Ok(people::api(config, office))
}

/// What root or another user wrote there the server could not read at its next start.
fn must_be_ours(dir: &Path) -> anyhow::Result<()> {
    let Ok(folder) = fs::metadata(dir) else {
        return Ok(());
    };
    if folder.uid() != rustix::process::geteuid().as_raw() {
        bail!(
            "no server runs on the state folder {}, and it belongs to another user; run this {}, or start the server",
            dir.display(),
            as_whom(dir)
        );
    }
    Ok(())
}

fn as_whom(dir: &Path) -> String {
    match fs::metadata(dir) {
        Ok(folder) => format!("as its user (sudo -u '#{}' otatree …)", folder.uid()),
        Err(_) => "as the server's user or as root".to_owned(),
    }
}
