//! `otatree promote`: from the slot of a node on the desk to that of the fleet, in one step.

use std::path::Path;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue, IF_NONE_MATCH};
use otatree::firmware::{Sha256, Slot};
use serde_json::json;

use super::{done, kind, path, slot};
use crate::cli::client::{Client, Payload, ServerArgs};
use crate::cli::{Exit, UsageError, show};

/// Arguments of `promote`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// The slot that has the image
    #[arg(value_parser = slot)]
    from: Slot,
    /// The slot of the same org that gets it
    #[arg(value_parser = slot)]
    to: Slot,
    /// The filesystem image instead of the app
    #[arg(long)]
    filesystem: bool,
    /// Also over an image for another chip family
    #[arg(long)]
    force_family: bool,
    /// Only if the slot that gets it holds no image of this kind yet
    #[arg(long)]
    new: bool,
    /// Only if this is the image: its SHA-256
    #[arg(long, value_name = "SHA256")]
    image: Option<Sha256>,
}

/// Moves the image, and says what it is.
pub fn run(config: &Path, args: &Args) -> anyhow::Result<Exit> {
    if args.from.org() != args.to.org() {
        let why = "an image is promoted within its org; publish the file to the other one";
        return Err(UsageError(why.to_owned()).into());
    }
    let mut order = json!({
        "to": args.to.below_org(),
        "kind": kind(args.filesystem).to_string(),
        "force_family": args.force_family,
    });
    if let Some(image) = &args.image {
        order["image"] = image.to_string().into();
    }
    let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    if args.new {
        headers.push((IF_NONE_MATCH, HeaderValue::from_static("*")));
    }
    let client = Client::open(&args.server, config)?;
    let payload = Payload::whole(order.to_string());
    let heard = client.send(
        Method::POST,
        &path(&args.from, "/promote"),
        &headers,
        payload,
    )?;
    show::answer(&heard, args.server.json, |heard| done(heard, &args.to))
}
