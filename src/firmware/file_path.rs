//! A file of a slot, by its path in the tree.

use std::fmt;
use std::path::PathBuf;

use super::{ANY_PROJECT, NodeId, Org, SlotPath};

/// Where a file lies: two to four folders that a slot can have, and its name. It comes from the network, so its folders
/// are checked, and its name is only compared with names that were read from the disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FilePath {
    folders: Box<[Box<str>]>,
    name: Box<str>,
}

impl FilePath {
    /// Checks the words of a path; `None` when no slot can have such a file.
    #[must_use]
    pub fn parse(words: &[&str]) -> Option<Self> {
        let (name, folders) = words.split_last()?;
        let is_word = |word: &str| word.parse::<NodeId>().is_ok();
        let fine = match folders {
            [org, project, rest @ ..] => {
                rest.len() <= 2
                    && org.parse::<Org>().is_ok()
                    && (*project == ANY_PROJECT || is_word(project))
                    && rest.iter().all(|word| is_word(word))
            }
            [] | [_] => false,
        };
        (fine && !name.is_empty()).then(|| Self {
            folders: folders.iter().map(|word| (*word).into()).collect(),
            name: (*name).into(),
        })
    }

    /// The slot that it lies in.
    #[must_use]
    pub fn slot(&self) -> SlotPath<'_> {
        SlotPath::of_folders(&self.folders)
    }

    /// The folder that it lies in, below the root of the tree.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folders.iter().map(|word| &**word).collect()
    }

    /// Its name in that folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first folder of the tree.
    #[must_use]
    pub fn org(&self) -> &str {
        &self.folders[0]
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.slot(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lies_in_a_folder_that_a_slot_can_be() {
        for words in [
            &["dev", "key", "a.bin"][..],
            &["dev", "+", "key", "b c.bin"],
            &["dev", "p", "n", "k", "firmware.bin"],
        ] {
            let path = FilePath::parse(words).unwrap();
            assert_eq!(path.to_string(), words.join("/"));
            assert_eq!(
                path.folder().join(path.name()),
                PathBuf::from(words.join("/"))
            );
        }
        for words in [
            &[][..],
            &["a.bin"],
            &["dev", "a.bin"],
            &["dev", "key", ""],
            &["+", "key", "a.bin"],
            &["api", "key", "a.bin"],
            &["dev", "..", "a.bin"],
            &["dev", "key", "+", "a.bin"],
            &["dev", "key", "a/b", "a.bin"],
            &["dev", "key", "software", "a.bin"],
            &["dev", "p", "n", "k", "more", "a.bin"],
        ] {
            assert_eq!(FilePath::parse(words), None, "{words:?}");
        }
    }
}
