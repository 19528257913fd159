//! `otatree hold` and `otatree release`: the emergency brake, for a folder, an org, or everything.

use std::path::Path;

use hyper::Method;
use otatree::firmware::{Org, Slot};
use serde_json::json;

use super::client::{Client, ServerArgs};
use super::{Exit, images, show};

/// What is held.
#[derive(clap::Args)]
struct Place {
    /// An org, or a folder of it with all below: <org>[/<folder>…]
    #[arg(value_parser = folder, required_unless_present = "all", conflicts_with = "all")]
    folder: Option<Folder>,
    /// Everything that the server gives
    #[arg(long)]
    all: bool,
}

#[derive(Clone)]
enum Folder {
    Org(Org),
    Slot(Slot),
}

fn folder(text: &str) -> Result<Folder, String> {
    let text = text.trim_matches('/');
    match text.contains('/') {
        true => Slot::parse(text)
            .map(Folder::Slot)
            .map_err(|error| error.to_string()),
        false => match text.parse() {
            Ok(org) => Ok(Folder::Org(org)),
            Err(error) => Err(format!("{error}")),
        },
    }
}

impl Place {
    fn path(&self) -> String {
        match &self.folder {
            None => "/hold".to_owned(),
            Some(Folder::Org(org)) => format!("/orgs/{org}/hold"),
            Some(Folder::Slot(slot)) => images::path(slot, "/hold"),
        }
    }

    fn name(&self) -> String {
        match &self.folder {
            None => "everything".to_owned(),
            Some(Folder::Org(org)) => org.to_string(),
            Some(Folder::Slot(slot)) => slot.to_string(),
        }
    }
}

/// Arguments of `hold`.
#[derive(clap::Args)]
pub struct HoldArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    place: Place,
    /// Why, for people
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Arguments of `release`.
#[derive(clap::Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    place: Place,
}

/// Holds it, and says so.
pub fn hold(config: &Path, args: &HoldArgs) -> anyhow::Result<Exit> {
    let client = Client::open(&args.server, config)?;
    let why = json!({ "reason": args.reason });
    client.tell(Method::PUT, &args.place.path(), &why)?;
    show::done(&format!("{} is held", args.place.name()), args.server.json)
}

/// Releases it, and says so.
pub fn release(config: &Path, args: &ReleaseArgs) -> anyhow::Result<Exit> {
    let client = Client::open(&args.server, config)?;
    client.act(Method::DELETE, &args.place.path())?;
    let said = format!("{} is released; other holds stay", args.place.name());
    show::done(&said, args.server.json)
}
