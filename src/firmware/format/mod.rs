//! Reading an image: what its bytes say, or what is wrong with it.
//!
//! Nothing on an ESP8266 rejects a wrong file, so this room is the only guard between a slip of the hand and a brick.
//! It reads whole files from memory and never panics on any of them.
//!
//! | file | what it knows |
//! |---|---|
//! | `layout` | words of an image, and the walk along its segments that both families share |
//! | `sums` | every hash of one file in one pass over memory |
//! | `esp8266` | Arduino images, and what tells an ESP8266 image from an ESP32's |
//! | `esp8266_sdk` | images of Espressif's own ESP8266 SDKs |
//! | `esp32` | images of the ESP32 family, their digest and their descriptor |
//! | `descriptor` | version and name of an ESP32 app |
//! | `secure_boot` | signature blocks behind an ESP32 image |
//! | `gzip` | compressed images, inflated within a bound |
//! | `filesystem` | LittleFS, FAT, and files that are no filesystem |
//! | `texts` | looking for texts in an image, compressed or not |
//! | `foreign` | sound files that are not the app: text, ELF, UF2, partition tables |
//!
//! **Proved whole** means that a sum over all bytes is right. One XOR byte is no such proof, since one in 256 mixtures
//! of two files passes it; where there is no more, `proves_whole` is false and the tree asks for other evidence.

mod descriptor;
mod esp32;
mod esp8266;
mod esp8266_sdk;
mod filesystem;
mod foreign;
mod gzip;
mod layout;
mod report;
mod secure_boot;
mod sums;
mod texts;

use std::sync::Arc;

pub use report::{Finding, Report};

use self::layout::MAGIC;
use self::sums::Sums;
pub use self::texts::look_for;
use super::{Defect, DefectKind, Facts, Family, Identities, ImageKind};

/// Counts the changes of what [`examine`] finds in the same bytes, so that older findings are not used.
pub const REVISION: u32 = 2;

/// Reads what the bytes of a whole file say.
///
/// A format that is not known here is no defect: its family is [`Family::Unknown`] and `proves_whole` is false.
///
/// # Errors
/// When the file is corrupt or is not an image of this kind, with a sentence that names the right file or the cure.
pub fn examine(bytes: &[u8], kind: ImageKind) -> Result<Facts, Defect> {
    if gzip::is_gzip(bytes) {
        return gzip::examine(bytes, kind);
    }
    inflated(bytes, kind)
}

/// What the beginning of a file shows to be no image of this kind, so that the rest need not come. Nothing is certain
/// before some 1000 bytes are there.
#[must_use]
pub fn refused_early(beginning: &[u8], kind: ImageKind) -> Option<Defect> {
    if gzip::is_gzip(beginning)
        || (kind == ImageKind::Filesystem && filesystem::begins_well(beginning))
    {
        return None;
    }
    // A file that begins blank may go on.
    foreign::recognise(beginning).filter(|defect| defect.kind == DefectKind::NotAnApp)
}

/// The name that a sound file of this kind has in a slot.
#[must_use]
pub fn file_name(bytes: &[u8], kind: ImageKind) -> &'static str {
    match kind {
        ImageKind::Firmware if gzip::is_gzip(bytes) => "firmware.bin.gz",
        ImageKind::Firmware => "firmware.bin",
        ImageKind::Filesystem => filesystem::file_name(bytes),
    }
}

/// The same for bytes that are not compressed, or no longer.
fn inflated(bytes: &[u8], kind: ImageKind) -> Result<Facts, Defect> {
    if bytes.is_empty() {
        return Err(Defect::corrupt("the file is empty: copy it again"));
    }
    match kind {
        ImageKind::Firmware => app(bytes),
        ImageKind::Filesystem => filesystem::examine(bytes),
    }
}

/// An app that is not compressed. What is known by its own words is held to them, even if its first byte is another.
fn app(bytes: &[u8]) -> Result<Facts, Defect> {
    if let Some(defect) = foreign::recognise(bytes) {
        return Err(defect);
    }
    if esp8266::is_arduino(bytes) {
        return esp8266::arduino(bytes);
    }
    if esp8266_sdk::is_second_kind(bytes) {
        return esp8266_sdk::second_kind(bytes);
    }
    if esp8266_sdk::is_plain(bytes) && !descriptor::is_there(bytes) {
        return esp8266_sdk::plain(bytes);
    }
    if descriptor::is_there(bytes) || bytes.first() == Some(&MAGIC) {
        return esp32::examine(bytes);
    }
    Ok(unknown(bytes))
}

