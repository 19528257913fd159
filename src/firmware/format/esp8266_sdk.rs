//! ESP8266 images that are not Arduino's: those of Espressif's own SDKs and of what is built on them.
//!
//! **Plain** (0xE9; RTOS SDK 3): one header of 8 bytes, segments, XOR byte, perhaps a SHA-256 behind it (esptool
//! `ESP8266V3FirmwareImage`). **Second kind** (0xEA; NONOS SDK, rBoot, Sming): a header and a segment that runs from
//! flash, then a plain image, perhaps a CRC-32 of all before (esptool `ESP8266V2FirmwareImage`); the XOR byte leaves
//! the first segment out, unless rBoot's `esptool2 -iromchksum` made it.

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use sha2::Digest;

use super::esp8266::{
    damaged_behind_eboot, flash_size, identities, is_flash, is_ram, signature_behind,
};
use super::layout::{MAGIC, Walk, half, walk, word};
use super::sums::Sums;
use super::{Defect, Facts, Family, facts};

const HEADER: usize = 8;
/// First two bytes of the second kind (`IMAGE_V2_MAGIC`, `IMAGE_V2_SEGMENT`).
const SECOND_KIND: u16 = 0x04EA;
const DIGEST: usize = 32;
const CRC_LENGTH: usize = 4;

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// The bytes look like a plain image: the first segment goes to memory that an ESP8266 has. In an ESP32 image the same
/// word is pins, which are no such address.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    bytes.first() == Some(&MAGIC) && word(bytes, HEADER).is_some_and(|a| is_ram(a) || is_flash(a))
}

/// The bytes look like an image of the second kind, whose first segment has the address 0.
pub(super) fn is_second_kind(bytes: &[u8]) -> bool {
    half(bytes, 0) == Some(SECOND_KIND) && word(bytes, HEADER) == Some(0)
}

/// Reads an image for which [`is_plain`] holds.
pub(super) fn plain(bytes: &[u8]) -> Result<Facts, Defect> {
    let walk = walk(bytes, 0, HEADER).map_err(|stumble| stumble.defect(bytes.len()))?;
    if !walk.xor_is_right(bytes) {
        return Err(wrong_checksum(&walk));
    }
    if !walk
        .segments
        .iter()
        .any(|segment| is_flash(segment.address))
    {
        if let Some(defect) = damaged_behind_eboot(bytes, walk.end) {
            return Err(defect);
        }
        return Err(Defect::not_an_app(
            "this is an ESP8266 boot loader, or the half of an app that runs from RAM: nothing in it runs from flash; \
             copy firmware.bin or <sketch>.ino.bin instead",
        ));
    }
    let has_digest = bytes
        .get(walk.end..)
        .and_then(<[u8]>::first_chunk::<DIGEST>)
        == Some(&sha2::Sha256::digest(&bytes[..walk.end]).into());
    let end = walk.end + if has_digest { DIGEST } else { 0 };
    read(bytes, end, has_digest)
}

/// Reads an image for which [`is_second_kind`] holds.
pub(super) fn second_kind(bytes: &[u8]) -> Result<Facts, Defect> {
    let flash_length = word(bytes, HEADER + 4).map_or(usize::MAX, |length| length as usize);
    let flash = 2 * HEADER..flash_length.saturating_add(2 * HEADER);
    let walk = walk(bytes, flash.end, HEADER).map_err(|stumble| stumble.defect(bytes.len()))?;
    if bytes[flash.end] != MAGIC {
        return Err(Defect::corrupt(format!(
            "corrupt: the byte at {:#x} is {:#04x}, and the second header begins with 0xe9; copy the file again",
            flash.end, bytes[flash.end]
        )).at(flash.end));
    }
    let sums_all = walk.xor_with(bytes, &bytes[flash]);
    if !walk.xor_is_right(bytes) && !sums_all {
        return Err(wrong_checksum(&walk));
    }
    let has_crc = word(bytes, walk.end) == Some(boot_crc(&bytes[..walk.end]));
    let end = walk.end + if has_crc { CRC_LENGTH } else { 0 };
    read(bytes, end, has_crc)
}

