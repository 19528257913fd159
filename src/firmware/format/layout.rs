//! What the images of both families share: a header, segments one after another, and one XOR byte behind them
//! (esptool, "Firmware Image Format"; ESP-IDF `esp_app_format.h`).

use super::Defect;

/// First byte of an image (`ESP_IMAGE_HEADER_MAGIC`).
pub(super) const MAGIC: u8 = 0xE9;

/// Most segments an image may have (`ESP_IMAGE_MAX_SEGMENTS`).
const MOST_SEGMENTS: u8 = 16;

/// Seed of the XOR byte (`ESP_ROM_CHECKSUM_INITIAL`).
const XOR_SEED: u8 = 0xEF;

/// The little-endian word at an offset; `None` past the end.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// The little-endian half-word at an offset; `None` past the end.
pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(two.try_into().ok()?))
}

/// One segment: where it goes in memory, and where it is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Load address; 0 is padding.
    pub address: u32,
    /// Offset of its data in the file.
    pub at: usize,
    /// Length of its data in bytes.
    pub length: usize,
}

/// An image's segments, all inside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Walk {
    /// In the order of the file.
    pub segments: Vec<Segment>,
    /// Offset just behind the XOR byte.
    pub end: usize,
}

/// Why the segments could not be walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stumble {
    /// The file ends before the image does.
    Truncated {
        /// The file would have at least so many bytes.
        needed: u64,
    },
    /// No image has so many segments.
    Segments(u8),
}

impl Stumble {
    /// A sentence for a file of `length` bytes.
    pub(super) fn defect(self, length: usize) -> Defect {
        match self {
            Self::Truncated { needed } => truncated(length, format_args!("{needed} or more")),
            Self::Segments(count) => Defect::corrupt(format!(
                "corrupt: its header names {count} segments, and an image has 1 to {MOST_SEGMENTS}"
            )),
        }
    }
}

/// The sentence for a file that ends too early.
pub(super) fn truncated(length: usize, needed: impl std::fmt::Display) -> Defect {
    Defect::corrupt(format!(
        "truncated: {length} bytes are there, and its header asks for {needed}; copy the file again"
    ))
    .at(length)
}

/// Walks the segments of the image that begins at `start` with a header of `header` bytes.
pub(super) fn walk(bytes: &[u8], start: usize, header: usize) -> Result<Walk, Stumble> {
    let needed = (start as u64).saturating_add(header as u64);
    if bytes.len() as u64 <= needed {
        return Err(Stumble::Truncated { needed });
    }
    let count = bytes[start + 1];
    if count == 0 || count > MOST_SEGMENTS {
        return Err(Stumble::Segments(count));
    }
    let mut segments = Vec::with_capacity(usize::from(count));
    let mut at = start + header;
    for _ in 0..count {
        let (Some(address), Some(length)) = (word(bytes, at), word(bytes, at + 4)) else {
            return Err(Stumble::Truncated {
                needed: at as u64 + 8,
            });
        };
        at += 8;
        let length = length as usize;
        if bytes.len() - at < length {
            return Err(Stumble::Truncated {
                needed: end_of_line(at as u64 + length as u64),
            });
        }
        segments.push(Segment {
            address,
            at,
            length,
        });
        at += length;
    }
    // The XOR byte is the last of a line of 16, counted from the image's start.
    let end = start + ((at - start + 16) & !15);
    if end > bytes.len() {
        return Err(Stumble::Truncated { needed: end as u64 });
    }
    Ok(Walk { segments, end })
}

const fn end_of_line(at: u64) -> u64 {
    (at + 16) & !15
}

impl Walk {
    /// The XOR byte is right for these segments.
    pub(super) fn xor_is_right(&self, bytes: &[u8]) -> bool {
        self.xor_with(bytes, &[])
    }

    /// The XOR byte is right for these segments and `more`.
    pub(super) fn xor_with(&self, bytes: &[u8], more: &[u8]) -> bool {
        let sum = self
            .segments
            .iter()
            .map(|segment| xor(&bytes[segment.at..segment.at + segment.length]))
            .fold(XOR_SEED ^ xor(more), |sum, part| sum ^ part);
        bytes[self.end - 1] == sum
    }
}

/// All bytes XORed into one.
pub(super) fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

/// The text of a field that is padded with NUL; `None` when it is empty or not plain text.
pub(super) fn text(bytes: &[u8], at: usize, length: usize) -> Option<&str> {
    let field = bytes.get(at..at + length)?;
    let end = field.iter().position(|&b| b == 0).unwrap_or(length);
    let text = std::str::from_utf8(&field[..end]).ok()?.trim();
    (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_xor_byte_ends_a_line_of_16() {
        for (data, end) in [(0, 32), (6, 32), (14, 32), (15, 32), (16, 48), (32, 64)] {
            let mut bytes = vec![0; 16 + data + 16];
            bytes[1] = 1;
            bytes[12] = u8::try_from(data).unwrap();
            let walk = walk(&bytes, 0, 8).unwrap();
            assert_eq!(walk.end, end, "{data} bytes of data");
        }
    }

    #[test]
    fn a_segment_past_the_end_says_how_long_the_file_should_be() {
        let mut bytes = vec![0; 64];
        bytes[1] = 1;
        bytes[12] = 100;
        assert_eq!(walk(&bytes, 0, 8), Err(Stumble::Truncated { needed: 128 }));
        bytes[12..16].fill(0xFF);
        assert!(walk(&bytes, 0, 8).is_err());
    }

    #[test]
    fn no_image_has_0_or_17_segments() {
        for count in [0, 17, 255] {
            assert_eq!(
                walk(&[0xE9, count, 0, 0, 0, 0, 0, 0, 0], 0, 8),
                Err(Stumble::Segments(count))
            );
        }
    }

    #[test]
    fn a_field_that_is_not_text_is_no_text() {
        assert_eq!(text(b"1.0\0junk", 0, 8), Some("1.0"));
        assert_eq!(text(b"\xff\xfe1.0\0", 0, 6), None);
        assert_eq!(text(b"\0\0\0\0", 0, 4), None);
        assert_eq!(text(b"full", 0, 4), Some("full"));
    }
}
