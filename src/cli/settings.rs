//! From the configuration to what each room wants to know.

use std::sync::Arc;

use anyhow::Context;
use otatree::config::Config;
use otatree::desk::Rules;
use otatree::firmware::Guards;
use otatree::server::tls::{Pair, TlsSettings};
use otatree::tree::{Catalog, OrgKeys, Patience, Settings, Tree};

/// What the tree wants to know.
pub fn tree(config: &Config) -> Settings {
    let tree = &config.tree;
    let frugal_iot = &config.doors.frugal_iot;
    Settings {
        root: tree.root.clone(),
        state: config.state.dir.clone(),
        patience: Patience {
            settle: tree.settle,
            removal_grace: tree.removal_grace,
            quiet: tree.quiet,
        },
        sweep: tree.sweep,
        poll: tree.poll,
        largest_image: tree.largest_image.as_u64(),
        memory: tree.memory.as_u64(),
        keys: keys(config),
        prefix: frugal_iot
            .enabled
            .then(|| frugal_iot.prefix.as_str().into()),
        keep_previous: config.state.keep_previous,
        live: true,
    }
}

/// The public keys of the orgs.
pub fn keys(config: &Config) -> OrgKeys {
    let orgs = config.orgs.iter();
    orgs.filter_map(|(org, settings)| Some((org.clone(), settings.public_keys.clone()?)))
        .collect()
}

/// What the desk wants to know.
pub fn rules(config: &Config) -> Rules {
    Rules {
        guards: Guards {
            loop_limit: config.guards.loop_limit,
        },
        downloads_at_once: config.limits.downloads_at_once,
        answer: config.limits.answer,
    }
}

/// What the TLS room wants to know; `None` when nobody listens for it.
pub fn tls(config: &Config) -> Option<TlsSettings> {
    if !config.listen.iter().any(|listen| listen.tls) {
        return None;
    }
    let tls = &config.tls;
    let first = tls
        .certificate
        .clone()
        .zip(tls.key.clone())
        .map(|(certificate, key)| Pair { certificate, key });
    let more = tls.more.iter().map(|pair| Pair {
        certificate: pair.certificate.clone(),
        key: pair.key.clone(),
    });
    Some(TlsSettings {
        pairs: first.into_iter().chain(more).collect(),
        anchors: tls.anchors.clone(),
        client_cas: config
            .listen
            .iter()
            .filter_map(|listen| listen.client_ca.clone())
            .collect(),
        names: tls.names.clone(),
        sessions: tls.sessions,
        identity: config.state.dir.join("identity"),
    })
}

/// The tree as it is on disk, for the commands that need no server.
pub fn read_tree(config: &Config) -> anyhow::Result<Arc<Catalog>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime
        .block_on(Tree::read_once(tree(config)))
        .with_context(|| format!("the tree {} cannot be read", config.tree.root.display()))
}
