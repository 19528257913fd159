//! What is known of one image file: its facts, and the hashes a device may report when it runs it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{HoldReason, Md5, Seal, Sha256};

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// The app itself.
    Firmware,
    /// Data of the app: LittleFS, SPIFFS or FAT.
    Filesystem,
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Firmware => "firmware",
            Self::Filesystem => "filesystem",
        })
    }
}

/// The chip of the ESP32 family that an image names in its header (`esp_chip_id_t`, ESP-IDF `esp_app_format.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Esp32Chip(pub u16);

impl Esp32Chip {
    /// The name Espressif gives it, or `None` for an id not known here.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "ESP32",
            2 => "ESP32-S2",
            5 => "ESP32-C3",
            9 => "ESP32-S3",
            12 => "ESP32-C2",
            13 => "ESP32-C6",
            16 => "ESP32-H2",
            18 => "ESP32-P4",
            20 => "ESP32-C61",
            23 => "ESP32-C5",
            25 => "ESP32-H21",
            28 => "ESP32-H4",
            31 => "ESP32-E22",
            32 => "ESP32-S31",
            _ => return None,
        })
    }
}

/// The chip family that an image was built for, as its bytes prove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// ESP8266 and ESP8285.
    Esp8266,
    /// ESP32 and its successors; which one stands beside it.
    Esp32(Esp32Chip),
    /// Nothing in the bytes says.
    Unknown,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Esp8266 => f.write_str("ESP8266"),
            Self::Esp32(chip) => match chip.name() {
                Some(name) => f.write_str(name),
                None => write!(f, "ESP32 family, chip id {}", chip.0),
            },
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Every hash that a device which runs an image may report of itself
/// (the table in `docs/identity.md` says which device reports which).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identities {
    /// Sums over flash; never holds one twice.
    pub md5: Box<[Md5]>,
    /// Digest footers and sums over the app; never holds one twice.
    pub sha256: Box<[Sha256]>,
}

/// What the bytes of a file say. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Length of the file.
    pub size: u64,
    /// Sum of the file, which the device checks the download against.
    pub md5: Md5,
    /// Sum of the file: the image's id.
    pub sha256: Sha256,
    /// Whose image it is.
    pub family: Family,
    /// The app's version as the bytes give it; `None` where the format has none (all ESP8266 images).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Box<str>>,
    /// The app's name as the bytes give it (ESP-IDF `project_name`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Box<str>>,
    /// Size of the flash that the header was built for; `None` where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flash_size: Option<u64>,
    /// Length of the image after inflating; `None` when the file is not compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inflated_size: Option<u64>,
    /// An ESP8266 image of Espressif's own SDKs: it lies in flash otherwise than an Arduino image, so an Arduino node
    /// that took it would not start again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub espressif_sdk: bool,
    /// The image carries an appended signature.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
    /// The bytes themselves prove that the file is whole. Where they cannot (SPIFFS, FAT, foreign formats) the tree
    /// asks for other evidence before it offers the file.
    pub proves_whole: bool,
    /// The texts that were looked for in the image, and whether they are there.
    #[serde(default, skip_serializing_if = "no_texts")]
    pub texts: Arc<BTreeMap<Box<str>, bool>>,
    /// What came of its signature, where its org has public keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Box<Seal>>,
    /// What a device reports that runs it.
    pub identities: Identities,
}

fn no_texts(texts: &BTreeMap<Box<str>, bool>) -> bool {
    texts.is_empty()
}

impl Facts {
    /// The image's id.
    #[must_use]
    pub const fn id(&self) -> Sha256 {
        self.sha256
    }

    /// A device that reports one of these hashes runs this image. `None` is a hash that it did not send.
    #[must_use]
    pub fn is_run_by(&self, md5: Option<Md5>, sha256: Option<Sha256>) -> bool {
        md5.is_some_and(|sum| self.identities.md5.contains(&sum))
            || sha256.is_some_and(|sum| self.identities.sha256.contains(&sum))
    }

    /// Why an image that must contain this text is not given.
    #[must_use]
    pub fn lacks(&self, text: &str) -> Option<HoldReason> {
        match self.texts.get(text) {
            Some(true) => None,
            Some(false) => Some(HoldReason::LacksBytes),
            None => Some(HoldReason::NotReady),
        }
    }

    /// The version a device is told: the one in the bytes, else the first 12 digits of the id.
    #[must_use]
    pub fn version_or_id(&self) -> String {
        match &self.version {
            Some(version) => version.to_string(),
            None => self.sha256.to_string()[..12].to_owned(),
        }
    }
}

/// Why a file is no image for any device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefectKind {
    /// Truncated, changed or badly built.
    Corrupt,
    /// A whole and sound file that is not the app: boot loader, partition table, merged factory image.
    NotAnApp,
}

/// A file that is withheld, with a sentence for people that names the right file or the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{sentence}")]
pub struct Defect {
    /// What is wrong with it.
    pub kind: DefectKind,
    /// Lower-case, without a full stop; offsets in hex.
    pub sentence: Box<str>,
    /// Where in the file it breaks, as far as the format can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

impl Defect {
    /// A truncated, changed or badly built file.
    #[must_use]
    pub fn corrupt(sentence: impl Into<String>) -> Self {
        Self {
            kind: DefectKind::Corrupt,
            sentence: sentence.into().into(),
            offset: None,
        }
    }

    /// A sound file that is not the app.
    #[must_use]
    pub fn not_an_app(sentence: impl Into<String>) -> Self {
        Self {
            kind: DefectKind::NotAnApp,
            sentence: sentence.into().into(),
            offset: None,
        }
    }

    /// The same, where it is known at which byte.
    #[must_use]
    pub fn at(self, offset: usize) -> Self {
        Self {
            offset: Some(offset as u64),
            ..self
        }
    }
}

/// What the file system says of a file: it is the same file as long as this is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the bytes, nanoseconds since 1970.
    pub modified: i64,
    /// Last change of the file's own record, nanoseconds since 1970.
    pub changed: i64,
}

impl Stamp {
    /// That of no file.
    pub const NONE: Self = Self {
        inode: 0,
        size: 0,
        modified: 0,
        changed: 0,
    };
}

/// One file of the tree as it was examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it is for.
    pub kind: ImageKind,
    /// Where it is, relative to the root of the tree.
    pub path: Box<Path>,
    /// What its bytes say, plus what `<image>.toml` beside it adds.
    pub facts: Arc<Facts>,
    /// Which file it was when it was examined.
    pub stamp: Stamp,
    /// What people wrote about it in `<image>.toml`; `None` where there is none.
    pub note: Option<Box<str>>,
    /// A person has ordered this very image for its slot, so no rule about its age holds it.
    pub ordered: bool,
}

/// What a slot offers of one kind: an image and, for ESP8266 nodes that are short of space, its compressed twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The file that was chosen.
    pub image: Arc<Image>,
    /// `<image>.gz` beside it, when it is gzip of the same app.
    pub compressed: Option<Arc<Image>>,
}

impl Offer {
    /// The device runs this image, compressed or not.
    #[must_use]
    pub fn is_run_by(&self, md5: Option<Md5>, sha256: Option<Sha256>) -> bool {
        self.image.facts.is_run_by(md5, sha256)
            || self
                .compressed
                .as_ref()
                .is_some_and(|twin| twin.facts.is_run_by(md5, sha256))
    }
}
