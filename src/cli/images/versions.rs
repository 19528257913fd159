//! `otatree versions`: the images that a slot had, as far as copies are kept.

use std::path::Path;

use otatree::firmware::Slot;
use serde_json::Value;

use super::{about, path, slot};
use crate::cli::client::{Client, ServerArgs};
use crate::cli::{Exit, field, rows, show};

/// Arguments of `versions`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// The slot
    #[arg(value_parser = slot)]
    slot: Slot,
}

/// Lists them, the newest first.
pub fn run(config: &Path, args: &Args) -> anyhow::Result<Exit> {
    let client = Client::open(&args.server, config)?;
    let kept = client.get(&path(&args.slot, "/versions"))?;
    show::answer(&kept, args.server.json, |kept| {
        rows(kept).iter().map(line).collect()
    })
}

fn line(version: &Value) -> String {
    let is_current = version.get("current") == Some(&Value::Bool(true));
    format!(
        "{} {}  {}  {}  {}",
        if is_current { ">" } else { " " },
        field(version, "id"),
        field(version, "kept"),
        field(version, "kind"),
        version.get("about").map_or_else(String::new, about),
    )
}
