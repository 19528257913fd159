//! Images of the ESP8266: Arduino's, and those of Espressif's own SDKs.

use crc::{CRC_32_ISO_HDLC, CRC_32_MPEG_2, Crc, Table};

use super::{WAY, filler, push_segments, push_word};

/// The header's code for 16 MiB of flash, more than nearly every board has.
pub const FLASH_16_MIB: u8 = 9;

const SKETCH: usize = 0x1000;
/// `j .`: jump here, for ever (Xtensa ISA, instruction J with offset -4).
const ENDLESS_LOOP: [u8; 4] = [0x06, 0xFF, 0xFF, 0];

/// What an Arduino image is made of (`tools/elf2bin.py` of esp8266/Arduino).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Esp8266 {
    /// Length in bytes, rounded up to 16; at least 8 KiB.
    pub size: usize,
    /// Images of different seeds have different bytes.
    pub seed: u64,
    /// 0 QIO, 1 QOUT, 2 DIO, 3 DOUT.
    pub flash_mode: u8,
    /// 2 is 1 MiB, 3 is 2 MiB, 4 is 4 MiB, 8 is 8 MiB, 9 is 16 MiB.
    pub flash_size: u8,
    /// It contains the first word of the paths under which it asks for updates.
    pub knows_its_way: bool,
    /// Length and CRC are filled in, as cores from 2.7.0 on do.
    pub has_crc: bool,
}

impl Default for Esp8266 {
    fn default() -> Self {
        Self {
            size: 12 * 1024,
            seed: 1,
            flash_mode: 2,
            flash_size: 4,
            knows_its_way: true,
            has_crc: true,
        }
    }
}

impl Esp8266 {
    /// The image.
    #[must_use]
    pub fn build(self) -> Vec<u8> {
        let size = self.size.max(8 * 1024).next_multiple_of(16);
        let mut image = Vec::with_capacity(size);
        self.push_header(&mut image, 1, 0x4010_F000);
        push_segments(&mut image, 0, &[(0x4010_F000, ENDLESS_LOOP.to_vec())]);
        image.resize(SKETCH, 0xAA);

        // Header, five segment headers, 16 bytes each in three of them, the line of the XOR byte.
        let rest = SKETCH + 8 + 5 * 8 + 3 * 16 + 16;
        let mut code = filler(self.seed, size - rest);
        code[..8].fill(0);
        if self.knows_its_way {
            code[16..16 + WAY.len()].copy_from_slice(WAY);
        }
        self.push_header(&mut image, 5, 0x4010_0000);
        let segments = [
            (0x4020_1010, code),
            (0x4010_0000, ENDLESS_LOOP.repeat(4)),
            (0x4010_0010, Vec::new()),
            (0x3FFE_8000, vec![0; 16]),
            (0x3FFE_8010, vec![0; 16]),
        ];
        push_segments(&mut image, SKETCH, &segments);
        if self.has_crc {
            let crc = Crc::<u32, Table<16>>::new(&CRC_32_MPEG_2).checksum(&image);
            let length = u32::try_from(image.len()).unwrap_or(u32::MAX);
            image[SKETCH + 16..SKETCH + 20].copy_from_slice(&length.to_le_bytes());
            image[SKETCH + 20..SKETCH + 24].copy_from_slice(&crc.to_le_bytes());
        }
        image
    }

    fn push_header(self, image: &mut Vec<u8>, segments: u8, entry: u32) {
        image.extend_from_slice(&[0xE9, segments, self.flash_mode, self.flash_size << 4]);
        push_word(image, entry);
    }
}

/// The image with a made-up signature of `length` bytes behind it, and its length (`tools/signing.py`).
#[must_use]
pub fn signed(image: &[u8], length: u32) -> Vec<u8> {
    let signature = filler(0x5160, length as usize);
    [image, &signature, &length.to_le_bytes()].concat()
}

/// A plain image with code in flash, as the RTOS SDK makes it (esptool `ESP8266V3FirmwareImage`).
#[must_use]
pub fn esp8266_plain(seed: u64) -> Vec<u8> {
    let mut image = vec![0xE9, 2, 2, 0x40];
    push_word(&mut image, 0x4010_0000);
    let segments = [
        (0x4021_0010, filler(seed, 4096)),
        (0x4010_0000, ENDLESS_LOOP.to_vec()),
    ];
    push_segments(&mut image, 0, &segments);
    image
}

/// An image of the NONOS SDK's second kind, with its CRC (esptool `ESP8266V2FirmwareImage`).
#[must_use]
pub fn esp8266_sdk_v2(seed: u64) -> Vec<u8> {
    let mut image = vec![0xEA, 4, 2, 0x40];
    push_word(&mut image, 0x4010_0000);
    push_word(&mut image, 0);
    push_word(&mut image, 4096);
    image.extend_from_slice(&filler(seed, 4096));
    image.extend_from_slice(&[0xE9, 1, 2, 0x40]);
    push_word(&mut image, 0x4010_0000);
    push_segments(&mut image, 0, &[(0x4010_0000, ENDLESS_LOOP.to_vec())]);
    let crc = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(&image);
    let crc = if crc >> 31 == 1 { !crc } else { crc + 1 };
    push_word(&mut image, crc);
    image
}
