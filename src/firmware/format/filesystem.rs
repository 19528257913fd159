//! Images of filesystems: data for an app, written to a partition as they are.
//!
//! LittleFS 2 names its size in a superblock (littlefs `SPEC.md`), FAT in its boot sector; SPIFFS has no header at all.
//! So most that can be said is that a file is *not* one: an app that got the name of a filesystem would overwrite data.

use super::layout::{half, word};
use super::{Defect, DefectKind, Facts, unknown};

/// Name of the superblock's entry, behind the revision count and the entry's tag.
const LITTLEFS: &[u8; 8] = b"littlefs";
const LITTLEFS_AT: usize = 8;
/// Behind the name: the tag of the structure, then version (major in the high half), block size and block count.
const VERSION: usize = 20;
const BLOCK_SIZE: usize = 24;
const BLOCK_COUNT: usize = 28;

/// Reads a file that is offered as a filesystem and is not compressed.
pub(super) fn examine(bytes: &[u8]) -> Result<Facts, Defect> {
    if let Some(size) = littlefs_size(bytes) {
        return littlefs(bytes, size);
    }
    if let Some(size) = fat_size(bytes) {
        return fat(bytes, size);
    }
    match super::app(bytes) {
        Ok(facts) if facts.family == super::Family::Unknown => Ok(facts),
        Ok(facts) => Err(Defect::not_an_app(format!(
            "this is an app for {}, not a filesystem: rename it to firmware.bin",
            facts.family
        ))),
        // Partition table, boot loader, web page: no filesystem either. A blank one is: it erases the partition.
        Err(defect) if defect.kind == DefectKind::NotAnApp => Err(defect),
        Err(defect) if bytes.iter().all(|&byte| byte == 0) => Err(defect),
        Err(_) => Ok(unknown(bytes)),
    }
}

/// The file has the header of a filesystem.
pub(super) fn begins_well(bytes: &[u8]) -> bool {
    littlefs_size(bytes).is_some() || fat_size(bytes).is_some()
}

/// The name that says which filesystem it is; SPIFFS is what has no header.
pub(super) fn file_name(bytes: &[u8]) -> &'static str {
    if littlefs_size(bytes).is_some() {
        "littlefs.bin"
    } else if fat_size(bytes).is_some() {
        "fatfs.bin"
    } else {
        "spiffs.bin"
    }
}

/// Length of the LittleFS whose superblock is in either of the first two blocks; `None` when there is none.
fn littlefs_size(bytes: &[u8]) -> Option<u64> {
    let in_second = (7..=16).map(|power| 1_usize << power);
    std::iter::once(0).chain(in_second).find_map(|at| {
        let block = bytes.get(at..)?;
        let name = block.get(LITTLEFS_AT..LITTLEFS_AT + LITTLEFS.len())?;
        let (size, count) = (word(block, BLOCK_SIZE)?, word(block, BLOCK_COUNT)?);
        let is_version_2 = word(block, VERSION)? >> 16 == 2;
        let is_here = name == LITTLEFS && is_version_2 && (at == 0 || at == size as usize);
        is_here.then_some(u64::from(size) * u64::from(count))
    })
}

fn littlefs(bytes: &[u8], size: u64) -> Result<Facts, Defect> {
    check_length(bytes, "LittleFS", size)?;
    // Space kept for a copy that is under way reads as zeros; blocks that LittleFS does not use are 0xFF.
    let last_sector = &bytes[bytes.len().saturating_sub(4096)..];
    Ok(Facts {
        proves_whole: last_sector.iter().any(|&byte| byte != 0),
        ..unknown(bytes)
    })
}

/// Length of the FAT that a boot sector describes (Microsoft's FAT specification, BPB); `None` when it is no such sector.
fn fat_size(bytes: &[u8]) -> Option<u64> {
    let jumps = matches!(bytes.first(), Some(0xEB | 0xE9));
    let sector = half(bytes, 11)?;
    if half(bytes, 510)? != 0xAA55 || !jumps || !matches!(sector, 512 | 1024 | 2048 | 4096) {
        return None;
    }
    let sectors = match half(bytes, 19)? {
        0 => word(bytes, 32)?,
        few => u32::from(few),
    };
    Some(u64::from(sector) * u64::from(sectors))
}

