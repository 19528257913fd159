//! Reading one folder off the disk. A notification is a hint to look; this is the look.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use walkdir::{DirEntry, DirEntryExt, WalkDir};

use crate::disk;
use crate::firmware::{ANY_PROJECT, ImageKind, NodeId, Order, Org, POLICY_FILE, Stamp, Word};

use super::beside::{order, read_beside};
use super::catalog::Beside;
use super::names::{self, Role};
use super::problem::Problem;

/// Folders below the root down to here are read: `<org>/<project>/<node>/<key>/`.
pub const DEEPEST: usize = 4;

/// The root of the tree as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Without links; all paths of the tree are below it.
    pub path: Arc<Path>,
    /// Device and inode: another pair is another tree under the same name.
    pub identity: (u64, u64),
}

impl Root {
    /// Finds the root as the operator named it.
    ///
    /// # Errors
    /// When it is not there or is not a folder.
    pub fn find(configured: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(configured)?;
        let meta = fs::metadata(&path)?;
        if !meta.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a folder"));
        }
        Ok(Self {
            identity: (meta.dev(), meta.ino()),
            path: path.into(),
        })
    }
}

/// A candidate file.
#[derive(Debug)]
pub struct Seen {
    /// Its name.
    pub name: Box<str>,
    /// What it is for.
    pub kind: ImageKind,
    /// The lowest rank wins.
    pub rank: u8,
    /// Which file it is.
    pub stamp: Stamp,
    /// What lies beside it.
    pub beside: Option<Box<Beside>>,
}

/// What one folder holds.
#[derive(Debug, Default)]
pub struct Reading {
    /// Inode of the folder.
    pub inode: u64,
    /// Candidate files, by name.
    pub files: Vec<Seen>,
    /// Folders to read next, with their inodes.
    pub folders: Vec<(Box<str>, u64)>,
    /// `ota.toml`, and which file it is.
    pub order: Option<(Stamp, Arc<Order>)>,
    /// The folders of files that links here point to, in the tree.
    pub linked: BTreeSet<PathBuf>,
    /// What is wrong here.
    pub problems: Vec<Problem>,
    /// Drafts of other processes, most likely of one that was killed.
    pub drafts: Vec<Box<str>>,
}

/// Why a folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there any more.
    #[error("gone")]
    Gone,
    /// It is there and cannot be read.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// Identity of a file, from its metadata.
#[must_use]
pub fn stamp(meta: &Metadata) -> Stamp {
    let nanos =
        |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    Stamp {
        inode: meta.ino(),
        size: meta.len(),
        modified: nanos(meta.mtime(), meta.mtime_nsec()),
        changed: nanos(meta.ctime(), meta.ctime_nsec()),
    }
}

/// Opens a file to read it. A pipe that took its place is opened too, and never waited for.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Opens a folder that is reached without any link, which the kernel says at once (Linux 5.6).
fn open_plain(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// Where a folder lies, relative to the root, when the way to it is a link that stays in the tree.
#[must_use]
pub fn behind_link(root: &Root, rel: &Path) -> Option<PathBuf> {
    let path = root.path.join(rel);
    if open_plain(&path).is_ok() {
        return None;
    }
    let target = fs::canonicalize(path).ok()?;
    let inside = target.strip_prefix(&root.path).ok()?;
    (inside != rel).then(|| inside.to_owned())
}

/// SECURITY: a folder is read only when it lies below the root with all links followed, whoever asked for it: a folder
/// may have become a link since it was last seen. Gives its inode.
pub(super) fn inode_within(root: &Root, path: &Path) -> Result<u64, ReadError> {
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ReadError::Gone,
        _ => ReadError::Failed(error),
    };
    if let Ok(folder) = open_plain(path) {
        return Ok(rustix::fs::fstat(&folder).map_err(io::Error::from)?.st_ino);
    }
    let real = fs::canonicalize(path).map_err(missing)?;
    let meta = fs::metadata(&real).map_err(missing)?;
    if real.starts_with(&root.path) && meta.is_dir() {
        Ok(meta.ino())
    } else {
        Err(ReadError::Gone)
    }
}

/// Reads one folder, `rel` below the root.
///
/// # Errors
/// When it is gone or cannot be read whole; a half-read folder is never returned.
pub fn read_folder(root: &Root, rel: &Path) -> Result<Reading, ReadError> {
    let path = root.path.join(rel);
    let inode = inode_within(root, &path)?;
    let mut reader = Reader {
        root,
        rel,
        depth: rel.components().count(),
        reading: Reading {
            inode,
            ..Reading::default()
        },
        small: Vec::new(),
    };
    for entry in WalkDir::new(&path)
        .follow_root_links(true)
        .min_depth(1)
        .max_depth(1)
    {
        match entry {
            Ok(entry) => reader.see(&entry)?,
            Err(error) => {
                let error = io::Error::from(error);
                if error.kind() != io::ErrorKind::NotFound {
                    return Err(error.into());
                }
            }
        }
    }
    let reading = reader.finish(&path);
    // What was read may be another folder than the one that was checked.
    match inode_within(root, &path)? == inode {
        true => Ok(reading),
        false => Err(ReadError::Failed(io::Error::other(
            "it was replaced while it was read",
        ))),
    }
}

struct Reader<'a> {
    root: &'a Root,
    rel: &'a Path,
    depth: usize,
    reading: Reading,
    /// Names of `.toml`, `.md5` and `.sha256` files.
    small: Vec<Box<str>>,
}

