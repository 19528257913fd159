//! Arduino images of the ESP8266 and ESP8285 (esp8266/Arduino `tools/elf2bin.py`, `Esp.cpp`, `Updater.cpp`).
//!
//! | offset | what |
//! |---|---|
//! | 0 | eboot, the boot loader: an image of its own with an XOR byte, filled up with 0xAA |
//! | 0x1000 | the sketch: header of 8 bytes, first segment's address and length |
//! | 0x1010 | length of the file, without a signature |
//! | 0x1014 | CRC-32 (MPEG-2) of the file with these two words as zero |
//! | end | perhaps a signature and its length as a word (`tools/signing.py`) |
//!
//! The sketch's own XOR byte was made before the two words were filled in, so it is wrong in every file that has them.
//! Cores before 2.7.0 have no such words; there the XOR byte is all there is.

use crc::{CRC_32_MPEG_2, Crc, Table};

use super::layout::{MAGIC, Stumble, Walk, truncated, walk, word};
use super::sums::Sums;
use super::{Defect, Facts, Family, Identities, facts};

/// Where the sketch begins; eboot has all before.
const SKETCH: usize = 0x1000;
const LENGTH_WORD: usize = 0x1010;
const CRC_WORD: usize = 0x1014;
const HEADER: usize = 8;
/// What is between boot loader and sketch (`elf2bin.py`).
const FILLING: u8 = 0xAA;

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_MPEG_2);

/// The bytes look like an Arduino image: a boot loader that ends before the sketch's header, or a length word that
/// is right.
pub(super) fn is_arduino(bytes: &[u8]) -> bool {
    bytes.get(SKETCH) == Some(&MAGIC)
        && (boot_loader(bytes).is_some()
            || word(bytes, LENGTH_WORD).map(|length| length as usize) == Some(bytes.len()))
}

/// The boot loader's segments: they end before the sketch and go to RAM.
fn boot_loader(bytes: &[u8]) -> Option<Walk> {
    let part = bytes.get(..SKETCH)?;
    let walk = walk(part, 0, HEADER).ok()?;
    walk.segments
        .iter()
        .all(|segment| is_ram(segment.address))
        .then_some(walk)
}

/// Data RAM or instruction RAM of the chip (esptool `ESP8266ROM.MEMORY_MAP`).
pub(super) const fn is_ram(address: u32) -> bool {
    matches!(address, 0x3FFE_8000..=0x3FFF_FFFF | 0x4010_0000..=0x4010_FFFF)
}

/// Flash as the chip maps it (`IROM_MAP_START` and `IROM_MAP_END` of esptool).
pub(super) const fn is_flash(address: u32) -> bool {
    matches!(address, 0x4020_0000..=0x402F_FFFF)
}

/// Size of the flash that a header was built for (`magicFlashChipSize` of `Esp.cpp`).
pub(super) fn flash_size(bytes: &[u8]) -> Option<u64> {
    const KIB: u64 = 1024;
    Some(match bytes.get(3)? >> 4 {
        0 => 512 * KIB,
        1 => 256 * KIB,
        2 => 1024 * KIB,
        3 => 2048 * KIB,
        4 => 4096 * KIB,
        8 => 8192 * KIB,
        9 => 16384 * KIB,
        _ => return None,
    })
}

/// Reads an image for which [`is_arduino`] holds.
pub(super) fn arduino(bytes: &[u8]) -> Result<Facts, Defect> {
    let length = word(bytes, LENGTH_WORD).map_or(0, |length| length as usize);
    let sketch = walk(bytes, SKETCH, HEADER).map_err(|stumble| match stumble {
        Stumble::Truncated { .. } if is_plausible(length) && length > bytes.len() => {
            truncated(bytes.len(), length)
        }
        Stumble::Truncated { .. } | Stumble::Segments(_) => stumble.defect(bytes.len()),
    })?;
    if bytes[0] != MAGIC {
        return Err(Defect::corrupt(format!(
            "corrupt: its first byte is {:#04x} instead of 0xe9; copy the file again",
            bytes[0]
        ))
        .at(0));
    }
    let boot_is_right = boot_loader(bytes).is_some_and(|boot| boot.xor_is_right(bytes));
    if !boot_is_right {
        return Err(Defect::corrupt(
            "corrupt: the boot loader part before 0x1000 has a wrong checksum; copy the file again",
        )
        .at(0));
    }
    let proves_whole = check_sketch(bytes, &sketch, length)?;
    let signed = signature_behind(bytes, sketch.end)?;
    let sums = Sums::of_esp8266(bytes, sketch.end);
    let identities = identities(&sums);
    Ok(Facts {
        flash_size: flash_size(bytes),
        signed,
        proves_whole,
        ..facts(bytes, &sums, Family::Esp8266, identities)
    })
}