/// A FAT under wear levelling has sectors of its own behind it, so only a shorter file is known to be wrong.
fn fat(bytes: &[u8], size: u64) -> Result<Facts, Defect> {
    if size > bytes.len() as u64 {
        check_length(bytes, "FAT", size)?;
    }
    Ok(unknown(bytes))
}

fn check_length(bytes: &[u8], name: &str, size: u64) -> Result<(), Defect> {
    let length = bytes.len() as u64;
    if length == size {
        return Ok(());
    }
    let what = if length < size {
        "truncated"
    } else {
        "corrupt"
    };
    Err(Defect::corrupt(format!(
        "{what}: {length} bytes are there, and its {name} header asks for {size}; copy the file again"
    )).at(bytes.len().min(usize::try_from(size).unwrap_or(usize::MAX))))
}

#[cfg(test)]
mod tests {
    use super::super::examine;
    use super::*;
    use crate::firmware::forge::{Esp32, Esp8266, gzipped, littlefs, partition_table};
    use crate::firmware::{Family, ImageKind, Md5};
    use proptest::prelude::*;

    fn filesystem(bytes: &[u8]) -> Result<Facts, Defect> {
        examine(bytes, ImageKind::Filesystem)
    }

    fn fat_sector(sectors: u16) -> Vec<u8> {
        let mut bytes = vec![0; usize::from(sectors) * 512];
        bytes[..3].copy_from_slice(&[0xEB, 0xFE, 0x90]);
        bytes[11..13].copy_from_slice(&512_u16.to_le_bytes());
        bytes[19..21].copy_from_slice(&sectors.to_le_bytes());
        bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
        bytes
    }

    #[test]
    fn littlefs_says_how_long_it_is() {
        let image = littlefs(4096, 16);
        let facts = filesystem(&image).unwrap();
        assert!(facts.proves_whole);
        assert_eq!(facts.family, Family::Unknown);
        assert_eq!(*facts.identities.md5, [Md5::of(&image)]);
        let defect = filesystem(&image[..60_000]).unwrap_err();
        assert!(
            defect.sentence.contains("60000 bytes are there"),
            "{defect}"
        );
        assert!(defect.sentence.contains("asks for 65536"), "{defect}");
        assert!(filesystem(&[&image[..], &[0]].concat()).is_err());
    }

    #[test]
    fn littlefs_may_have_its_superblock_in_the_second_block() {
        let mut image = littlefs(4096, 16);
        image[..4096].fill(0xFF);
        assert!(filesystem(&image).unwrap().proves_whole);
        assert!(filesystem(&image[..60_000]).is_err());
    }

    #[test]
    fn space_kept_for_a_copy_does_not_prove_itself() {
        let mut image = littlefs(4096, 16);
        image[32_768..].fill(0);
        assert!(!filesystem(&image).unwrap().proves_whole);
    }

    #[test]
    fn spiffs_and_fat_cannot_prove_that_they_are_whole() {
        let spiffs = [&[0x01, 0x80, 0xFF, 0xFF], &[0xFF; 16_380][..]].concat();
        let fat = fat_sector(128);
        for image in [&spiffs, &fat, &vec![0xFF; 8192]] {
            assert!(!filesystem(image).unwrap().proves_whole);
        }
        assert!(filesystem(&fat[..60_000]).is_err());
    }

    #[test]
    fn an_app_is_no_filesystem() {
        let apps = [Esp8266::default().build(), Esp32::default().build()];
        for app in apps.iter().chain(&apps.clone().map(|app| gzipped(&app))) {
            let sentence = filesystem(app).unwrap_err().sentence;
            assert!(sentence.contains("rename it to firmware.bin"), "{sentence}");
        }
        assert!(filesystem(&partition_table()).is_err());
        assert!(filesystem(b"<html>").is_err());
    }

    #[test]
    fn a_compressed_filesystem_is_proved_by_its_member() {
        let image = fat_sector(128);
        let facts = filesystem(&gzipped(&image)).unwrap();
        assert!(facts.proves_whole);
        assert_eq!(facts.inflated_size, Some(65_536));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0..600_usize) {
            let _ = filesystem(&bytes);
            for mut image in [littlefs(512, 4), fat_sector(4)] {
                let end = (at + bytes.len()).min(image.len());
                let at = at.min(end);
                image[at..end].copy_from_slice(&bytes[..end - at]);
                let _ = filesystem(&image);
            }
        }
    }
}
