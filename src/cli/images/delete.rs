//! `otatree delete`: the images of a kind out of a slot. A copy of each is kept.

use std::path::Path;

use hyper::Method;
use otatree::firmware::Slot;
use serde_json::Value;

use super::{kind, path, slot};
use crate::cli::client::{Client, ServerArgs};
use crate::cli::{Exit, show};

/// Arguments of `delete`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// The slot
    #[arg(value_parser = slot)]
    slot: Slot,
    /// The filesystem image instead of the app
    #[arg(long)]
    filesystem: bool,
}

/// Deletes it, and says which files are gone.
pub fn run(config: &Path, args: &Args) -> anyhow::Result<Exit> {
    let client = Client::open(&args.server, config)?;
    let kind = kind(args.filesystem).to_string();
    let heard = client.act(Method::DELETE, &path(&args.slot, &format!("?kind={kind}")))?;
    show::answer(&heard, args.server.json, |heard| {
        let files = heard.get("files").and_then(Value::as_array);
        let files = files.into_iter().flatten().filter_map(Value::as_str);
        files.map(|file| format!("{file} is gone")).collect()
    })
}
