//! A slot as people name it: checked once, and from then on a place below the root of the tree.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{ANY_PROJECT, NodeId, Org, ParseWordError};

/// Most folders below the org.
const DEEPEST: usize = 3;

/// A place for images that a device can ask for: an org, and one to three folders below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    org: Org,
    folders: Box<[Box<str>]>,
}

/// Why a text names no slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSlotError {
    /// One of its words cannot be one.
    #[error(transparent)]
    Word(#[from] ParseWordError),
    /// An org alone.
    #[error("a slot is an org and one to three folders, such as dev/lotus/sht30_d1_mini")]
    NoFolder,
    /// More than three folders below the org.
    #[error("{0} folders below the org, and no device looks deeper than {DEEPEST}")]
    TooDeep(usize),
    /// `+` where no device looks.
    #[error(
        "'+' stands for any project: directly below the org, with a node or a key below it, such as dev/+/sht30_d1_mini"
    )]
    AnyProject,
}

impl Slot {
    /// The slot at these folders, with `/` between them, such as `dev/lotus/sht30_d1_mini`.
    ///
    /// # Errors
    /// When no device can ask for it.
    pub fn parse(text: &str) -> Result<Self, ParseSlotError> {
        let (org, below) = text.split_once('/').unwrap_or((text, ""));
        Self::of(org.parse()?, below, '/')
    }

    /// The slot below an org, with `:` between its folders as in a URL, such as `lotus:sht30_d1_mini`. No word holds one.
    ///
    /// # Errors
    /// When no device can ask for it.
    pub fn below(org: &str, text: &str) -> Result<Self, ParseSlotError> {
        Self::of(org.parse()?, text, ':')
    }

    fn of(org: Org, text: &str, between: char) -> Result<Self, ParseSlotError> {
        if text.is_empty() {
            return Err(ParseSlotError::NoFolder);
        }
        let folders: Box<[Box<str>]> = text.split(between).map(Into::into).collect();
        if folders.len() > DEEPEST {
            return Err(ParseSlotError::TooDeep(folders.len()));
        }
        for (at, folder) in folders.iter().enumerate() {
            match &**folder {
                // The order of search has it above one folder, and nowhere else.
                ANY_PROJECT if at == 0 && folders.len() == 2 => {}
                ANY_PROJECT => return Err(ParseSlotError::AnyProject),
                // A folder may be a project, a node or a key, and the rules for all three are the same.
                word => drop(word.parse::<NodeId>()?),
            }
        }
        Ok(Self { org, folders })
    }

    /// The organisation it belongs to.
    #[must_use]
    pub const fn org(&self) -> &Org {
        &self.org
    }

    /// The project it belongs to; `None` for a slot of the whole org, which `+` is too.
    #[must_use]
    pub fn project(&self) -> Option<&str> {
        match &*self.folders {
            [project, _, ..] if **project != *ANY_PROJECT => Some(project),
            _ => None,
        }
    }

    /// Where it is, relative to the root of the tree.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.words().collect()
    }

    /// The folders below the org, with `:` between them: how a URL names it.
    #[must_use]
    pub fn below_org(&self) -> String {
        self.folders.join(":")
    }

    /// The org and the folders below it.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.org.as_str()).chain(self.folders.iter().map(|word| &**word))
    }
}

impl FromStr for Slot {
    type Err = ParseSlotError;

    fn from_str(text: &str) -> Result<Self, ParseSlotError> {
        Self::parse(text)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.folders.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::Device;
    use proptest::prelude::*;

    #[test]
    fn every_slot_that_a_device_looks_at_is_one() {
        let device = Device::parse("dev", "lotus", "node", "key").unwrap();
        for path in device.slots() {
            let slot = Slot::parse(&path.words().join("/")).unwrap();
            assert_eq!(format!("{slot}/"), path.to_string());
            assert_eq!(slot.folder(), path.words().iter().collect::<PathBuf>());
            assert_eq!(Slot::below("dev", &slot.below_org()).unwrap(), slot);
        }
    }

    #[test]
    fn a_slot_belongs_to_the_project_that_its_first_folder_names() {
        let project = |text| Slot::parse(text).unwrap().project().map(str::to_owned);
        assert_eq!(project("dev/lotus/key"), Some("lotus".to_owned()));
        assert_eq!(project("dev/lotus/node/key"), Some("lotus".to_owned()));
        assert_eq!(project("dev/+/key"), None);
        assert_eq!(project("dev/lotus"), None);
    }

    #[test]
    fn what_no_device_can_ask_for_is_no_slot() {
        for text in [
            "",
            "dev",
            "dev/",
            "/key",
            "dev//key",
            "dev/key/",
            "dev/..",
            "dev/../key",
            "dev/.git",
            "api/key",
            "+/key",
            "dev/+",
            "dev/+/node/key",
            "dev/lotus/+",
            "dev/+/+",
            "dev/a/b/c/d",
            "dev/software",
            "dev/lotus/software",
            "dev/a b",
            "dev/%2e%2e",
            "dev/a\\b",
            "dev/ｋｅｙ",
            "dev/a:b",
            "dev/a\0",
        ] {
            assert!(Slot::parse(text).is_err(), "{text:?}");
        }
        assert!(Slot::parse(&format!("dev/{}", "x".repeat(300))).is_err());
        for text in ["", ":", "a:", "a/b", "+", "a:b:c:d"] {
            assert!(Slot::below("dev", text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_leaves_the_tree(text in "\\PC{0,40}") {
            for slot in [Slot::parse(&text), Slot::parse(&format!("dev/{text}")), Slot::below("dev", &text)].into_iter().flatten() {
                let folder = slot.folder();
                prop_assert!((2..=4).contains(&folder.components().count()));
                prop_assert!(folder.components().all(|part| matches!(part, std::path::Component::Normal(_))));
                prop_assert_eq!(Slot::parse(&slot.to_string()).unwrap(), slot);
            }
        }
    }
}
