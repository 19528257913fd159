//! What people do with slots beside uploads: look, roll back, delete, promote, describe.
//!
//! All of it blocks: not for async threads.

use std::io::Write;
use std::sync::Arc;

use crate::firmware::{ImageKind, Sha256, Slot};

use super::change::{Back, Expect, Notes, Promotion, PublishError, Published, Removed, Version};
use super::exchange::Placing;
use super::hands::sound;
use super::kept::Copy;
use super::slots::{self, SlotView};
use super::{Tree, hasher};

/// Bytes that are to be placed, from elsewhere in the house.
struct Stock<'a> {
    bytes: Vec<u8>,
    kind: ImageKind,
    /// What was known of them, with what people said.
    known: &'a Copy,
    force_family: bool,
    /// A person means this very image, whatever its age.
    ordered: bool,
    expect: Expect,
}

impl Tree {
    /// What is in a slot; `None` when it has no folder.
    #[must_use]
    pub fn slot(&self, slot: &Slot) -> Option<SlotView> {
        SlotView::of(slot, &self.glance())
    }

    /// The kept images of a slot, newest first.
    #[must_use]
    pub fn versions(&self, slot: &Slot) -> Vec<Version> {
        let folder = self.slot(slot).map(|view| view.folder);
        let current = |kind| slots::chosen(folder.as_deref()?, kind).and_then(slots::id);
        let copies = self.kept.of(&slot.folder()).into_iter();
        copies
            .map(|copy| Version {
                id: copy.id,
                kind: copy.kind,
                kept: copy.kept,
                current: current(copy.kind) == Some(copy.id),
                size: copy.size,
                family: copy.family,
                title: copy.title,
                version: copy.version,
                note: copy.note,
            })
            .collect()
    }

    /// Puts a kept image back, with what was said of it, also when its slot is empty or its folder is gone. It may be for
    /// another chip family than what is there: that may be the very reason. Neither `downgrade` nor the time of its signature
    /// holds it, also after a restart, until something else is put there by order.
    ///
    /// # Errors
    /// When no such copy is kept, when the slot is not as it was expected to be, or when the disk does not take it.
    pub fn rollback(
        &self,
        slot: &Slot,
        kind: ImageKind,
        to: Back,
        expect: Expect,
    ) -> Result<Published, PublishError> {
        let _turn = self.hands.turns.take(&[slot]);
        let still = self.hands.still(slot)?;
        let root = self.hands.ground()?;
        let given = self.hands.given(&root, slot, &still.now(), kind)?;
        let current = given.map(|image| image.facts.id());
        let copies = self.kept.of(&slot.folder());
        let meant = |copy: &&Copy| match to {
            Back::To(id) => copy.id == id,
            Back::Previous => copy.kind == kind && Some(copy.id) != current,
        };
        let not_kept = || PublishError::NotKept { slot: slot.clone() };
        let copy = copies.iter().find(meant).ok_or_else(not_kept)?;
        let bytes = self
            .kept
            .bytes(copy.id)
            .map_err(|error| PublishError::of(self.kept.folder(), error))?
            .ok_or_else(not_kept)?;
        let stock = Stock {
            bytes,
            kind,
            known: copy,
            force_family: true,
            ordered: true,
            expect,
        };
        self.put(slot, &still, stock)
    }

    /// Removes all images of a kind from a slot, after each was kept. That counts at once.
    ///
    /// # Errors
    /// When there is none, when the slot is not as it was expected to be, or when the disk does not do it.
    pub fn delete(
        &self,
        slot: &Slot,
        kind: ImageKind,
        expect: Expect,
    ) -> Result<Removed, PublishError> {
        let _turn = self.hands.turns.take(&[slot]);
        let still = self.hands.still(slot)?;
        self.hands.take_out(&still, slot, kind, expect)
    }

