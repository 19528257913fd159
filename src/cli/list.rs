//! `otatree list`: the slots of the tree with their images.

use std::path::PathBuf;

use otatree::config::Config;
use otatree::firmware::{Facts, HoldReason, ImageKind};
use otatree::tree::{Candidate, Folder};
use serde::Serialize;

use super::{Exit, settings, show};

/// Arguments of `list`.
#[derive(clap::Args)]
pub struct Args {
    /// Only slots below this folder of the tree
    below: Option<PathBuf>,
    /// Machine-readable
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    slot: PathBuf,
    kind: ImageKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<HoldReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<Facts>,
    #[serde(skip)]
    text: String,
}

/// Reads the tree and prints it.
pub fn run(config: &Config, args: &Args) -> anyhow::Result<Exit> {
    let catalog = settings::read_tree(config)?;
    let mut rows = Vec::new();
    catalog.visit(|slot, folder| {
        if args
            .below
            .as_deref()
            .is_none_or(|below| slot.starts_with(below))
        {
            rows.extend(
                [ImageKind::Firmware, ImageKind::Filesystem]
                    .into_iter()
                    .filter_map(|kind| row(slot, folder, kind)),
            );
        }
    });
    rows.sort_by(|a, b| (&a.slot, a.kind).cmp(&(&b.slot, b.kind)));
    if args.json {
        show::json(&rows)?;
    } else {
        let lines: Vec<String> = rows
            .iter()
            .map(|row| format!("{}/  {}: {}", row.slot.display(), row.kind, row.text))
            .collect();
        show::lines(&lines)?;
    }
    Ok(Exit::Ok)
}

fn row(slot: &std::path::Path, folder: &Folder, kind: ImageKind) -> Option<Row> {
    let candidate = folder.candidate(kind);
    let (file, withheld, facts) = match candidate {
        Candidate::Absent => return None,
        Candidate::Withheld { reason, file } => {
            (file.as_deref().map(str::to_owned), Some(*reason), None)
        }
        Candidate::Offered(offer) => {
            let name = offer
                .image
                .path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            (name, None, Some(Facts::clone(&offer.image.facts)))
        }
    };
    Some(Row {
        slot: slot.to_owned(),
        kind,
        file,
        withheld,
        facts,
        text: show::candidate(candidate),
    })
}
