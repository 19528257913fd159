//! The kernel's notifications, folder by folder. A notification is a hint to look, never a fact.
//!
//! notify's own recursive mode loses files in folders that are made and filled at once, so the keeper registers every
//! folder itself, and always before it reads it.

use std::path::Path;

use notify::event::{AccessKind, AccessMode};
use notify::{Config, ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// File systems whose changes are made on other machines and raise no notification here (`statfs(2)`, `linux/magic.h`).
const REMOTE: [(i64, &str); 11] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB2"),
    (0xFF53_4D42, "CIFS"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x7375_7245, "Coda"),
    (0x786F_4256, "VirtualBox shared folder"),
    (0x6175_6673, "aufs"),
];

/// Why folders are not watched, in words for people. The sweeps go on in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The kernel allows no more watches.
    Limit,
    /// The tree lies on a file system of another machine.
    Remote(&'static str),
    /// Anything else.
    Other(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit => f.write_str(
                "the kernel watches no more folders for this user, so changes are found by sweeps; \
                 cure: sysctl fs.inotify.max_user_watches=1048576 (and fs.inotify.max_user_instances=512)",
            ),
            Self::Remote(name) => write!(
                f,
                "the tree lies on {name}, which reports no changes made elsewhere, so they are found by sweeps ([tree] poll)"
            ),
            Self::Other(error) => write!(f, "folders cannot be watched, so changes are found by sweeps: {error}"),
        }
    }
}

/// The watches.
pub struct Watches {
    watcher: Option<RecommendedWatcher>,
    trouble: Option<Trouble>,
}

impl Watches {
    /// Starts to listen; `hear` is called on a thread of its own.
    pub fn start(
        root: &Path,
        hear: impl Fn(notify::Result<notify::Event>) + Send + 'static,
    ) -> Self {
        let hear = move |event: notify::Result<notify::Event>| {
            if !event.as_ref().is_ok_and(is_of_readers) {
                hear(event);
            }
        };
        // Links are followed by the keeper, and only into the tree.
        let config = Config::default().with_follow_symlinks(false);
        if let Some(name) = remote(root) {
            return Self {
                watcher: None,
                trouble: Some(Trouble::Remote(name)),
            };
        }
        match RecommendedWatcher::new(hear, config) {
            Ok(watcher) => Self {
                watcher: Some(watcher),
                trouble: None,
            },
            Err(error) => Self {
                watcher: None,
                trouble: Some(trouble(&error)),
            },
        }
    }

    /// Watches one folder, from now on, and nothing below it: most of what lies in a `.git` or a build folder can never
    /// be served, and each watch counts against the kernel's limit. Says whether it does.
    pub fn watch(&mut self, path: &Path) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        if self.trouble == Some(Trouble::Limit) {
            // Each further attempt would fail, until the next sweep tries again.
            return false;
        }
        match watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => true,
            Err(error) => {
                // A folder that is gone again is no trouble, and one that may not be read is a problem of its own.
                if !is_of_the_folder(&error) && path.exists() {
                    self.trouble.get_or_insert_with(|| trouble(&error));
                }
                false
            }
        }
    }

    /// Lets go of a folder that was moved away or replaced.
    pub fn unwatch(&mut self, path: &Path) {
        if let Some(watcher) = &mut self.watcher {
            // The kernel has mostly done it already.
            let _ = watcher.unwatch(path);
        }
    }

    /// A sweep begins: what failed may work by now.
    pub fn try_again(&mut self) {
        self.trouble = None;
    }

    /// Nothing is heard at all: to try again is to start anew.
    #[must_use]
    pub const fn is_deaf(&self) -> bool {
        self.watcher.is_none()
    }

    /// Why some folders are not watched; `None` when all are.
    #[must_use]
    pub const fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }
}

/// Readers raise notifications too, we ourselves above all; they must not feed back.
fn is_of_readers(event: &notify::Event) -> bool {
    matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
        && !event.need_rescan()
}

fn is_of_the_folder(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(io) => io.kind() == std::io::ErrorKind::PermissionDenied,
        _ => false,
    }
}

fn trouble(error: &notify::Error) -> Trouble {
    match &error.kind {
        ErrorKind::MaxFilesWatch => Trouble::Limit,
        // inotify_init: too many instances, which the same sysctl page cures.
        ErrorKind::Io(io) if io.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            Trouble::Limit
        }
        _ => Trouble::Other(error.to_string()),
    }
}

/// The name of the file system when it is one of another machine.
fn remote(path: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    REMOTE
        .iter()
        .find(|(magic, _)| *magic == kind)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::Error;

    #[test]
    fn a_limit_of_the_kernel_names_the_sysctl_that_cures_it() {
        let instances = std::io::Error::from(rustix::io::Errno::MFILE);
        for error in [
            Error::new(ErrorKind::MaxFilesWatch),
            Error::new(ErrorKind::Io(instances)),
        ] {
            assert_eq!(trouble(&error), Trouble::Limit);
        }
        let text = Trouble::Limit.to_string();
        assert!(
            text.contains("sysctl fs.inotify.max_user_watches="),
            "{text}"
        );
        let other = trouble(&Error::generic("odd"));
        assert!(matches!(other, Trouble::Other(text) if text.contains("odd")));
        assert!(Trouble::Remote("NFS").to_string().contains("[tree] poll"));
    }

    #[test]
    fn readers_raise_nothing_and_an_overflow_is_heard() {
        let event = |kind| notify::Event::new(kind);
        let open = EventKind::Access(AccessKind::Open(notify::event::AccessMode::Any));
        assert!(is_of_readers(&event(open)));
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(!is_of_readers(&event(written)));
        let overflow = event(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(!is_of_readers(&overflow));
    }

    #[test]
    fn past_a_limit_nothing_is_tried_until_the_next_sweep() {
        let folder = tempfile::tempdir().unwrap();
        let mut watches = Watches::start(folder.path(), |_| {});
        assert!(watches.watch(folder.path()));
        watches.trouble = Some(Trouble::Limit);
        assert!(!watches.watch(folder.path()));
        watches.try_again();
        assert!(watches.watch(folder.path()) && watches.trouble().is_none());
    }
}
