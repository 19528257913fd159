//! Small, well-formed images for tests, benches and the shipped samples. No server uses this room.
//!
//! A forged image satisfies this crate's reader and Espressif's `esptool image-info`, and must never run by accident
//! on a node that polls under a sample's name. So each is made to be *refused before it is started*:
//!
//! - **ESP32**: the header asks for chip revision 655.35 (and 255 in the old field), which no chip has. The device checks
//!   that when the update is activated (`bootloader_common_check_chip_validity`), reports an error and keeps its app.
//!   Should a very old boot loader not look: nothing is loaded into RAM (one segment maps flash as data, the other is
//!   padding at address 0) and the entry is address 0, which is no memory, so it crashes at once and is rolled back
//!   where roll-back is on.
//! - **ESP8266**: nothing on the chip checks a chip id, revision or entry, but the updater and this server compare the
//!   header's flash size with the chip (`UPDATE_ERROR_NEW_FLASH_CONFIG`). Set [`Esp8266::flash_size`] to
//!   [`FLASH_16_MIB`] (the shipped sample does) and boards of 4 MiB and less refuse it. What starts where nothing
//!   refuses is one endless loop (`j .`) in the boot loader part: it drives no pin and writes no flash. Such a board
//!   needs a cable.
//!
//! The same options give the same bytes, on every machine.

mod esp32;
mod esp8266;

use std::io::Write;

/// First word of the paths of the main door.
const WAY: &[u8] = b"ota_update";

pub use esp32::{Esp32, esp32_boot_loader, merged, partition_table, secure_boot_signed};
pub use esp8266::{Esp8266, FLASH_16_MIB, esp8266_plain, esp8266_sdk_v2, signed};

/// The bytes as one gzip member, without a time in its header.
#[must_use]
pub fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), flate2::Compression::best());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

/// An empty LittleFS (version 2.0) of so many blocks: a superblock in both of the first blocks (littlefs `SPEC.md`).
/// Its metadata has no commit CRC, so a device would not mount it.
#[must_use]
pub fn littlefs(block_size: u32, block_count: u32) -> Vec<u8> {
    let mut bytes = vec![0xFF; block_size as usize * block_count as usize];
    for block in 0..2 {
        let superblock: Vec<u8> = [
            &(block + 1_u32).to_le_bytes()[..],
            &0xF0_0F_FF_F7_u32.to_le_bytes(),
            b"littlefs",
            &0x2FE0_0010_u32.to_le_bytes(),
            &0x0002_0000_u32.to_le_bytes(),
            &block_size.to_le_bytes(),
            &block_count.to_le_bytes(),
            &255_u32.to_le_bytes(),
            &0x7FFF_FFFF_u32.to_le_bytes(),
            &1022_u32.to_le_bytes(),
        ]
        .concat();
        let at = (block * block_size) as usize;
        bytes[at..at + superblock.len()].copy_from_slice(&superblock);
    }
    bytes
}

/// `length` bytes that depend on the seed alone and compress to about half.
fn filler(seed: u64, length: usize) -> Vec<u8> {
    // SplitMix64: any seed gives a good sequence, 0 included.
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 32);
    while bytes.len() < length {
        for _ in 0..2 {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
        }
        bytes.extend_from_slice(&[0; 16]);
    }
    bytes.truncate(length);
    bytes
}

/// Appends segments and the XOR byte to the header that begins at `start` (esptool, "Firmware Image Format").
fn push_segments(image: &mut Vec<u8>, start: usize, segments: &[(u32, Vec<u8>)]) {
    let mut sum = 0xEF;
    for (address, data) in segments {
        push_word(image, *address);
        push_word(image, u32::try_from(data.len()).unwrap_or(u32::MAX));
        image.extend_from_slice(data);
        sum = data.iter().fold(sum, |sum, byte| sum ^ byte);
    }
    while (image.len() - start) % 16 != 15 {
        image.push(0);
    }
    image.push(sum);
}

fn push_word(image: &mut Vec<u8>, word: u32) {
    image.extend_from_slice(&word.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::Sha256;

    #[test]
    fn the_same_options_give_the_same_bytes() {
        let sample = Esp8266 {
            flash_size: FLASH_16_MIB,
            ..Esp8266::default()
        };
        for (image, sha256) in [
            (
                sample.build(),
                "2154078f4a59f3e440f68c86410cb6388a47bc8455403ac97db92cea285ad7fb",
            ),
            (
                Esp32::default().build(),
                "7ba50dd6fa5dfb5f6c59ef8ef1e933ff00ecccd5a8680bc6954bbbb2aadd787a",
            ),
        ] {
            assert_eq!(Sha256::of(&image).to_string(), sha256);
        }
        let other = Esp32 {
            seed: 2,
            ..Esp32::default()
        };
        assert_ne!(other.build(), Esp32::default().build());
    }

    #[test]
    fn an_image_has_the_size_asked_for() {
        for size in [8192, 10_000, 300_000] {
            let esp8266 = Esp8266 {
                size,
                ..Esp8266::default()
            };
            let esp32 = Esp32 {
                size,
                ..Esp32::default()
            };
            for image in [esp8266.build(), esp32.build()] {
                assert_eq!(image.len(), size.next_multiple_of(16));
            }
        }
    }

    #[test]
    fn no_esp32_accepts_a_forged_image() {
        let image = Esp32::default().build();
        let (old, minimum) = (image[0x0E], &image[0x0F..0x11]);
        assert_eq!((old, minimum), (0xFF, &[0xFF, 0xFF][..]));
        assert_eq!(&image[4..8], [0; 4], "entry");
    }

    #[test]
    fn images_compress() {
        let image = Esp8266::default().build();
        assert!(gzipped(&image).len() < image.len() * 3 / 4);
    }
}