    /// Moves the image of a slot to another one, with what is said of it: placed in `to` first, then removed from `from`.
    ///
    /// # Errors
    /// When `from` has no such image, or `to` cannot take it. When `from` cannot be emptied, it is in both.
    pub fn promote(
        &self,
        from: &Slot,
        to: &Slot,
        kind: ImageKind,
        promotion: Promotion,
    ) -> Result<Published, PublishError> {
        if from == to {
            let (path, why) = (to.folder(), "is where it is: name another slot");
            return Err(PublishError::Refused { path, why });
        }
        let _turn = self.hands.turns.take(&[from, to]);
        let (source, target) = (self.hands.still(from)?, self.hands.still(to)?);
        let (known, bytes) = self.stock(from, kind)?;
        if promotion.image.is_some_and(|image| image != known.id) {
            let now = self.slot(from).and_then(|view| view.revision);
            return Err(PublishError::Changed { now });
        }
        // Whoever cannot empty the one does not fill the other.
        drop(self.hands.begin(from)?);
        let stock = Stock {
            bytes,
            kind,
            known: &known,
            force_family: promotion.force_family,
            ordered: false,
            expect: promotion.expect,
        };
        let published = self.put(to, &target, stock)?;
        self.hands.take_out(&source, from, kind, Expect::Any)?;
        Ok(published)
    }

    /// Says something else of the image that a slot has; nothing at all removes `<image>.toml`. Gives the slot's revision.
    ///
    /// # Errors
    /// When there is no image, when the slot is not as it was expected to be, or when the disk does not take it.
    pub fn describe(
        &self,
        slot: &Slot,
        kind: ImageKind,
        notes: &Notes,
        expect: Expect,
    ) -> Result<Option<Sha256>, PublishError> {
        let _turn = self.hands.turns.take(&[slot]);
        let still = self.hands.still(slot)?;
        self.hands.describe(&still, slot, kind, notes, expect)
    }

    /// The image that a slot has, with its bytes.
    fn stock(&self, from: &Slot, kind: ImageKind) -> Result<(Copy, Vec<u8>), PublishError> {
        let nothing = || PublishError::Nothing {
            slot: from.clone(),
            kind,
        };
        let view = self.slot(from).ok_or_else(nothing)?;
        let file = view.chosen(kind).ok_or_else(nothing)?;
        let (root, rel) = (self.hands.ground()?, from.folder());
        let failed = |error| PublishError::of(&rel, error);
        let image = sound(&root, &rel, file)
            .map_err(failed)?
            .ok_or_else(nothing)?;
        let path = root.path.join(&image.path);
        let bytes = hasher::read_whole(&path, image.stamp).map_err(failed)?;
        let now = view.revision;
        let bytes = bytes.ok_or(PublishError::Changed { now })?;
        Ok((Copy::of(&image, &path), bytes))
    }

    fn put(
        &self,
        slot: &Slot,
        still: &super::hands::Still<'_>,
        stock: Stock<'_>,
    ) -> Result<Published, PublishError> {
        let mut draft = self.hands.begin(slot)?;
        let rel = slot.folder();
        draft
            .write_all(&stock.bytes)
            .map_err(|error| PublishError::of(&rel, error))?;
        drop(stock.bytes);
        let (facts, name) = self.hands.examine(&mut draft, stock.kind, &rel)?;
        let known = stock.known;
        // What the bytes say themselves needs no note.
        let differs = |said: &Option<Box<str>>, own: &Option<Box<str>>| {
            said.clone().filter(|said| Some(said) != own.as_ref())
        };
        let notes = Notes {
            title: differs(&known.title, &facts.title),
            version: differs(&known.version, &facts.version),
            description: known.note.clone(),
        };
        self.hands.place(
            still,
            Placing {
                slot,
                kind: stock.kind,
                draft,
                facts: Arc::new(facts),
                name,
                notes,
                signature: known.signature.as_deref(),
                force_family: stock.force_family,
                ordered: stock.ordered,
                expect: stock.expect,
            },
        )
    }
}
