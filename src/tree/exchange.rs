//! How files are exchanged in the folder of a slot.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::disk::{self, Draft};
use crate::firmware::{Facts, ImageKind, Slot, Stamp};

use super::beside::ENDS;
use super::catalog::{Folder, Known};
use super::change::{Expect, Notes, PublishError};
use super::read::{self, Root};
use super::{names, slots};

/// Less what the process masks: people of the group may change what others have published.
pub(super) const MODE: u32 = 0o664;

/// An image that takes a place.
pub(super) struct Placing<'a> {
    pub slot: &'a Slot,
    pub kind: ImageKind,
    pub draft: Draft,
    pub facts: Arc<Facts>,
    pub name: &'static str,
    pub notes: Notes,
    pub signature: Option<&'a str>,
    pub force_family: bool,
    /// Neither its age nor that of its signature holds it.
    pub ordered: bool,
    pub expect: Expect,
}

/// Exchanges the files. The image itself is the last but for what would be given instead of it, so that whoever is
/// killed in between leaves the old image or the new one.
pub(super) fn place(
    root: &Root,
    before: &Folder,
    placing: Placing<'_>,
) -> Result<Stamp, PublishError> {
    let (rel, name, kind) = (placing.slot.folder(), placing.name, placing.kind);
    let folder = root.path.join(&rel);
    let failed = |error| PublishError::of(&rel, error);
    let beside = |end: &str| folder.join(format!("{name}{end}"));
    let note = placing.notes.text()?;
    let mut drafts = Vec::new();
    for (end, text) in [(".toml", note.as_deref()), (".minisig", placing.signature)] {
        if let Some(text) = text {
            let mut draft = Draft::beside(&beside(end), MODE).map_err(failed)?;
            draft.write_all(text.as_bytes()).map_err(failed)?;
            draft.sync().map_err(failed)?;
            drafts.push((end, draft));
        }
    }
    if placing.expect != Expect::Any && has_changed(&folder, before, kind) {
        let now = slots::revision(before);
        return Err(PublishError::Changed { now });
    }
    // What is said of the old image is not true of the new one.
    for end in ENDS {
        match drafts.iter().position(|(of, _)| *of == end) {
            Some(at) => drafts.swap_remove(at).1.commit().map(drop),
            None => remove(&beside(end)),
        }
        .map_err(failed)?;
    }
    let file = placing
        .draft
        .towards(&folder.join(name))
        .commit()
        .map_err(failed)?;
    let stamp = read::stamp(&file.metadata().map_err(failed)?);
    for other in rivals(before, kind, name) {
        take_away(&folder, &other.name).map_err(failed)?;
    }
    disk::sync_folder(&folder).map_err(failed)?;
    Ok(stamp)
}

/// A file was put over another by somebody else, since the folder was looked at.
fn has_changed(folder: &Path, before: &Folder, kind: ImageKind) -> bool {
    let stamp =
        |file: &Known| fs::metadata(folder.join(&*file.name)).map(|meta| read::stamp(&meta));
    let mut files = before.files.iter().filter(|file| file.kind == kind);
    files.any(|file| stamp(file).ok() != Some(file.stamp))
}

/// The files that would be given instead of a new one of this name, or might be.
fn rivals<'a>(folder: &'a Folder, kind: ImageKind, name: &str) -> impl Iterator<Item = &'a Known> {
    let rank = match names::role(name) {
        names::Role::Candidate(_, rank) => rank,
        names::Role::Note | names::Role::Sum | names::Role::Policy | names::Role::Other => u8::MAX,
    };
    let files = folder.files.iter();
    files.filter(move |file| file.kind == kind && file.rank <= rank && *file.name != *name)
}

/// Removes an image, and then what lies beside it.
pub(super) fn take_away(folder: &Path, name: &str) -> io::Result<()> {
    remove(&folder.join(name))?;
    for end in ENDS {
        remove(&folder.join(format!("{name}{end}")))?;
    }
    Ok(())
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
