//! Folders for slots: made where they are missing, and never through a link.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::firmware::Slot;

use super::change::PublishError;
use super::names;
use super::read::Root;

/// Less what the process masks. The kernel passes the group and the setgid bit of the folder above on.
const MODE: u32 = 0o775;

/// Folders that were made for an order. Dropped without [`Made::stay`], those that are still empty are gone.
#[derive(Debug, Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    /// They are needed.
    pub(super) fn stay(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // One that is not empty is somebody else's, too.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Makes the folders of a slot.
///
/// SECURITY: a folder that is a link is refused, wherever it leads: behind it may be the slot of another org.
///
/// # Errors
/// When one of them is a link or a file, has a name that the tree does not serve, or cannot be made.
pub(super) fn make(root: &Root, slot: &Slot) -> Result<Made, PublishError> {
    let mut made = Made::default();
    let mut rel = PathBuf::new();
    for word in slot.words() {
        rel.push(word);
        let path = root.path.join(&rel);
        check_name(word, &rel)?;
        match create(&path) {
            // An org is there as soon as its folder is, and stays.
            Ok(true) if rel.components().count() == 1 => {}
            Ok(true) => made.0.push(path),
            Ok(false) => check(&path, &rel)?,
            Err(error) => return Err(PublishError::of(&rel, error)),
        }
    }
    Ok(made)
}

/// The folder of a slot; where it is missing, the nearest one above it.
///
/// # Errors
/// As [`make`].
pub(super) fn nearest(root: &Root, slot: &Slot) -> Result<PathBuf, PublishError> {
    let mut nearest = PathBuf::new();
    for word in slot.words() {
        let rel = nearest.join(word);
        check_name(word, &rel)?;
        let path = root.path.join(&rel);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            _ => check(&path, &rel)?,
        }
        nearest = rel;
    }
    Ok(nearest)
}

/// Says whether the folder is new.
fn create(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(MODE).create(path) {
        Ok(()) => {
            path.parent().map_or(Ok(()), disk::sync_folder)?;
            Ok(true)
        }
        // On a file system that may not be written, what is there is there all the same.
        Err(_) if fs::symlink_metadata(path).is_ok() => Ok(false),
        Err(error) => Err(error),
    }
}

fn check_name(word: &str, rel: &Path) -> Result<(), PublishError> {
    if names::is_invisible(word) {
        let (path, why) = (
            rel.to_owned(),
            "is a name that the tree does not serve: choose another",
        );
        return Err(PublishError::Refused { path, why });
    }
    Ok(())
}

fn check(path: &Path, rel: &Path) -> Result<(), PublishError> {
    let refused = |why| {
        let path = rel.to_owned();
        Err(PublishError::Refused { path, why })
    };
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(meta) if meta.is_symlink() => {
            refused("is a link: use the slot that it leads to, or put a folder in its place")
        }
        Ok(_) => refused("is not a folder: remove it, or choose another name"),
        Err(error) => Err(PublishError::of(rel, error)),
    }
}