/// What is wrong with a file that begins with a boot loader, which ends at `end`, and is no Arduino image: the filling
/// that only Arduino puts between boot loader and sketch says that it was one. `None`: nothing does.
pub(super) fn damaged_behind_eboot(bytes: &[u8], end: usize) -> Option<Defect> {
    let filling = bytes.get(end..bytes.len().min(SKETCH))?;
    if filling.is_empty() || filling.iter().any(|byte| *byte != FILLING) {
        return None;
    }
    Some(match bytes.get(SKETCH) {
        None => truncated(bytes.len(), "much more"),
        Some(byte) => Defect::corrupt(format!(
            "corrupt: the byte at 0x1000 is {byte:#04x}, and the sketch begins with 0xe9; copy the file again"
        )).at(SKETCH),
    })
}

/// A length word that a linker and `elf2bin` can have made.
const fn is_plausible(length: usize) -> bool {
    length > CRC_WORD && length < 1 << 24 && length.is_multiple_of(16)
}

/// Checks the sketch by its CRC, or, where it has none, by its XOR byte. True when it was the CRC.
fn check_sketch(bytes: &[u8], sketch: &Walk, length: usize) -> Result<bool, Defect> {
    let stored = word(bytes, CRC_WORD).unwrap_or(0);
    let computed = crc(bytes, sketch.end);
    if stored == computed && length == sketch.end {
        return Ok(true);
    }
    // Words that are partly right were both filled in once, and the file changed since.
    if stored != computed
        && length != sketch.end
        && length != bytes.len()
        && sketch.xor_is_right(bytes)
    {
        return Ok(false);
    }
    Err(Defect::corrupt(if length == sketch.end {
        format!(
            "corrupt: the CRC at 0x1014 is {stored:#010x}, and its bytes have {computed:#010x}; copy the file again"
        )
    } else {
        format!(
            "corrupt: the length at 0x1010 is {length}, and its segments end at {}; copy the file again",
            sketch.end
        )
    }).at(if length == sketch.end { CRC_WORD } else { LENGTH_WORD }))
}

/// CRC of the image up to `end` with its two words as zero.
fn crc(bytes: &[u8], end: usize) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&bytes[..LENGTH_WORD]);
    digest.update(&[0; 8]);
    digest.update(bytes.get(LENGTH_WORD + 8..end).unwrap_or_default());
    digest.finalize()
}

/// Whether what follows the image is a signature and its length; anything else is a defect.
pub(super) fn signature_behind(bytes: &[u8], end: usize) -> Result<bool, Defect> {
    let rest = &bytes[end..];
    if rest.is_empty() {
        return Ok(false);
    }
    if is_signature(rest) {
        return Ok(true);
    }
    Err(Defect::corrupt(format!(
        "corrupt: the image ends at {end:#x}, and {} bytes follow that are no whole signature; copy the file again",
        rest.len()
    )).at(end))
}

/// A signature, then its length as a word (`tools/signing.py`).
pub(super) fn is_signature(rest: &[u8]) -> bool {
    rest.len()
        .checked_sub(4)
        .is_some_and(|length| length > 0 && word(rest, length).map(|n| n as usize) == Some(length))
}

