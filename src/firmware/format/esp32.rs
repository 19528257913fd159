//! Images of the ESP32 and its successors (ESP-IDF `esp_app_format.h`, `esp_app_desc.h`, `esp_image_format.c`).
//!
//! | offset | what |
//! |---|---|
//! | 0 | 0xE9, number of segments, flash mode, flash size in the high four bits |
//! | 0x0C | chip id, 2 bytes |
//! | 0x17 | 1 when a SHA-256 follows the image |
//! | 0x18 | address and length of the first segment |
//! | 0x20 | descriptor of an app: 0xABCD5432, version at 0x30, project at 0x50 |
//! | end | XOR byte, SHA-256 of all before, then perhaps a signature |

use super::layout::{MAGIC, Walk, half, truncated, walk};
use super::sums::Sums;
use super::{Defect, Facts, Family, Identities, facts};
use super::{descriptor, foreign, secure_boot};
use crate::firmware::Esp32Chip;

const HEADER: usize = 24;
const CHIP: usize = 0x0C;
const HASH_APPENDED: usize = 0x17;
const DIGEST: usize = 32;

/// Reads a file that begins with 0xE9 or has a descriptor, and is no ESP8266 image.
pub(super) fn examine(bytes: &[u8]) -> Result<Facts, Defect> {
    let (Some(chip), Some(hash_appended)) = (half(bytes, CHIP), bytes.get(HASH_APPENDED)) else {
        return Err(truncated(bytes.len(), "much more"));
    };
    if bytes[0] != MAGIC {
        return Err(Defect::corrupt(format!(
            "corrupt: it has an ESP32 app's descriptor, and its first byte is {:#04x} instead of 0xe9; copy the file again",
            bytes[0]
        )).at(0));
    }
    let chip = Esp32Chip(chip);
    let walk = walk(bytes, 0, HEADER).map_err(|stumble| {
        if descriptor::is_there(bytes) {
            stumble.defect(bytes.len())
        } else {
            neither()
        }
    })?;
    check_kind(bytes, chip, &walk)?;
    if !walk.xor_is_right(bytes) {
        return Err(Defect::corrupt(format!(
            "corrupt: the checksum at {:#x} is wrong; copy the file again",
            walk.end - 1
        ))
        .at(walk.end - 1));
    }
    let has_digest = match hash_appended {
        0 => false,
        1 => true,
        other => {
            return Err(Defect::corrupt(format!(
                "corrupt: the byte at 0x17 is {other:#04x}, and only 0 and 1 have a meaning"
            ))
            .at(HASH_APPENDED));
        }
    };
    read(bytes, chip, &walk, has_digest)
}

fn neither() -> Defect {
    Defect::corrupt(
        "corrupt: it begins with 0xe9 as an image does, and is neither an ESP8266 nor an ESP32 image; copy the file again",
    )
}

/// Refuses boot loaders and merged images: they have neither a descriptor nor code that runs from flash.
fn check_kind(bytes: &[u8], chip: Esp32Chip, walk: &Walk) -> Result<(), Defect> {
    let runs_from_flash = || {
        walk.segments
            .iter()
            .any(|segment| is_flash(chip, segment.address))
    };
    if descriptor::is_there(bytes) || runs_from_flash() {
        return Ok(());
    }
    if foreign::has_partition_table(bytes) {
        return Err(foreign::merged());
    }
    if !walk.xor_is_right(bytes) {
        return Err(neither());
    }
    Err(Defect::not_an_app(
        "this is an ESP32 boot loader: no app descriptor at 0x20; copy firmware.bin or <sketch>.ino.bin instead",
    ))
}

/// Addresses at which a chip sees its flash (esptool, `IROM_MAP_START` to `DROM_MAP_END` of each target).
const fn is_flash(chip: Esp32Chip, address: u32) -> bool {
    match chip.0 {
        0 => matches!(address, 0x3F40_0000..=0x3F7F_FFFF | 0x400D_0000..=0x403F_FFFF),
        2 => matches!(address, 0x3F00_0000..=0x3F3E_FFFF | 0x4008_0000..=0x40B7_FFFF),
        5 | 9 | 12 => matches!(address, 0x3C00_0000..=0x3DFF_FFFF | 0x4200_0000..=0x43FF_FFFF),
        13 | 16 | 20 | 23 | 25 | 28 => matches!(address, 0x4200_0000..=0x43FF_FFFF),
        18 => matches!(address, 0x4000_0000..=0x4BFF_FFFF),
        31 => matches!(address, 0x3C00_0000..=0x3FFF_FFFF),
        32 => matches!(address, 0x4000_0000..=0x53FF_FFFF),
        _ => false,
    }
}

/// Checks what follows the segments, and gathers the facts.
fn read(bytes: &[u8], chip: Esp32Chip, walk: &Walk, has_digest: bool) -> Result<Facts, Defect> {
    let image_end = walk.end + if has_digest { DIGEST } else { 0 };
    let Some(stored) = bytes.get(walk.end..image_end) else {
        return Err(truncated(bytes.len(), image_end));
    };
    let signature = secure_boot::behind(bytes, image_end)?;
    let signed_end = signature.map_or(image_end, |signature| signature.start);
    let sums = Sums::of(bytes, &[walk.end, image_end, signed_end]);
    let digest = sums.cuts[0].sha256;
    if has_digest && digest.as_bytes() != stored {
        return Err(Defect::corrupt(format!(
            "corrupt: the SHA-256 at {:#x} is not that of the bytes before it; copy the file again",
            walk.end
        ))
        .at(walk.end));
    }
    if let Some(signature) = signature {
        signature.check(bytes, sums.cuts[2].sha256)?;
    }
    let identities = identities(&sums, has_digest);
    let (version, title) = descriptor::version_and_title(bytes);
    Ok(Facts {
        version,
        title,
        flash_size: flash_size(bytes),
        signed: signature.is_some(),
        proves_whole: has_digest,
        ..facts(bytes, &sums, Family::Esp32(chip), identities)
    })
}

