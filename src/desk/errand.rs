//! What a visit is about: the slots of a device, or one file by its name.

use std::fmt;
use std::path::PathBuf;

use crate::firmware::{Brakes, Device, FilePath, Found, ImageKind};
use crate::tree::Catalog;

/// What a visit is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Errand {
    /// What the slots of this device give.
    Device(Device),
    /// This very file. Nobody is named.
    File(FilePath),
}

impl Errand {
    /// What is found of it now.
    pub(super) fn find(&self, catalog: &Catalog, kind: ImageKind) -> (Found, Brakes) {
        let (found, orders) = match self {
            Self::Device(device) => (catalog.find(device, kind), catalog.orders(device)),
            Self::File(path) => (catalog.find_file(path), catalog.orders_above(path)),
        };
        let brakes = Brakes::of(&orders, found.image());
        (found, brakes)
    }

    /// The folders that it may lie in.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        match self {
            Self::Device(device) => device
                .slots()
                .map(|slot| slot.words().iter().collect())
                .to_vec(),
            Self::File(path) => vec![path.folder()],
        }
    }

    /// The name under which ranges of one image belong together.
    #[must_use]
    pub fn range_name(&self, kind: ImageKind) -> String {
        match self {
            Self::Device(device) => format!("{}/{}/{kind}", device.org, device.node),
            Self::File(path) => path.to_string(),
        }
    }
}

impl fmt::Display for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => device.fmt(f),
            Self::File(path) => write!(f, "files/{path}"),
        }
    }
}
