//! `otatree rollback`: an earlier image of a slot back into it.

use std::path::Path;

use hyper::Method;
use otatree::firmware::{Sha256, Slot};
use serde_json::json;

use super::{done, kind, path, slot};
use crate::cli::client::{Client, ServerArgs};
use crate::cli::{Exit, show};

/// Arguments of `rollback`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// The slot
    #[arg(value_parser = slot)]
    slot: Slot,
    /// The kept image, as `versions` shows it [default: the one before]
    #[arg(long, value_name = "SHA256")]
    to: Option<Sha256>,
    /// The filesystem image instead of the app
    #[arg(long)]
    filesystem: bool,
}

/// Puts it back, and says what it is.
pub fn run(config: &Path, args: &Args) -> anyhow::Result<Exit> {
    let mut order = json!({ "kind": kind(args.filesystem).to_string() });
    if let Some(id) = &args.to {
        order["id"] = id.to_string().into();
    }
    let client = Client::open(&args.server, config)?;
    let heard = client.tell(Method::POST, &path(&args.slot, "/rollback"), &order)?;
    show::answer(&heard, args.server.json, |heard| done(heard, &args.slot))
}