impl Reader<'_> {
    fn problem(&mut self, name: &str, what: impl Into<String>, cure: &str) {
        self.reading
            .problems
            .push(Problem::new(self.rel.join(name), what, cure));
    }

    fn see(&mut self, entry: &DirEntry) -> io::Result<()> {
        let Some(name) = entry.file_name().to_str() else {
            let name = entry.file_name().to_string_lossy().into_owned();
            self.problem(&name, "its name is not UTF-8", "rename it");
            return Ok(());
        };
        let kind = entry.file_type();
        if disk::is_draft(name) && !disk::is_own_draft(name) && kind.is_file() {
            self.reading.drafts.push(name.into());
        }
        if names::is_invisible(name) {
            return Ok(());
        }
        if kind.is_dir() {
            self.see_folder(name, entry.ino());
        } else if kind.is_file() {
            match entry.metadata() {
                Ok(meta) => self.see_file(name, &meta),
                Err(error) => return gone_is_fine(error.into()),
            }
        } else if kind.is_symlink() {
            self.see_link(name)?;
        } else if kind.is_socket()
            || kind.is_fifo()
            || kind.is_block_device()
            || kind.is_char_device()
        {
            self.problem(
                name,
                "it is a socket, pipe or device, not an image",
                "remove it",
            );
        }
        Ok(())
    }

    fn see_folder(&mut self, name: &str, inode: u64) {
        if self.depth >= DEEPEST || (name == "software" && self.depth > 0) {
            return;
        }
        let fine = match self.depth {
            0 => name.parse::<Org>().is_ok(),
            1 => name == ANY_PROJECT || name.parse::<NodeId>().is_ok(),
            _ => name.parse::<NodeId>().is_ok(),
        };
        if fine {
            self.reading.folders.push((name.into(), inode));
        } else {
            self.problem(
                name,
                "no device can ask for a folder of this name, so nothing in it is served",
                "use 1 to 64 letters, digits, '.', '_' and '-', and none of the reserved names",
            );
        }
    }

    fn see_file(&mut self, name: &str, meta: &Metadata) {
        match names::role(name) {
            Role::Candidate(..) if self.depth < 2 => self.problem(
                name,
                "no device looks for an image here",
                "move it into <org>/<key>/, <org>/<project>/<key>/ or <org>/<project>/<node>/",
            ),
            Role::Candidate(kind, rank) => {
                self.reading.files.push(Seen {
                    name: name.into(),
                    kind,
                    rank,
                    stamp: stamp(meta),
                    beside: None,
                });
            }
            Role::Note | Role::Sum => self.small.push(name.into()),
            Role::Policy => {
                let folder = self.root.path.join(self.rel);
                self.reading.order = Some(order(&folder, self.rel, stamp(meta)));
            }
            Role::Other => {}
        }
    }

    /// SECURITY: a link is followed only when where it ends lies below the root.
    fn see_link(&mut self, name: &str) -> io::Result<()> {
        let link = self.root.path.join(self.rel).join(name);
        let target = match fs::canonicalize(&link) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.problem(
                    name,
                    "it is a link to nothing",
                    "remove it, or restore what it points to",
                );
                return Ok(());
            }
            Err(error) => {
                self.problem(
                    name,
                    format!("it is a link that cannot be followed ({error})"),
                    "remove it",
                );
                return Ok(());
            }
        };
        let Ok(inside) = target.strip_prefix(&self.root.path) else {
            self.problem(
                name,
                "it is a link that leaves the tree, so it is not served",
                "copy the file into the tree",
            );
            return Ok(());
        };
        let meta = match fs::metadata(&target) {
            Ok(meta) => meta,
            Err(error) => return gone_is_fine(error),
        };
        if !meta.is_dir() {
            if meta.is_file() {
                let folder = inside.parent().unwrap_or(Path::new("")).to_owned();
                self.reading.linked.insert(folder);
                self.see_file(name, &meta);
            } else {
                self.problem(
                    name,
                    "it is a link to a socket, pipe or device, not an image",
                    "remove it",
                );
            }
            return Ok(());
        }
        let here = fs::canonicalize(self.root.path.join(self.rel))?;
        if here.starts_with(&target) {
            self.problem(name, "it is a link to a folder above itself", "remove it");
            return Ok(());
        }
        self.see_folder(name, meta.ino());
        Ok(())
    }

    /// A policy that is a link out of the tree, or no file at all, is there and cannot be read: it holds.
    fn order_that_cannot_be_followed(&mut self) {
        let file = self.rel.join(POLICY_FILE);
        let problems = &mut self.reading.problems;
        if let Some(at) = problems.iter().position(|problem| *problem.path == *file) {
            let word = Word::Bad(problems.remove(at).what);
            let file = file.into();
            self.reading.order = Some((Stamp::NONE, Arc::new(Order { file, word })));
        }
    }

    fn finish(mut self, path: &Path) -> Reading {
        self.order_that_cannot_be_followed();
        self.reading.files.sort_by(|a, b| a.name.cmp(&b.name));
        self.reading.folders.sort();
        let small = std::mem::take(&mut self.small);
        let mut files = std::mem::take(&mut self.reading.files);
        for name in small {
            let Some((image, _)) = name.rsplit_once('.') else {
                continue;
            };
            let Some(file) = files.iter_mut().find(|file| *file.name == *image) else {
                continue;
            };
            let beside = file.beside.get_or_insert_default();
            if let Err(what) = read_beside(path, &name, beside) {
                self.problem(
                    &name,
                    what,
                    "correct it or remove it; until then it is not used",
                );
            }
        }
        self.reading.files = files;
        self.reading
    }
}

fn gone_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}
