//! `otatree device`: secrets that devices show, for orgs that ask for them.

use std::path::Path;

use clap::Subcommand;
use hyper::Method;
use otatree::firmware::{NodeId, Org};
use serde_json::{Value, json};

use super::field;
use crate::cli::client::{Client, ServerArgs};
use crate::cli::{Exit, show};

/// Arguments of `device`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Secrets of devices
    Secret {
        #[command(subcommand)]
        what: Secret,
    },
}

#[derive(Subcommand)]
enum Secret {
    /// Give a device a new secret, shown this once; the old one is dead
    Add {
        /// <org>/<node>
        #[arg(value_parser = device, value_name = "DEVICE")]
        device: Device,
    },
    /// Remove a device's secret
    Remove {
        /// <org>/<node>
        #[arg(value_parser = device, value_name = "DEVICE")]
        device: Device,
    },
    /// Make an org ask all its devices for a secret
    Require {
        org: Org,
        /// No longer
        #[arg(long)]
        off: bool,
    },
    /// Say whether an org asks, and which of its devices have a secret
    List { org: Org },
}

#[derive(Debug, Clone)]
struct Device(Org, NodeId);

fn device(text: &str) -> Result<Device, String> {
    let (org, node) = text.split_once('/').ok_or("a device is <org>/<node>")?;
    let org = org.parse().map_err(|error| format!("{error}"))?;
    let node = node.parse().map_err(|error| format!("{error}"))?;
    Ok(Device(org, node))
}

/// Does it, and says what was done.
pub fn run(config: &Path, args: &Args) -> anyhow::Result<Exit> {
    let client = Client::open(&args.server, config)?;
    let json = args.server.json;
    let What::Secret { what } = &args.what;
    match what {
        Secret::Add {
            device: Device(org, node),
        } => {
            let made = client.act(Method::POST, &format!("/orgs/{org}/devices/{node}"))?;
            show::answer(&made, json, |made| vec![field(made, "secret").to_owned()])
        }
        Secret::Remove {
            device: Device(org, node),
        } => {
            client.act(Method::DELETE, &format!("/orgs/{org}/devices/{node}"))?;
            show::done(&format!("{org}/{node} has no secret"), json)
        }
        Secret::Require { org, off } => {
            let rule = json!({ "required": !off });
            client.tell(Method::PUT, &format!("/orgs/{org}/devices"), &rule)?;
            let does = if *off {
                "asks its devices for no secret"
            } else {
                "asks its devices for a secret"
            };
            show::done(&format!("{org} {does}"), json)
        }
        Secret::List { org } => {
            let rules = client.get(&format!("/orgs/{org}/devices"))?;
            show::answer(&rules, json, lines)
        }
    }
}

fn lines(rules: &Value) -> Vec<String> {
    let asks = rules.get("required") == Some(&Value::Bool(true));
    let mut lines = vec![format!("required: {}", if asks { "yes" } else { "no" })];
    let nodes = rules.get("nodes").and_then(Value::as_array);
    lines.extend(
        nodes
            .into_iter()
            .flatten()
            .filter_map(|node| Some(node.as_str()?.to_owned())),
    );
    lines
}
