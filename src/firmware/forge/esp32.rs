//! Images of the ESP32 family, and the other files of an ESP32 build.

use crc::{CRC_32_ISO_HDLC, Crc};
use sha2::{Digest, Sha256};

use super::{WAY, filler, push_segments, push_word};
use crate::firmware::Esp32Chip;

/// What an app is made of (ESP-IDF `esp_app_format.h` and `esp_app_desc.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Esp32<'a> {
    /// The chip named in the header.
    pub chip: Esp32Chip,
    /// Version in the descriptor; cut to 31 bytes.
    pub version: &'a str,
    /// Project in the descriptor; cut to 31 bytes.
    pub project: &'a str,
    /// Length in bytes, rounded up to 16; at least 1 KiB.
    pub size: usize,
    /// Images of different seeds have different bytes.
    pub seed: u64,
    /// 0 QIO, 1 QOUT, 2 DIO, 3 DOUT.
    pub flash_mode: u8,
    /// It contains the first word of the paths under which it asks for updates.
    pub knows_its_way: bool,
    /// A SHA-256 follows the image.
    pub has_digest: bool,
}

impl Default for Esp32<'_> {
    fn default() -> Self {
        Self {
            chip: Esp32Chip(0),
            version: "1.0.0",
            project: "forged",
            size: 8 * 1024,
            seed: 1,
            flash_mode: 2,
            knows_its_way: true,
            has_digest: true,
        }
    }
}

impl Esp32<'_> {
    /// The image.
    #[must_use]
    pub fn build(self) -> Vec<u8> {
        let digest = if self.has_digest { 32 } else { 0 };
        let end = self.size.max(1024).next_multiple_of(16) - digest;
        let mut image = Vec::with_capacity(end + digest);
        push_header(&mut image, self.chip, 2, self.flash_mode, self.has_digest);
        // Header, two segment headers, 64 bytes of padding, the line of the XOR byte.
        let rest = 24 + 2 * 8 + 64 + 16;
        let mut data = filler(self.seed, end - rest);
        data[..256].copy_from_slice(&self.descriptor());
        if self.knows_its_way {
            data[256..256 + WAY.len()].copy_from_slice(WAY);
        }
        let segments = [(data_in_flash(self.chip), data), (0, vec![0; 64])];
        push_segments(&mut image, 0, &segments);
        if self.has_digest {
            let digest = Sha256::digest(&image);
            image.extend_from_slice(&digest);
        }
        image
    }

    fn descriptor(&self) -> [u8; 256] {
        let mut descriptor = [0; 256];
        let mut put = |at: usize, bytes: &[u8]| {
            descriptor[at..at + bytes.len()].copy_from_slice(bytes);
        };
        let fits = |text: &'_ str| text.len().min(31);
        put(0, &0xABCD_5432_u32.to_le_bytes());
        put(0x10, &self.version.as_bytes()[..fits(self.version)]);
        put(0x30, &self.project.as_bytes()[..fits(self.project)]);
        put(0x50, b"00:00:00");
        put(0x60, b"Jan  1 2026");
        put(0x70, b"v5.5");
        descriptor
    }
}

/// Where a chip sees flash as data (esptool, `DROM_MAP_START` of each target), plus the offset of the first segment.
const fn data_in_flash(chip: Esp32Chip) -> u32 {
    0x20 + match chip.0 {
        0 => 0x3F40_0000,
        2 => 0x3F00_0000,
        5 | 9 | 12 | 31 => 0x3C00_0000,
        18 | 32 => 0x4000_0000,
        _ => 0x4200_0000,
    }
}

/// A header that asks for a chip revision which no chip has.
fn push_header(image: &mut Vec<u8>, chip: Esp32Chip, segments: u8, mode: u8, has_digest: bool) {
    const NO_ENTRY: u32 = 0;
    image.extend_from_slice(&[0xE9, segments, mode, 0x20]);
    push_word(image, NO_ENTRY);
    image.extend_from_slice(&[0xEE, 0, 0, 0]);
    image.extend_from_slice(&chip.0.to_le_bytes());
    image.extend_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
    image.push(u8::from(has_digest));
}

/// The image padded to 4096 bytes, with a sector behind it that holds one signature block of a made-up key (espsecure
/// `sign-data --version 2`).
#[must_use]
pub fn secure_boot_signed(image: &[u8]) -> Vec<u8> {
    let mut signed = image.to_vec();
    signed.resize(image.len().next_multiple_of(4096), 0xFF);
    let mut block = vec![0xE7, 2, 0, 0];
    block.extend_from_slice(&Sha256::digest(&signed));
    block.extend_from_slice(&filler(0x5160, 1196 - block.len()));
    push_word_crc(&mut block);
    block.extend_from_slice(&[0; 16]);
    block.resize(4096, 0xFF);
    signed.extend_from_slice(&block);
    signed
}

fn push_word_crc(block: &mut Vec<u8>) {
    let crc = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(block);
    push_word(block, crc);
}

/// A second-stage boot loader: segments in RAM only, and no app descriptor.
#[must_use]
pub fn esp32_boot_loader(chip: Esp32Chip) -> Vec<u8> {
    let mut image = Vec::new();
    push_header(&mut image, chip, 1, 2, true);
    push_segments(&mut image, 0, &[(0x3FFF_0018, filler(2, 4096))]);
    let digest = Sha256::digest(&image);
    image.extend_from_slice(&digest);
    image
}

/// A partition table with one entry, filled up as `gen_esp32part.py` does.
#[must_use]
pub fn partition_table() -> Vec<u8> {
    let mut table = vec![0xAA, 0x50, 0, 0x10];
    push_word(&mut table, 0x1_0000);
    push_word(&mut table, 0x10_0000);
    table.extend_from_slice(b"app0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    table.resize(0xC00, 0xFF);
    table
}

/// Boot loader, partition table and app in one file that begins at 0 of flash (`esptool merge-bin`).
#[must_use]
pub fn merged(app: Esp32<'_>) -> Vec<u8> {
    let boot_at = if matches!(app.chip.0, 0 | 2) {
        0x1000
    } else {
        0
    };
    let mut flash = vec![0xFF; boot_at];
    flash.extend_from_slice(&esp32_boot_loader(app.chip));
    flash.resize(0x8000, 0xFF);
    flash.extend_from_slice(&partition_table());
    flash.resize(0x1_0000, 0xFF);
    flash.extend_from_slice(&app.build());
    flash
}
