//! The token: from the environment or a private file, never from the command line, which every user of a machine can read.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use hyper::header::HeaderValue;

use crate::cli::UsageError;

/// A token is shorter.
const LONGEST: u64 = 4096;

/// The header that shows the token.
pub fn find(file: Option<&Path>) -> anyhow::Result<HeaderValue> {
    let text = match (file, std::env::var("OTATREE_TOKEN")) {
        (Some(file), _) => read(file)?,
        (None, Ok(text)) if !text.trim().is_empty() => text,
        (None, _) => match usual() {
            Some(file) if file.exists() => read(&file)?,
            usual => return Err(none(usual).into()),
        },
    };
    let mut header = HeaderValue::try_from(format!("Bearer {}", text.trim()))
        .ok()
        .filter(|_| !text.trim().contains(char::is_whitespace))
        .context("this is no token: it is one line that begins with otatree_")?;
    header.set_sensitive(true);
    Ok(header)
}

fn usual() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(Path::new(&home).join(".config/otatree/token"))
}

fn none(usual: Option<PathBuf>) -> UsageError {
    let place = usual.map_or_else(
        || "a file that --token-file names".to_owned(),
        |usual| usual.display().to_string(),
    );
    UsageError(format!(
        "--server needs a token: set OTATREE_TOKEN, or write it into {place} (chmod 600)"
    ))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let context = || format!("the token file {} cannot be read", path.display());
    let file = File::open(path).with_context(context)?;
    let mode = file.metadata().with_context(context)?.mode();
    if mode & 0o077 != 0 {
        bail!(
            "the token file {path} may be read by others ({:03o}): chmod 600 {path}, and if others had the time to read it, revoke the token and make a new one",
            mode & 0o777,
            path = path.display()
        );
    }
    let mut text = String::new();
    file.take(LONGEST)
        .read_to_string(&mut text)
        .with_context(context)?;
    Ok(text)
}