/// A file of a format that is not known here.
fn unknown(bytes: &[u8]) -> Facts {
    let sums = Sums::of(bytes, &[]);
    let identities = Identities {
        md5: Box::new([sums.file.md5]),
        sha256: Box::new([sums.file.sha256]),
    };
    facts(bytes, &sums, Family::Unknown, identities)
}

/// The facts that every format has; the caller adds what its bytes say beyond.
fn facts(bytes: &[u8], sums: &Sums, family: Family, identities: Identities) -> Facts {
    Facts {
        size: bytes.len() as u64,
        md5: sums.file.md5,
        sha256: sums.file.sha256,
        family,
        version: None,
        title: None,
        flash_size: None,
        inflated_size: None,
        espressif_sdk: false,
        signed: false,
        proves_whole: false,
        texts: Arc::default(),
        seal: None,
        identities,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::firmware::forge::{self, Esp32, Esp8266};

    /// One sound file of every kind that is told apart by its first bytes.
    fn forged() -> Vec<Vec<u8>> {
        let (arduino, app) = (Esp8266::default().build(), Esp32::default().build());
        vec![
            forge::signed(&arduino, 256),
            forge::esp8266_sdk_v2(1),
            forge::esp8266_plain(1),
            forge::secure_boot_signed(&app),
            forge::merged(Esp32::default()),
            forge::gzipped(&arduino),
            forge::gzipped(&app),
            forge::littlefs(256, 8),
            arduino,
            app,
        ]
    }

    fn read(bytes: &[u8]) {
        for kind in [ImageKind::Firmware, ImageKind::Filesystem] {
            match examine(bytes, kind) {
                Ok(facts) => assert_eq!(facts.size, bytes.len() as u64),
                Err(defect) => {
                    assert!(!defect.to_string().is_empty());
                    assert!(defect.offset.is_none_or(|at| at <= bytes.len() as u64));
                }
            }
        }
    }

    #[test]
    fn a_broken_image_says_at_which_byte() {
        let (arduino, app) = (Esp8266::default().build(), Esp32::default().build());
        let with = |image: &[u8], at: usize| {
            let mut image = image.to_vec();
            image[at] ^= 0x55;
            image
        };
        let end = app.len() as u64;
        for (bytes, offset) in [
            (app[..5000].to_vec(), 5000),
            (arduino[..5000].to_vec(), 5000),
            (with(&arduino, 0), 0),
            (with(&arduino, 0x1014), 0x1014),
            (with(&arduino, 0x1800), 0x1014),
            (with(&app, 0), 0),
            (with(&app, 0x17), 0x17),
            // The digest is the last of it.
            (with(&app, app.len() - 1), end - 32),
            ([&app[..], &[0; 100]].concat(), end),
            (forge::gzipped(&arduino)[..2000].to_vec(), 2000),
        ] {
            let defect = examine(&bytes, ImageKind::Firmware).unwrap_err();
            assert_eq!(defect.offset, Some(offset), "{defect}");
        }
    }

    #[test]
    fn a_beginning_is_refused_when_nothing_that_follows_could_mend_it() {
        let page = b"<!DOCTYPE html>".repeat(70);
        let app = ImageKind::Firmware;
        assert!(refused_early(&page, app).is_some());
        assert!(refused_early(&page, ImageKind::Filesystem).is_some());
        assert!(refused_early(&forge::partition_table(), app).is_some());
        for file in forged() {
            for kind in [app, ImageKind::Filesystem] {
                assert!(
                    examine(&file, kind).is_err() || refused_early(&file[..1024], kind).is_none()
                );
            }
        }
        assert_eq!(refused_early(&[0xFF; 1024], app), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn no_file_that_begins_as_an_image_makes_it_panic(
            at in any::<prop::sample::Index>(),
            cut in any::<prop::sample::Index>(),
            tail in prop::collection::vec(any::<u8>(), 0..512),
        ) {
            let files = forged();
            let file = &files[at.index(files.len())];
            // Anywhere, and within what a header takes.
            for end in [cut.index(file.len() + 1), cut.index(file.len().min(96))] {
                read(&file[..end]);
                read(&[&file[..end], &tail].concat());
            }
            read(&[&file[..], &tail].concat());
        }

        #[test]
        fn no_damage_to_an_image_makes_it_panic(
            at in any::<prop::sample::Index>(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            in_header in any::<bool>(),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let files = forged();
            let mut file = files[at.index(files.len())].clone();
            let reach = if in_header { file.len().min(96) } else { file.len() };
            for (place, byte) in damage {
                file[place.index(reach)] = byte;
            }
            if let Some(cut) = cut {
                file.truncate(cut.index(file.len() + 1));
            }
            read(&file);
        }
    }
}
