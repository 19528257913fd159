//! `otatree publish`: an image from a file into a slot, looked at before a byte is sent.

use std::fs;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::Serializer;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue, IF_NONE_MATCH};
use indicatif::{ProgressBar, ProgressStyle};
use otatree::firmware::{ImageKind, Sha256, Slot, format};

use super::{done, path, slot};
use crate::cli::client::{Client, Payload, ServerArgs};
use crate::cli::{Exit, FoundWrong, inspect, show};

/// Arguments of `publish`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// An image
    file: PathBuf,
    /// Where: <org>/<project>/<key or node>, or another slot of the tree
    #[arg(value_parser = slot)]
    slot: Slot,
    /// It is a filesystem image (default: by its name)
    #[arg(long)]
    filesystem: bool,
    /// Also over an image for another chip family
    #[arg(long)]
    force_family: bool,
    /// Only if the slot holds no image of this kind yet
    #[arg(long)]
    new: bool,
    /// A name for people
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Its version, where the bytes have none or a wrong one
    #[arg(long, value_name = "TEXT")]
    image_version: Option<String>,
    /// What people should know of it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Its signature [default: <file>.minisig, if it is there]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

/// Looks at the file, sends it, and says what the server made of it.
pub fn run(config: &Path, args: &Args) -> anyhow::Result<Exit> {
    let (bytes, kind) = inspect::read(&args.file, args.filesystem)?;
    if let Err(defect) = format::examine(&bytes, kind) {
        let file = args.file.display();
        let why = format!("{file} is not for devices, and was not sent: {defect}");
        return Err(FoundWrong(why).into());
    }
    let query = query(args, kind)?;
    let client = Client::open(&args.server, config)?;
    let digest = STANDARD.encode(Sha256::of(&bytes).as_bytes());
    let digest = HeaderValue::try_from(format!("sha-256=:{digest}:"))?;
    let mut headers = vec![(HeaderName::from_static("content-digest"), digest)];
    if args.new {
        headers.push((IF_NONE_MATCH, HeaderValue::from_static("*")));
    }
    let bar = bar(bytes.len() as u64);
    let payload = Payload::watched(bytes, bar.clone());
    let to = path(&args.slot, &format!("/image?{query}"));
    let heard = client.send(Method::PUT, &to, &headers, payload);
    bar.finish_and_clear();
    show::answer(&heard?, args.server.json, |heard| done(heard, &args.slot))
}

/// What is said beside the image.
fn query(args: &Args, kind: ImageKind) -> anyhow::Result<String> {
    let mut query = Serializer::new(String::new());
    query.append_pair("kind", &kind.to_string());
    if args.force_family {
        query.append_pair("force_family", "true");
    }
    let texts = [
        ("title", &args.title),
        ("version", &args.image_version),
        ("description", &args.description),
        ("signature", &signature(args)?),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            query.append_pair(name, text);
        }
    }
    Ok(query.finish())
}

fn signature(args: &Args) -> anyhow::Result<Option<String>> {
    let beside = || {
        let mut name = args.file.clone().into_os_string();
        name.push(".minisig");
        PathBuf::from(name)
    };
    let path = args.signature.clone().unwrap_or_else(beside);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound && args.signature.is_none() => Ok(None),
        Err(error) => {
            Err(error).with_context(|| format!("the signature {} cannot be read", path.display()))
        }
    }
}

/// Drawn on a terminal only.
fn bar(length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