/// What a device may report: the MD5 of what it takes for the image (`ESP.getSketchMD5`), which ends before or behind a
/// signature; the digest, or in builds that check signatures the hash that was signed
/// (`bootloader_common_get_sha256_of_partition`).
fn identities(sums: &Sums, has_digest: bool) -> Identities {
    let mut md5 = vec![sums.file.md5];
    md5.extend(sums.cuts[1..].iter().map(|cut| cut.md5));
    let mut sha256 = vec![sums.file.sha256];
    // Without a digest the device hashes the whole image, so the first cut means nothing.
    let cuts = &sums.cuts[usize::from(!has_digest)..];
    sha256.extend(cuts.iter().map(|cut| cut.sha256));
    md5.sort_unstable();
    md5.dedup();
    sha256.sort_unstable();
    sha256.dedup();
    Identities {
        md5: md5.into(),
        sha256: sha256.into(),
    }
}

/// Size of the flash that the header was built for (`esp_image_flash_size_t`).
fn flash_size(bytes: &[u8]) -> Option<u64> {
    let code = bytes.get(3)? >> 4;
    (code <= 7).then(|| (1 << 20) << code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::forge::{Esp32, esp32_boot_loader, merged, secure_boot_signed};
    use crate::firmware::{DefectKind, ImageKind, Md5, Sha256};
    use proptest::prelude::*;

    fn examine(bytes: &[u8]) -> Result<Facts, Defect> {
        super::super::examine(bytes, ImageKind::Firmware)
    }

    #[test]
    fn the_descriptor_tells_version_and_name() {
        let app = Esp32 {
            chip: Esp32Chip(9),
            version: "v2.1-dirty",
            project: "climate",
            ..Esp32::default()
        };
        let facts = examine(&app.build()).unwrap();
        assert_eq!(facts.family, Family::Esp32(Esp32Chip(9)));
        assert_eq!(facts.version.as_deref(), Some("v2.1-dirty"));
        assert_eq!(facts.title.as_deref(), Some("climate"));
        assert_eq!(facts.flash_size, Some(4 << 20));
        assert!(facts.proves_whole && !facts.signed);
    }

    #[test]
    fn the_digest_footer_is_an_identity() {
        let image = Esp32::default().build();
        let footer = image.last_chunk::<32>().copied().unwrap();
        let facts = examine(&image).unwrap();
        assert!(facts.is_run_by(None, Some(Sha256::from_bytes(footer))));
        assert!(facts.is_run_by(None, Some(Sha256::of(&image))));
        assert_eq!(*facts.identities.md5, [Md5::of(&image)]);
    }

    #[test]
    fn a_signed_image_is_also_what_was_signed() {
        let image = Esp32::default().build();
        let mut padded = image.clone();
        padded.resize(image.len().next_multiple_of(4096), 0xFF);
        let file = secure_boot_signed(&image);
        let facts = examine(&file).unwrap();
        assert!(facts.signed && facts.proves_whole);
        for md5 in [Md5::of(&image), Md5::of(&file)] {
            assert!(facts.is_run_by(Some(md5), None));
        }
        for sha256 in [Sha256::of(&image[..image.len() - 32]), Sha256::of(&padded)] {
            assert!(facts.is_run_by(None, Some(sha256)));
        }
    }

    #[test]
    fn an_image_without_digest_has_only_its_xor_byte() {
        let app = Esp32 {
            has_digest: false,
            ..Esp32::default()
        };
        assert!(!examine(&app.build()).unwrap().proves_whole);
    }

    #[test]
    fn other_files_of_a_build_are_named() {
        for chip in [0, 5] {
            let chip = Esp32Chip(chip);
            let app = Esp32 {
                chip,
                ..Esp32::default()
            };
            let boot = examine(&esp32_boot_loader(chip)).unwrap_err();
            assert_eq!(boot.kind, DefectKind::NotAnApp);
            assert!(boot.sentence.contains("boot loader"), "{boot}");
            let merged = examine(&merged(app)).unwrap_err();
            assert_eq!(merged.kind, DefectKind::NotAnApp);
            assert!(merged.sentence.contains("merged"), "{merged}");
        }
    }

    #[test]
    fn a_truncated_image_says_how_long_it_should_be() {
        let defect = examine(&Esp32::default().build()[..8191]).unwrap_err();
        assert!(defect.sentence.contains("8191 bytes are there"), "{defect}");
        assert!(defect.sentence.contains("for 8192;"), "{defect}");
    }

    #[test]
    fn no_cut_image_is_accepted() {
        let app = Esp32 {
            size: 2000,
            ..Esp32::default()
        };
        let image = app.build();
        let signed = secure_boot_signed(&image);
        for length in 0..signed.len() {
            let whole = length == image.len();
            assert_eq!(examine(&signed[..length]).is_ok(), whole, "{length} bytes");
        }
    }

    #[test]
    fn any_changed_byte_is_found() {
        let image = Esp32::default().build();
        for at in 0..image.len() {
            let mut changed = image.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(examine(&changed).is_err(), "byte {at:#x}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0..600_usize) {
            let mut image = Esp32::default().build();
            let at = at.min(image.len() - bytes.len());
            image[at..at + bytes.len()].copy_from_slice(&bytes);
            let _ = examine(&image);
            let _ = examine(&[&[0xE9], &bytes[..]].concat());
        }
    }
}
