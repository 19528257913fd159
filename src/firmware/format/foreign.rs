//! Sound files that are not the app: what else lies in a build folder, and what a browser saves by mistake.

use super::Defect;
use super::layout::{MAGIC, half};

/// First half-word of a partition entry, bytes 0xAA 0x50 (ESP-IDF `ESP_PARTITION_MAGIC`).
const PARTITION: u16 = 0x50AA;
/// Architectures of ESP chips in an ELF header: Xtensa and RISC-V.
const ESP_MACHINES: [u16; 2] = [94, 243];
/// How much of a file must be text for it to be text.
const TEXT: usize = 1024;
const SECTOR: usize = 4096;

/// What the file is, where that is certainly not an app.
pub(super) fn recognise(bytes: &[u8]) -> Option<Defect> {
    let sentence = match bytes {
        [0x7F, b'E', b'L', b'F', ..] => {
            half(bytes, 18).filter(|machine| ESP_MACHINES.contains(machine))?;
            "this is an ELF file (firmware.elf); copy the firmware.bin beside it"
        }
        [b'P', b'K', 3, 4, ..] => {
            "this is a ZIP archive; unpack it and copy the firmware.bin in it"
        }
        [b'U', b'F', b'2', b'\n', b'W', b'Q', 0x5D, 0x9E, ..] => {
            "this is a UF2 file, for copying over USB; copy firmware.bin instead"
        }
        _ if half(bytes, 0) == Some(PARTITION) => {
            "this is a partition table (partitions.bin); copy firmware.bin instead"
        }
        _ if is_blank(bytes) => {
            return Some(Defect::corrupt(format!(
                "corrupt: all of its {} bytes are {:#04x}; copy the file again",
                bytes.len(),
                bytes[0]
            )));
        }
        _ if is_ota_data(bytes) => {
            "this is OTA data (boot_app0.bin); copy firmware.bin or <sketch>.ino.bin instead"
        }
        _ if is_merged(bytes) => return Some(merged()),
        _ => return text(bytes),
    };
    Some(Defect::not_an_app(sentence))
}

/// The sentence for boot loader, partitions and app in one file.
pub(super) fn merged() -> Defect {
    Defect::not_an_app(
        "this is a merged image (boot loader, partitions and app) for flashing by cable; copy firmware.bin, \
         <sketch>.ino.bin or ESPHome's firmware.ota.bin instead",
    )
}

/// A partition table where flash has it, in a file that begins at 0, 0x1000 or 0x2000 of flash.
pub(super) fn has_partition_table(bytes: &[u8]) -> bool {
    [0x8000, 0x7000, 0x6000]
        .iter()
        .any(|&at| half(bytes, at) == Some(PARTITION))
}

/// A file that begins at 0 of flash where the boot loader is at 0x1000 or 0x2000: nothing before it.
fn is_merged(bytes: &[u8]) -> bool {
    [0x1000, 0x2000]
        .iter()
        .any(|&at| bytes.get(at) == Some(&MAGIC) && bytes[..at].iter().all(|&byte| byte == 0xFF))
}

/// Two sectors of flash with an entry of 32 bytes in either, or none (`esp_ota_select_entry_t`).
fn is_ota_data(bytes: &[u8]) -> bool {
    bytes.len() == 2 * SECTOR
        && bytes
            .chunks_exact(SECTOR)
            .all(|sector| sector[32..].iter().all(|&byte| byte == 0xFF))
}

/// One byte all over: an erased partition, or space kept for a copy that did not happen.
fn is_blank(bytes: &[u8]) -> bool {
    bytes
        .first()
        .is_some_and(|first| matches!(first, 0 | 0xFF) && bytes.iter().all(|byte| byte == first))
}

/// Text is no app; some has a better sentence than its first line.
fn text(bytes: &[u8]) -> Option<Defect> {
    let beginning = &bytes[..bytes.len().min(TEXT)];
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // The cut may go through a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_plain = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() || !text.chars().all(is_plain) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    Some(Defect::not_an_app(if is_intel_hex(text) {
        "this is an Intel HEX file; copy the firmware.bin beside it".to_owned()
    } else if text.starts_with("version https://git-lfs") {
        "this is a Git LFS pointer, not the file; run git lfs pull".to_owned()
    } else if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        "this is a web page saved under the name of an image; download the file itself".to_owned()
    } else {
        let line: String = text
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(40)
            .collect();
        format!("this is text that begins with {line:?}, not an image; download the file itself")
    }))
}

fn is_intel_hex(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    line.len() >= 11
        && line
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::forge::{Esp32, Esp8266, merged, partition_table};
    use crate::firmware::{DefectKind, Esp32Chip};
    use proptest::prelude::*;

    fn named(bytes: &[u8]) -> String {
        recognise(bytes).map_or_else(String::new, |defect| defect.sentence.into())
    }

    #[test]
    fn what_lies_beside_the_app_is_named() {
        let elf = [&b"\x7fELF\x01\x01\x01"[..], &[0; 11], &[94, 0], &[0; 32]].concat();
        let mut ota_data = vec![0xFF; 8192];
        ota_data[..4].copy_from_slice(&[1, 0, 0, 0]);
        for (bytes, words) in [
            (elf, "ELF"),
            (b"PK\x03\x04\x14\0".to_vec(), "ZIP"),
            (b"UF2\nWQ\x5d\x9e\0\0".to_vec(), "UF2"),
            (partition_table(), "partition table"),
            (ota_data, "boot_app0.bin"),
            (merged(Esp32::default()), "merged"),
            (b":020000040000FA\r\n:10".to_vec(), "Intel HEX"),
            (
                b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
                "git lfs pull",
            ),
            (b"\n<!DOCTYPE html>\n<html>".to_vec(), "web page"),
            (b"{\"message\":\"Not Found\"}".to_vec(), "Not Found"),
            (b"404: Not Found".to_vec(), "404: Not Found"),
            ("\u{feff}Zugriff verweigert: \u{e4}\u{f6}".into(), "Zugriff"),
        ] {
            let sentence = named(&bytes);
            assert!(sentence.contains(words), "{words}: {sentence}");
        }
    }

    #[test]
    fn a_blank_file_is_corrupt() {
        for byte in [0, 0xFF] {
            let defect = recognise(&[byte; 4096]).unwrap();
            assert_eq!(defect.kind, DefectKind::Corrupt);
        }
    }

    #[test]
    fn apps_and_formats_of_others_are_left_alone() {
        let linux = [&b"\x7fELF\x02\x01\x01"[..], &[0; 11], &[62, 0], &[0; 32]].concat();
        let chip = Esp32Chip(5);
        for bytes in [
            Esp8266::default().build(),
            Esp32 {
                chip,
                ..Esp32::default()
            }
            .build(),
            linux,
            b"\x96\xf3\xb8\x3d\0\0\0\0".to_vec(),
            b"hsqs\x12\0\0\0".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(named(&bytes), "");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = recognise(&bytes);
        }

        #[test]
        fn random_bytes_are_not_text(bytes: [u8; 256]) {
            prop_assume!(!bytes.starts_with(&[0xAA, 0x50]));
            prop_assert_eq!(named(&bytes), "");
        }
    }
}
