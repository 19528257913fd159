//! `otatree inspect FILE`: what the bytes say, and every hash that a device which runs it may report.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use otatree::firmware::format::{Finding, Report};
use otatree::firmware::{Facts, ImageKind};

use super::{Exit, show};

/// Arguments of `inspect`.
#[derive(clap::Args)]
pub struct Args {
    /// An image
    file: PathBuf,
    /// Read it as a filesystem image (default: by its name)
    #[arg(long)]
    filesystem: bool,
    /// Machine-readable
    #[arg(long)]
    json: bool,
}

/// The bytes of a file and what they are for: by its name, if nobody says it.
pub fn read(file: &Path, filesystem: bool) -> anyhow::Result<(Vec<u8>, ImageKind)> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let filesystem = filesystem
        || ["littlefs.bin", "spiffs.bin", "fatfs.bin"]
            .iter()
            .any(|end| name.ends_with(end));
    let kind = if filesystem {
        ImageKind::Filesystem
    } else {
        ImageKind::Firmware
    };
    Ok((bytes, kind))
}

/// Reads the file and prints what it is.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let (bytes, kind) = read(&args.file, args.filesystem)?;
    let report = Report::of(&bytes, kind);
    let exit = match report.finding {
        Finding::Facts(_) => Exit::Ok,
        Finding::Defect(_) => Exit::Problems,
    };
    if args.json {
        show::json(&report)?
    } else {
        show::lines(&text(&report))?
    }
    Ok(exit)
}

fn family(facts: &Facts) -> String {
    match facts.espressif_sdk {
        true => format!(
            "{}, by an SDK of Espressif: not for Arduino nodes",
            facts.family
        ),
        false => facts.family.to_string(),
    }
}

fn text(report: &Report) -> Vec<String> {
    let facts = match &report.finding {
        Finding::Defect(defect) => return vec![format!("not for devices: {defect}")],
        Finding::Facts(facts) => facts,
    };
    let line = |name: &str, value: String| format!("{name:<10} {value}");
    let mut lines = vec![
        line("kind", report.kind.to_string()),
        line("family", family(facts)),
        line("version", facts.version_or_id()),
    ];
    lines.extend(
        facts
            .title
            .iter()
            .map(|title| line("title", title.to_string())),
    );
    lines.push(line("size", format!("{} bytes", facts.size)));
    lines.extend(
        facts
            .inflated_size
            .map(|size| line("inflated", format!("{size} bytes"))),
    );
    lines.extend(
        facts
            .flash_size
            .map(|size| line("flash", format!("made for {size} bytes"))),
    );
    lines.push(line(
        "signed",
        (if facts.signed { "yes" } else { "no" }).to_owned(),
    ));
    let whole = if facts.proves_whole {
        "proved by its bytes"
    } else {
        "not proved by its bytes: rename it into place, or lay its .sha256 beside it"
    };
    lines.push(line("whole", whole.to_owned()));
    lines.push(line("md5", facts.md5.to_string()));
    lines.push(line("sha256", facts.sha256.to_string()));
    lines.push("a device that runs it may report".to_owned());
    lines.extend(
        facts
            .identities
            .md5
            .iter()
            .map(|md5| line("  md5", md5.to_string())),
    );
    lines.extend(
        facts
            .identities
            .sha256
            .iter()
            .map(|sha256| line("  sha256", sha256.to_string())),
    );
    lines
}
