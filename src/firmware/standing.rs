//! The loop guard: what a node was given before, and what that means for giving it again.
//!
//! A device may come back from a complete download and still not report the image: encrypted flash, a rollback by its
//! boot loader, a patch we do not know. Without memory it would flash itself on every poll until its flash wears out.

use std::time::Duration;

use super::{ImageKind, RunningImage, Sha256};

/// Complete downloads of one image in this time count, whatever the node reports in between.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// A delivery that was complete: every byte sent, and the peer closed in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What was sent.
    pub kind: ImageKind,
    /// The image that was sent.
    pub image: Sha256,
    /// What the device said it ran when it asked.
    pub reported: RunningImage,
    /// When it ended, on the running clock (any fixed start).
    pub at: Duration,
}

/// What a server remembers of one device for deciding about one image. Small, and a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Complete downloads of the image, with none of another since, after which the device still reports what it
    /// reported before.
    pub unchanged: u32,
    /// Complete downloads of the image in the last seven days.
    pub this_week: u32,
    /// The image is the last one of its kind that the device took in full.
    pub latest: bool,
    /// The device was flashed by hand with what never was in this tree, and the image is not newer than that.
    pub by_hand: bool,
}

impl Standing {
    /// The image does not stick: after `limit` complete downloads with an unchanged report, or twice as many in seven
    /// days whatever the reports. `limit` 0 switches the guard off.
    #[must_use]
    pub const fn does_not_stick(self, limit: u32) -> bool {
        limit > 0 && (self.unchanged >= limit || self.this_week >= limit.saturating_mul(2))
    }
}

/// Everything remembered of one piece of hardware under one name: its last complete downloads, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Record {
    deliveries: Vec<Delivery>,
}

impl Record {
    /// More than any limit in use needs, and a bound on memory.
    const KEEP: usize = 32;

    /// Adds a complete download.
    pub fn add(&mut self, delivery: Delivery) {
        if self.deliveries.len() == Self::KEEP {
            self.deliveries.remove(0);
        }
        self.deliveries.push(delivery);
    }

    /// Where the device stands with `image` of this kind when it now reports `running`.
    #[must_use]
    pub fn standing(
        &self,
        kind: ImageKind,
        image: Sha256,
        running: &RunningImage,
        now: Duration,
    ) -> Standing {
        let mut standing = Standing::default();
        let mut since_another = true;
        let of_kind = |delivery: &&Delivery| delivery.kind == kind;
        for (at, delivery) in self.deliveries.iter().rev().filter(of_kind).enumerate() {
            since_another &= delivery.image == image;
            if delivery.image != image {
                continue;
            }
            standing.latest |= at == 0;
            standing.unchanged += u32::from(since_another && delivery.reported == *running);
            standing.this_week += u32::from(now.saturating_sub(delivery.at) <= WEEK);
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::Md5;
    use ImageKind::Firmware;

    const HOUR: Duration = Duration::from_secs(3600);

    fn runs(text: &str) -> RunningImage {
        RunningImage::Hashed {
            md5: Some(Md5::of(text.as_bytes())),
            sha256: None,
        }
    }

    fn image(text: &str) -> Sha256 {
        Sha256::of(text.as_bytes())
    }

    fn after(reports: &[&str]) -> Record {
        let mut record = Record::default();
        for (hour, report) in (1..).zip(reports) {
            record.add(Delivery {
                kind: Firmware,
                image: image("new"),
                reported: runs(report),
                at: HOUR * hour,
            });
        }
        record
    }

    #[test]
    fn three_downloads_that_change_nothing_do_not_stick() {
        let two = after(&["old", "old"]).standing(Firmware, image("new"), &runs("old"), HOUR * 3);
        let three =
            after(&["old", "old", "old"]).standing(Firmware, image("new"), &runs("old"), HOUR * 4);
        assert!(!two.does_not_stick(3));
        assert!(three.does_not_stick(3));
        assert!(!three.does_not_stick(0), "0 is off");
    }

    #[test]
    fn another_image_starts_afresh() {
        let standing = after(&["old", "old", "old"]).standing(
            Firmware,
            image("newer"),
            &runs("old"),
            HOUR * 4,
        );
        assert_eq!(standing, Standing::default());
    }

    #[test]
    fn six_downloads_in_a_week_do_not_stick_whatever_is_reported() {
        let record = after(&["a", "b", "c", "d", "e", "f"]);
        assert!(
            record
                .standing(Firmware, image("new"), &runs("g"), HOUR * 7)
                .does_not_stick(3)
        );
        assert!(
            !record
                .standing(Firmware, image("new"), &runs("g"), HOUR * 24 * 9)
                .does_not_stick(3)
        );
    }

    #[test]
    fn an_image_that_comes_back_after_another_is_given_again() {
        let mut record = after(&["old"]);
        record.add(Delivery {
            kind: Firmware,
            image: image("bad"),
            reported: runs("old"),
            at: HOUR * 2,
        });
        let back = record.standing(Firmware, image("new"), &runs("old"), HOUR * 3);
        assert_eq!((back.latest, back.unchanged), (false, 0));
        assert!(
            record
                .standing(Firmware, image("bad"), &runs("old"), HOUR * 3)
                .latest
        );
        let other_kind =
            record.standing(ImageKind::Filesystem, image("bad"), &runs("old"), HOUR * 3);
        assert_eq!(other_kind, Standing::default());
    }

    #[test]
    fn memory_of_one_node_is_bounded() {
        let record = after(&["x"; 100]);
        assert_eq!(record.deliveries.len(), Record::KEEP);
    }
}
