//! Looking for texts in an image, as `must_contain` asks for them; in what a compressed one inflates to.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::bufread::GzDecoder;
use memchr::memmem;

use super::gzip;

/// What is inflated at once.
const PIECE: usize = 64 * 1024;

/// Which of the texts are there.
#[must_use]
pub fn look_for(bytes: &[u8], texts: &[Box<str>]) -> BTreeMap<Box<str>, bool> {
    let mut found: BTreeMap<Box<str>, bool> =
        texts.iter().map(|text| (text.clone(), false)).collect();
    if gzip::is_gzip(bytes) {
        // What cannot be inflated contains nothing, and is no image either.
        let mut inflated = GzDecoder::new(bytes).take(gzip::MOST);
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let mut piece = vec![0; PIECE + longest];
        let mut kept = 0;
        while let Ok(more @ 1..) = inflated.read(&mut piece[kept..]) {
            let end = kept + more;
            look(&piece[..end], &mut found);
            // A text may lie across two pieces.
            kept = end.min(longest.saturating_sub(1));
            piece.copy_within(end - kept..end, 0);
        }
    } else {
        look(bytes, &mut found);
    }
    found
}

fn look(bytes: &[u8], found: &mut BTreeMap<Box<str>, bool>) {
    for (text, is_there) in found.iter_mut().filter(|(_, is_there)| !**is_there) {
        *is_there = memmem::find(bytes, text.as_bytes()).is_some();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::firmware::forge::gzipped;

    proptest! {
        #[test]
        fn a_text_is_found_wherever_it_lies_compressed_or_not(
            at in 0..200_000_usize, text in "[a-z_]{1,40}",
        ) {
            let mut image = vec![0xFF; 200_100];
            image[at..at + text.len()].copy_from_slice(text.as_bytes());
            let texts: [Box<str>; 2] = [text.clone().into(), format!("{text}!").into()];
            let wanted = BTreeMap::from([(texts[0].clone(), true), (texts[1].clone(), false)]);
            prop_assert_eq!(look_for(&image, &texts), wanted.clone());
            prop_assert_eq!(look_for(&gzipped(&image), &texts), wanted);
        }
    }
}
