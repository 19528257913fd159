//! Signatures behind an ESP32 image (espsecure `sign-data`; ESP-IDF `esp_secure_boot.h`).
//!
//! Version 1 (ECDSA): a zero word and 64 bytes. Version 2 (RSA or ECDSA): the image is padded to 4096 bytes, then comes
//! a sector with up to three blocks of 1216 bytes. No key is known here, so only the sums in the first block are
//! checked: a signature of other bytes is found, a forged one is not.

use crc::{CRC_32_ISO_HDLC, Crc};

use super::Defect;
use super::layout::word;
use crate::firmware::Sha256;

const SECTOR: usize = 4096;
const MAGIC: u8 = 0xE7;
const RSA: u8 = 2;
const ECDSA: u8 = 3;
/// Third byte of an ECDSA block whose digest is SHA-256 (`ECDSA_SHA_256` of espsecure).
const WITH_SHA256: u8 = 0;
/// The digest of what is signed.
const DIGEST: std::ops::Range<usize> = 4..36;
/// The block's CRC-32 over all of it before.
const BLOCK_CRC: usize = 1196;
const VERSION_1: usize = 4 + 64;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A signature behind an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature {
    /// Where it begins, which is where what it covers ends.
    pub start: usize,
}

/// The signature that follows an image which ends at `end`; `None` when nothing follows. Anything else is a defect.
pub(super) fn behind(bytes: &[u8], end: usize) -> Result<Option<Signature>, Defect> {
    let rest = bytes.len() - end;
    if rest == 0 {
        return Ok(None);
    }
    if rest == VERSION_1 && word(bytes, end) == Some(0) {
        return Ok(Some(Signature { start: end }));
    }
    let start = end.next_multiple_of(SECTOR);
    let is_block = matches!(bytes.get(start..), Some([MAGIC, RSA | ECDSA, ..]));
    if is_block && bytes.len() == start + SECTOR {
        return Ok(Some(Signature { start }));
    }
    Err(Defect::corrupt(if is_block {
        format!(
            "corrupt: the signature block at {start:#x} has {} bytes instead of 4096; copy the file again",
            bytes.len() - start
        )
    } else {
        format!(
            "corrupt: the image ends at {end:#x}, and {rest} bytes follow that are no signature; copy the file again"
        )
    }).at(if is_block { start } else { end }))
}

impl Signature {
    /// Checks the sums inside the first block against the digest of all bytes before it.
    pub(super) fn check(self, bytes: &[u8], signed: Sha256) -> Result<(), Defect> {
        let block = &bytes[self.start..];
        if block.len() != SECTOR {
            return Ok(());
        }
        let has_sha256 = block[1] == RSA || block[2] == WITH_SHA256;
        if word(block, BLOCK_CRC) != Some(CRC.checksum(&block[..BLOCK_CRC])) {
            return Err(Defect::corrupt(format!(
                "corrupt: the signature block at {:#x} has a wrong CRC; copy the file again",
                self.start
            ))
            .at(self.start));
        }
        if has_sha256 && &block[DIGEST] != signed.as_bytes() {
            return Err(Defect::corrupt(format!(
                "corrupt: the signature at {:#x} is one of other bytes; sign the file again",
                self.start
            ))
            .at(self.start));
        }
        Ok(())
    }
}