/// CRC as the SDK's boot loader has it (`esp8266_crc32` of esptool, after `gen_appbin.py`).
fn boot_crc(bytes: &[u8]) -> u32 {
    let crc = CRC.checksum(bytes);
    if crc >> 31 == 1 { !crc } else { crc + 1 }
}

fn wrong_checksum(walk: &Walk) -> Defect {
    Defect::corrupt(format!(
        "corrupt: the checksum at {:#x} is wrong; copy the file again",
        walk.end - 1
    ))
    .at(walk.end - 1)
}

fn read(bytes: &[u8], end: usize, proves_whole: bool) -> Result<Facts, Defect> {
    let signed = signature_behind(bytes, end)?;
    let sums = Sums::of_esp8266(bytes, end);
    let identities = identities(&sums);
    Ok(Facts {
        flash_size: flash_size(bytes),
        espressif_sdk: true,
        signed,
        proves_whole,
        ..facts(bytes, &sums, Family::Esp8266, identities)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::forge::{esp8266_plain, esp8266_sdk_v2};
    use crate::firmware::{DefectKind, ImageKind, Md5};

    fn examine(bytes: &[u8]) -> Result<Facts, Defect> {
        super::super::examine(bytes, ImageKind::Firmware)
    }

    #[test]
    fn an_image_of_the_rtos_sdk_has_its_xor_byte_and_perhaps_a_digest() {
        let mut image = esp8266_plain(1);
        let facts = examine(&image).unwrap();
        assert_eq!(facts.family, Family::Esp8266);
        assert!(!facts.proves_whole);
        let digest = sha2::Sha256::digest(&image);
        image.extend_from_slice(&digest);
        let facts = examine(&image).unwrap();
        assert!(facts.proves_whole);
        assert!(facts.is_run_by(Some(Md5::of(&image)), None));
    }

    #[test]
    fn an_image_of_the_second_kind_has_a_crc_or_its_xor_byte() {
        let image = esp8266_sdk_v2(1);
        assert!(examine(&image).unwrap().proves_whole);
        let without = examine(&image[..image.len() - 4]).unwrap();
        assert_eq!(without.family, Family::Esp8266);
        assert!(!without.proves_whole);
    }

    #[test]
    fn the_xor_byte_may_cover_the_first_segment_too() {
        let mut image = esp8266_sdk_v2(1);
        image.truncate(image.len() - 4);
        let last = image.len() - 1;
        image[last] ^= super::super::layout::xor(&image[16..16 + 4096]);
        assert!(examine(&image).is_ok());
        image[last] ^= 1;
        assert!(examine(&image).is_err());
    }

    #[test]
    fn what_runs_from_ram_alone_is_no_app() {
        let eboot = &crate::firmware::forge::Esp8266::default().build()[..32];
        let defect = examine(eboot).unwrap_err();
        assert_eq!(defect.kind, DefectKind::NotAnApp);
        assert!(defect.sentence.contains("boot loader"), "{defect}");
    }

    #[test]
    fn no_cut_image_is_accepted() {
        let (plain, second) = (esp8266_plain(1), esp8266_sdk_v2(1));
        for (image, also) in [(&plain, 0), (&second, second.len() - 4)] {
            // The first two bytes tell the format.
            for length in 12..image.len() {
                let accepted = examine(&image[..length]).is_ok();
                assert_eq!(accepted, length == also, "{length} bytes");
            }
        }
    }

    #[test]
    fn any_changed_byte_that_a_sum_covers_is_found() {
        let second = esp8266_sdk_v2(1);
        for at in 12..second.len() {
            let mut changed = second.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(examine(&changed).is_err(), "byte {at:#x}");
        }
    }
}
