//! Files that are whole or not there, on a disk that may be full and a machine that may be switched off at any instant.
//!
//! A [`Draft`] is written beside its place under a hidden name, which no tree serves, and renamed into its place at the
//! end: a reader sees the old bytes or the new ones. Dropped without [`Draft::commit`] it is gone. The temporary file is
//! `tempfile`'s; what is added here is that all of it is on disk before it counts.

use std::fs::{self, File, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tempfile::NamedTempFile;

/// Hidden names begin with this.
const HIDDEN: &str = ".otatree.";

/// Those of this process go on with letters of its own: a clock alone does not tell them from what another one left.
static OURS: LazyLock<String> =
    LazyLock::new(|| format!("{HIDDEN}{:x}.", RandomState::new().build_hasher().finish()));

/// A file that is being written.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// Begins a file that will be `path`. It has this mode, less what the process masks, from its first moment on.
    ///
    /// # Errors
    /// When no file can be made in the folder of `path`.
    pub fn beside(path: &Path, mode: u32) -> io::Result<Self> {
        let file = tempfile::Builder::new()
            .prefix(OURS.as_str())
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder_of(path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// It will be `path`, in a folder of the same file system, whatever was said before.
    #[must_use]
    pub fn towards(self, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            ..self
        }
    }

    /// What was written so far is on disk: the last chance to hear that there is no room.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn sync(&self) -> io::Result<()> {
        self.file.as_file().sync_all()
    }

    /// Everything that was written, read back from its file; all of it is on disk then.
    ///
    /// # Errors
    /// When the disk did not take it, or does not give it back.
    pub fn read_back(&mut self) -> io::Result<Vec<u8>> {
        self.sync()?;
        let file = self.file.as_file_mut();
        let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Puts it in its place, over whatever file is there; afterwards it outlives a loss of power. Gives the open file.
    ///
    /// # Errors
    /// When the disk does not take it. Unless the very last step failed, what was there before still is.
    pub fn commit(self) -> io::Result<File> {
        self.sync()?;
        let file = self.file.persist(&self.path).map_err(|error| error.error)?;
        sync_folder(folder_of(&self.path))?;
        Ok(file)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// Puts bytes that are at hand in their place.
///
/// # Errors
/// When the disk does not take them.
pub fn place(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut draft = Draft::beside(path, mode)?;
    draft.write_all(bytes)?;
    draft.commit().map(drop)
}

/// Makes the names in a folder outlive a loss of power.
///
/// # Errors
/// When the disk does not take them.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The name of a [`Draft`] that is being written, or that a killed process left.
#[must_use]
pub fn is_draft(name: &str) -> bool {
    name.starts_with(HIDDEN)
}

/// The name of a [`Draft`] of this process.
#[must_use]
pub fn is_own_draft(name: &str) -> bool {
    name.starts_with(OURS.as_str())
}

/// Removes the drafts that a killed process left in a folder. For folders that nobody writes to at the time.
///
/// # Errors
/// When the folder cannot be read, or a file in it cannot be removed. A folder that is not there holds nothing.
pub fn tidy(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(is_draft) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_draft_is_hidden_until_it_is_whole_and_then_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("firmware.bin");
        fs::write(&path, b"old").unwrap();
        let mut draft = Draft::beside(&path, 0o600).unwrap();
        draft.write_all(b"ne").unwrap();
        let all = names(dir.path());
        assert!(all.len() == 2 && all[0].starts_with('.'), "{all:?}");
        // SECURITY: a key is never readable in between.
        assert_eq!(mode(&dir.path().join(&all[0])), 0o600);
        draft.write_all(b"w").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        draft.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            (names(dir.path()), mode(&path)),
            (vec!["firmware.bin".to_owned()], 0o600)
        );
    }

    #[test]
    fn a_draft_that_is_dropped_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("firmware.bin");
        let mut draft = Draft::beside(&path, 0o644).unwrap();
        draft.write_all(b"half").unwrap();
        drop(draft);
        assert!(names(dir.path()).is_empty());
        place(&path, b"old", 0o644).unwrap();
        drop(Draft::beside(&path, 0o644).unwrap());
        assert_eq!(names(dir.path()), ["firmware.bin"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn what_cannot_take_its_place_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("firmware.bin");
        fs::create_dir(&path).unwrap();
        assert!(place(&path, b"new", 0o644).is_err());
        assert_eq!(names(dir.path()), ["firmware.bin"]);
        let nowhere = place(&dir.path().join("none/firmware.bin"), b"new", 0o644);
        assert_eq!(nowhere.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_disk_that_takes_no_byte_is_an_error_of_the_write() {
        let mut full = Draft {
            file: NamedTempFile::new().unwrap(),
            path: PathBuf::new(),
        };
        *full.file.as_file_mut() = File::options().write(true).open("/dev/full").unwrap();
        let error = full.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn only_drafts_are_tidied_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slots.json");
        place(&path, b"{}", 0o644).unwrap();
        fs::write(dir.path().join(".other"), b"").unwrap();
        // What a killed process leaves.
        let (_, left) = Draft::beside(&path, 0o644).unwrap().file.keep().unwrap();
        assert!(left.exists());
        tidy(dir.path()).unwrap();
        assert_eq!(names(dir.path()), [".other", "slots.json"]);
        assert!(tidy(&dir.path().join("none")).is_ok());
    }

    #[test]
    fn a_bare_name_lies_in_the_folder_of_the_process() {
        assert_eq!(folder_of(Path::new("firmware.bin")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/firmware.bin")), Path::new("a"));
    }
}
