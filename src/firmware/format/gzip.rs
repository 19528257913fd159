//! Compressed images. An ESP8266 (Arduino core 2.7.0 and later) inflates them itself while its boot loader copies
//! (`eboot.c`, `Updater.cpp`); an ESP32 does not (arduino-esp32 `HTTPUpdate.cpp` wants 0xE9 first).
//!
//! A device reports the sum of what it inflated, so the identities are those of the image inside. A signature is made
//! after compression and stands behind the gzip member (`tools/signing.py`).

use std::io::Read;

use flate2::bufread::GzDecoder;

use super::esp8266::is_signature;
use super::layout::MAGIC;
use super::{Defect, Facts, Family, ImageKind};

/// The largest flash of an ESP8266: more is never inflated, whatever the file says.
pub(super) const MOST: u64 = 16 << 20;

/// The bytes begin like gzip with deflate (RFC 1952).
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1F, 0x8B, 8])
}

/// Inflates a file for which [`is_gzip`] holds, and reads what is inside.
pub(super) fn examine(bytes: &[u8], kind: ImageKind) -> Result<Facts, Defect> {
    let mut decoder = GzDecoder::new(bytes);
    let mut image = Vec::new();
    if let Err(error) = decoder.by_ref().take(MOST + 1).read_to_end(&mut image) {
        return Err(Defect::corrupt(format!(
            "corrupt: it cannot be inflated ({error}) after {} bytes of image; copy the file again",
            image.len()
        ))
        .at(bytes.len() - decoder.get_ref().len()));
    }
    if image.len() as u64 > MOST {
        return too_large(bytes, &image);
    }
    let rest = decoder.into_inner();
    let signed = is_signature(rest);
    if !rest.is_empty() && !signed {
        return Err(Defect::corrupt(format!(
            "corrupt: {} bytes follow the gzip data that are no signature; copy the file again",
            rest.len()
        ))
        .at(bytes.len() - rest.len()));
    }
    if is_gzip(&image) {
        return Err(Defect::not_an_app(
            "this is gzip inside gzip, and a device inflates once; compress firmware.bin itself",
        ));
    }
    let image = super::inflated(&image, kind).map_err(|defect| Defect {
        sentence: format!("inside the gzip file: {defect}").into(),
        // Of the file itself nothing is known to be wrong at a certain byte.
        offset: None,
        ..defect
    })?;
    if kind == ImageKind::Firmware && matches!(image.family, Family::Esp32(_)) {
        return Err(Defect::not_an_app(format!(
            "this is gzip of an image for {}, and only the ESP8266 inflates; put the file inside it here instead",
            image.family
        )));
    }
    let file = super::unknown(bytes);
    Ok(Facts {
        size: file.size,
        md5: file.md5,
        sha256: file.sha256,
        inflated_size: Some(image.size),
        signed: signed || image.signed,
        // The member's CRC-32 and length cover every byte of the image.
        proves_whole: true,
        ..image
    })
}

/// More than any ESP8266 has: a slip if it is an app, else a format of another device.
fn too_large(bytes: &[u8], beginning: &[u8]) -> Result<Facts, Defect> {
    if beginning.first() == Some(&MAGIC) {
        return Err(Defect::corrupt(
            "corrupt: it inflates to more than 16 MiB, and no ESP8266 has so much flash",
        ));
    }
    Ok(super::unknown(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::examine;
    use super::*;
    use crate::firmware::forge::{Esp32, Esp8266, gzipped, signed};
    use crate::firmware::{DefectKind, Md5, Sha256};
    use proptest::prelude::*;

    fn app(bytes: &[u8]) -> Result<Facts, Defect> {
        examine(bytes, ImageKind::Firmware)
    }

    #[test]
    fn a_device_reports_the_image_inside() {
        let image = Esp8266::default().build();
        let file = gzipped(&image);
        let plain = app(&image).unwrap();
        let facts = app(&file).unwrap();
        assert_eq!(facts.identities, plain.identities);
        assert_eq!(facts.family, Family::Esp8266);
        assert_eq!(facts.md5, Md5::of(&file));
        assert_eq!(facts.sha256, Sha256::of(&file));
        assert_eq!(facts.size, file.len() as u64);
        assert_eq!(facts.inflated_size, Some(image.len() as u64));
        assert_eq!(facts.flash_size, plain.flash_size);
        assert!(facts.proves_whole && !facts.signed);
    }

    #[test]
    fn gzip_is_signed_after_compression() {
        let image = Esp8266::default().build();
        let facts = app(&signed(&gzipped(&image), 256)).unwrap();
        assert!(facts.signed);
        assert!(facts.is_run_by(Some(Md5::of(&image)), None));
    }

    #[test]
    fn no_cut_file_is_accepted() {
        let file = signed(&gzipped(&Esp8266::default().build()), 256);
        for length in 3..file.len() {
            let whole = length == file.len() - 260;
            assert_eq!(app(&file[..length]).is_ok(), whole, "{length} bytes");
        }
    }

    #[test]
    fn what_is_wrong_inside_is_said() {
        let image = Esp8266::default().build();
        let defect = app(&gzipped(&image[..9000])).unwrap_err();
        assert!(
            defect
                .sentence
                .starts_with("inside the gzip file: truncated"),
            "{defect}"
        );
        let defect = app(&gzipped(&gzipped(&image))).unwrap_err();
        assert!(defect.sentence.contains("gzip inside gzip"), "{defect}");
        let defect = app(&gzipped(&Esp32::default().build())).unwrap_err();
        assert_eq!(defect.kind, DefectKind::NotAnApp);
        assert!(defect.sentence.contains("for ESP32"), "{defect}");
    }

    #[test]
    fn a_bomb_is_inflated_within_bounds() {
        let mut bomb = vec![0; 64 << 20];
        let facts = app(&gzipped(&bomb)).unwrap();
        assert_eq!((facts.family, facts.inflated_size), (Family::Unknown, None));
        assert!(!facts.proves_whole);
        bomb[0] = MAGIC;
        assert!(app(&gzipped(&bomb)).is_err());
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_makes_another_image(at in 0..4000_usize, by in 1..=255_u8) {
            let image = Esp8266::default().build();
            let mut file = gzipped(&image);
            let at = 3 + at % (file.len() - 3);
            file[at] ^= by;
            // Some bytes of the header mean nothing to a reader: time, level, system.
            if let Ok(facts) = app(&file) {
                prop_assert!(facts.is_run_by(Some(Md5::of(&image)), None));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = app(&[&[0x1F, 0x8B, 8], &bytes[..]].concat());
        }
    }
}