/// What an ESP8266 that runs the image may report. The updater writes the flash mode of the chip into the header and
/// leaves the signature behind; the file as it stands is for nodes that hash what they were sent.
pub(super) fn identities(sums: &Sums) -> Identities {
    let mut md5 = sums.modes.clone();
    let mut sha256: Vec<_> = sums.cuts.iter().map(|cut| cut.sha256).collect();
    if !md5.contains(&sums.file.md5) {
        md5.push(sums.file.md5);
    }
    if !sha256.contains(&sums.file.sha256) {
        sha256.push(sums.file.sha256);
    }
    Identities {
        md5: md5.into(),
        sha256: sha256.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::forge::{Esp8266, signed};
    use crate::firmware::{DefectKind, ImageKind, Md5};
    use proptest::prelude::*;

    fn examine(bytes: &[u8]) -> Result<Facts, Defect> {
        super::super::examine(bytes, ImageKind::Firmware)
    }

    fn with_mode(image: &[u8], mode: u8) -> Md5 {
        let mut image = image.to_vec();
        image[2] = mode;
        Md5::of(&image)
    }

    #[test]
    fn an_arduino_image_is_an_esp8266_image() {
        let image = Esp8266::default().build();
        let facts = examine(&image).unwrap();
        assert_eq!(facts.family, Family::Esp8266);
        assert_eq!(facts.flash_size, Some(4 << 20));
        assert!(facts.proves_whole && !facts.signed);
        assert_eq!(facts.version, None);
    }

    #[test]
    fn an_arduino_image_that_is_cut_is_truncated_wherever_it_is_cut() {
        let image = Esp8266::default().build();
        let boot_loader = 32;
        for length in (12..image.len()).filter(|length| *length != boot_loader) {
            let defect = examine(&image[..length]).unwrap_err();
            assert_eq!(defect.kind, DefectKind::Corrupt, "{length} bytes");
            let sentence = defect.to_string();
            assert!(sentence.starts_with("truncated"), "{length}: {sentence}");
        }
        let mut changed = image;
        changed[SKETCH] ^= 1;
        let defect = examine(&changed).unwrap_err();
        assert_eq!(defect.kind, DefectKind::Corrupt);
        assert!(defect.to_string().contains("0x1000"), "{defect}");
    }

    #[test]
    fn every_flash_mode_that_the_updater_may_write_is_the_same_image() {
        for flash_mode in [0, 2, 3, 0xFF] {
            let image = Esp8266 {
                flash_mode,
                ..Esp8266::default()
            }
            .build();
            let md5 = examine(&image).unwrap().identities.md5;
            assert_eq!(md5.len(), if flash_mode < 4 { 4 } else { 5 });
            for mode in [0, 1, 2, 3, flash_mode] {
                assert!(md5.contains(&with_mode(&image, mode)), "mode {mode}");
            }
        }
    }

    #[test]
    fn a_signature_is_left_behind_by_the_updater() {
        let image = Esp8266::default().build();
        let file = signed(&image, 256);
        let facts = examine(&file).unwrap();
        assert!(facts.signed && facts.proves_whole);
        assert!(facts.identities.md5.contains(&Md5::of(&image)));
        assert!(facts.identities.md5.contains(&Md5::of(&file)));
        assert!(facts.identities.md5.contains(&with_mode(&image, 0)));
    }

    #[test]
    fn an_image_of_an_old_core_has_only_its_xor_byte() {
        let image = Esp8266 {
            has_crc: false,
            ..Esp8266::default()
        }
        .build();
        let facts = examine(&image).unwrap();
        assert_eq!(facts.family, Family::Esp8266);
        assert!(!facts.proves_whole);
    }

    #[test]
    fn a_truncated_image_says_how_long_it_should_be() {
        let image = Esp8266::default().build();
        let defect = examine(&image[..9000]).unwrap_err();
        assert!(defect.sentence.contains("9000 bytes are there"), "{defect}");
        assert!(defect.sentence.contains("12288;"), "{defect}");
    }

    #[test]
    fn no_cut_image_is_accepted() {
        let image = signed(&Esp8266::default().build(), 64);
        for length in 0..image.len() {
            let whole = length == image.len() - 68;
            assert_eq!(examine(&image[..length]).is_ok(), whole, "{length} bytes");
        }
    }

    #[test]
    fn a_file_with_more_behind_it_is_refused() {
        let mut image = Esp8266::default().build();
        for _ in 0..40 {
            image.push(0xFF);
            assert!(examine(&image).is_err());
        }
    }

    #[test]
    fn any_changed_byte_is_found() {
        let image = Esp8266::default().build();
        for at in 0..image.len() {
            let mut changed = image.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(examine(&changed).is_err(), "byte {at:#x}");
        }
    }

    proptest! {
        #[test]
        fn any_two_changed_bytes_are_found(at in 0..12288_usize, behind in 1..12288_usize, by in 1..=255_u8) {
            let mut image = Esp8266::default().build();
            let length = image.len();
            image[at] ^= by;
            image[(at + behind) % length] ^= by;
            prop_assert!(examine(&image).is_err());
        }
    }
}
