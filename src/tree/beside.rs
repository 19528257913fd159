//! The small files beside an image: its note and its sums; and the policy of a folder.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::firmware::{Order, POLICY_FILE, Policy, Stamp, Word};

use super::catalog::Beside;
use super::read;

/// Nobody writes more than this beside an image.
pub(super) const LARGEST_BESIDE: u64 = 64 * 1024;

/// `<image>.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    title: Option<Box<str>>,
    version: Option<Box<str>>,
    description: Option<Box<str>>,
}

/// The names of all small files beside an image end in these.
pub(super) const ENDS: [&str; 4] = [".toml", ".md5", ".sha256", ".minisig"];

/// The text of `<image>.minisig`, where there is one that can be read.
pub(super) fn signature(image: &Path) -> Option<Box<str>> {
    let mut path = image.as_os_str().to_owned();
    path.push(".minisig");
    let mut text = String::new();
    let file = read::open(Path::new(&path)).ok()?;
    file.take(LARGEST_BESIDE).read_to_string(&mut text).ok()?;
    Some(text.into())
}

/// The text of a small file; `None` when it is gone.
fn read_small(path: &Path) -> Result<Option<String>, String> {
    let unreadable = |error: io::Error| format!("it cannot be read ({error})");
    match fs::metadata(path) {
        Ok(meta) if meta.len() > LARGEST_BESIDE => Err(format!(
            "it has {} bytes, too many for what it is",
            meta.len()
        )),
        Ok(_) => {
            let mut text = String::new();
            read::open(path)
                .and_then(|file| file.take(LARGEST_BESIDE).read_to_string(&mut text))
                .map_err(unreadable)?;
            Ok(Some(text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error)),
    }
}

/// Reads the policy of a folder.
///
/// # Errors
/// What is wrong with it, in words for people.
fn read_policy(folder: &Path) -> Result<Policy, String> {
    match read_small(&folder.join(POLICY_FILE))? {
        Some(text) => Policy::parse(&text).map_err(|error| error.to_string()),
        None => Err("it vanished while it was read".to_owned()),
    }
}

/// Reads one small file beside an image.
///
/// # Errors
/// What is wrong with it, in words for people.
pub fn read_beside(folder: &Path, name: &str, beside: &mut Beside) -> Result<(), String> {
    let Some(text) = read_small(&folder.join(name))? else {
        return Ok(());
    };
    // `md5sum` and `sha256sum` write the sum first, then the name.
    let sum = text.split_whitespace().next().unwrap_or_default();
    if name.ends_with(".md5") {
        beside.md5 = Some(
            sum.parse()
                .map_err(|error| format!("it holds no MD5 sum ({error})"))?,
        );
    } else if name.ends_with(".sha256") {
        beside.sha256 = Some(
            sum.parse()
                .map_err(|error| format!("it holds no SHA-256 sum ({error})"))?,
        );
    } else if name.ends_with(".minisig") {
        beside.signature = Some(text.into());
    } else {
        let note: Note =
            toml::from_str(&text).map_err(|error| error.to_string().trim().replace('\n', " "))?;
        beside.title = note.title;
        beside.version = note.version;
        beside.description = note.description;
    }
    Ok(())
}

/// The policy of a folder, read from a file with this stamp.
#[must_use]
pub fn order(folder: &Path, rel: &Path, stamp: Stamp) -> (Stamp, Arc<Order>) {
    let word = read_policy(folder).map_or_else(|why| Word::Bad(why.into()), Word::Policy);
    let file = rel.join(POLICY_FILE).into();
    (stamp, Arc::new(Order { file, word }))
}

/// Reads the policy of one folder alone; `None` where there is none. What is no plain file is left to [`read::read_folder`].
#[must_use]
pub fn read_order(root: &read::Root, rel: &Path) -> Option<(Stamp, Arc<Order>)> {
    let path = root.path.join(rel);
    read::inode_within(root, &path).ok()?;
    let meta = fs::symlink_metadata(path.join(POLICY_FILE)).ok()?;
    if meta.is_dir() {
        return None;
    }
    if meta.is_file() {
        return Some(order(&path, rel, read::stamp(&meta)));
    }
    let reading = read::read_folder(root, rel).ok()?;
    reading.order
}
