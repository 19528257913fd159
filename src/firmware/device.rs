//! Who asks, and what it says of itself.

use std::fmt;

use smol_str::SmolStr;

use super::{
    Esp32Chip, Facts, Family, ImageKind, Md5, NodeId, Org, OtaKey, ParseWordError, Project, Sha256,
};

/// A device by its four words. Its identity is (org, node); project and key may change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Device {
    /// First folder of the tree.
    pub org: Org,
    /// Its project.
    pub project: Project,
    /// Its own name.
    pub node: NodeId,
    /// Its kind of build.
    pub key: OtaKey,
}

impl Device {
    /// Checks the four words of a request.
    ///
    /// # Errors
    /// When one of them is not a word.
    pub fn parse(org: &str, project: &str, node: &str, key: &str) -> Result<Self, ParseWordError> {
        Ok(Self {
            org: org.parse()?,
            project: project.parse()?,
            node: node.parse()?,
            key: key.parse()?,
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}/{}",
            self.org, self.project, self.node, self.key
        )
    }
}

/// The chip family of a device, as its request tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceFamily {
    /// ESP8266 and ESP8285.
    Esp8266,
    /// ESP32 and its successors: a request does not say which.
    Esp32,
    /// RP2040 and RP2350 under arduino-pico.
    Pico,
    /// Nothing in the request says.
    Unknown,
}

impl DeviceFamily {
    /// An image of this family may be given to this device. Nothing on an ESP8266 rejects an ESP32 image, so a wrong
    /// file is a brick and an image of unknown family is refused to a device of known family.
    #[must_use]
    pub const fn takes(self, image: Family) -> bool {
        match (self, image) {
            (Self::Unknown, _)
            | (Self::Esp8266, Family::Esp8266)
            | (Self::Esp32, Family::Esp32(Esp32Chip(_)))
            | (Self::Pico, Family::Unknown) => true,
            (Self::Esp8266, Family::Esp32(_) | Family::Unknown)
            | (Self::Esp32, Family::Esp8266 | Family::Unknown)
            | (Self::Pico, Family::Esp8266 | Family::Esp32(_)) => false,
        }
    }
}

impl fmt::Display for DeviceFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Esp8266 => "ESP8266",
            Self::Esp32 => "ESP32",
            Self::Pico => "Pico",
            Self::Unknown => "unknown",
        })
    }
}

/// What a device says it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunningImage {
    /// Hashes of its flash; at least one of the two is there.
    Hashed {
        /// Sum over its app.
        md5: Option<Md5>,
        /// Digest footer of its app.
        sha256: Option<Sha256>,
    },
    /// An updater that sends no hash (arduino-pico, ESP8266 core 2.3.0 and older).
    Unhashed,
    /// A hash that cannot be one, or two that differ: no ground to decide on.
    Unreadable,
    /// Not an updater: a browser or curl, which gets a plain download.
    NotAnUpdater,
}

/// What one request says of its device, in our words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// What it asks for.
    pub kind: ImageKind,
    /// What it says it runs.
    pub running: RunningImage,
    /// The version it says it runs; `None` where it does not say.
    pub version: Option<SmolStr>,
    /// Its chip family.
    pub family: DeviceFamily,
    /// The largest app it can take, in bytes; `None` where it does not say.
    pub free_space: Option<u64>,
    /// The size of its flash chip, in bytes; `None` where it does not say.
    pub chip_size: Option<u64>,
    /// What tells this piece of hardware from another under the same name: MAC or chip id, as sent.
    pub hardware: Option<SmolStr>,
}

impl Visit {
    /// A request of a person or a plain client: no device headers at all.
    #[must_use]
    pub const fn plain(kind: ImageKind) -> Self {
        Self {
            kind,
            running: RunningImage::NotAnUpdater,
            version: None,
            family: DeviceFamily::Unknown,
            free_space: None,
            chip_size: None,
            hardware: None,
        }
    }

    /// The request carries device headers, so it may change what is remembered of the node.
    #[must_use]
    pub const fn is_updater(&self) -> bool {
        !matches!(self.running, RunningImage::NotAnUpdater)
    }

    /// The image may be given to this device. The Arduino updater of an ESP8266 compares no more than the first byte, and
    /// writes an image of another SDK where an Arduino image has its boot loader: the board would not start again.
    pub(super) fn takes(&self, image: &Facts) -> bool {
        let is_arduino = self.is_updater() && self.family == DeviceFamily::Esp8266;
        self.family.takes(image.family) && !(is_arduino && image.espressif_sdk)
    }

    /// The device reports one of the hashes of this offer, or, for want of a hash, its version.
    pub(super) fn runs(&self, offer: &super::Offer) -> bool {
        match (self.kind, &self.running) {
            // A filesystem request carries the hash of the *sketch*: it says nothing of the filesystem.
            (ImageKind::Filesystem, _)
            | (_, RunningImage::NotAnUpdater | RunningImage::Unreadable) => false,
            (ImageKind::Firmware, RunningImage::Hashed { md5, sha256 }) => {
                offer.is_run_by(*md5, *sha256)
            }
            (ImageKind::Firmware, RunningImage::Unhashed) => {
                self.version.is_some()
                    && self.version.as_deref() == offer.image.facts.version.as_deref()
            }
        }
    }
}
