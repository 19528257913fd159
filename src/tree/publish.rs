//! An upload: written under a hidden name beside its place, checked, and given to devices before the call returns.
//!
//! All of it blocks: not for async threads.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::Digest as _;

use crate::disk::Draft;
use crate::firmware::{ImageKind, Sha256, Slot, format};

use super::Tree;
use super::change::{Announced, PublishError, Published, Rules};
use super::exchange::Placing;
use super::hands::Hands;

/// So many bytes are looked at before the rest comes.
const BEGINNING: usize = 1024;

/// An image that is being uploaded. Dropped before [`Publishing::finish`] it leaves no trace.
pub struct Publishing {
    hands: Arc<Hands>,
    slot: Slot,
    rel: PathBuf,
    kind: ImageKind,
    announced: Announced,
    draft: Draft,
    came: u64,
    sum: sha2::Sha256,
    beginning: Vec<u8>,
    looked: bool,
}

impl Tree {
    /// Begins to publish an image. The folders of the slot are made when it is finished, where they are missing.
    ///
    /// # Errors
    /// When the tree is not there, the slot cannot be written or is a link, or what is announced is too large.
    pub fn publish(
        &self,
        slot: &Slot,
        kind: ImageKind,
        announced: Announced,
    ) -> Result<Publishing, PublishError> {
        let limit = self.hands.largest;
        if announced.size.is_some_and(|size| size > limit) {
            return Err(PublishError::TooLarge { limit });
        }
        let draft = self.hands.begin(slot)?;
        Ok(Publishing {
            hands: self.hands.clone(),
            slot: slot.clone(),
            rel: slot.folder(),
            kind,
            announced,
            draft,
            came: 0,
            sum: sha2::Sha256::new(),
            beginning: Vec::new(),
            looked: false,
        })
    }
}

impl Publishing {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When there are too many, when the first ones show that it is no image, or when the disk does not take them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PublishError> {
        let limit = self
            .hands
            .largest
            .min(self.announced.size.unwrap_or(u64::MAX));
        self.came += bytes.len() as u64;
        if self.came > limit {
            return Err(self.too_long());
        }
        if !self.looked {
            let left = BEGINNING - self.beginning.len();
            self.beginning
                .extend_from_slice(&bytes[..bytes.len().min(left)]);
            if self.beginning.len() == BEGINNING {
                self.looked = true;
                let refused = format::refused_early(&self.beginning, self.kind);
                if let Some(defect) = refused {
                    return Err(defect.into());
                }
            }
        }
        self.sum.update(bytes);
        self.draft
            .write_all(bytes)
            .map_err(|error| PublishError::of(&self.rel, error))
    }

    fn too_long(&self) -> PublishError {
        let limit = self.hands.largest;
        match self.announced.size {
            Some(size) if self.came <= limit => PublishError::NotWhole {
                announced: format!("{size} bytes"),
                came: format!("{} or more", self.came),
            },
            Some(_) | None => PublishError::TooLarge { limit },
        }
    }

    /// Checks what came, puts it in its place, and returns when devices can get it.
    ///
    /// # Errors
    /// When it is not a whole image of its kind, when the slot is not as it was expected to be, or when the disk does not
    /// take it. Then what was there before still is.
    pub fn finish(mut self, rules: Rules) -> Result<Published, PublishError> {
        self.check_whole()?;
        let (facts, name) = self.hands.examine(&mut self.draft, self.kind, &self.rel)?;
        let sum = Sha256::from_bytes(self.sum.finalize().into());
        if facts.id() != sum {
            let error = std::io::Error::other("the disk gives back other bytes than were written");
            return Err(PublishError::of(&self.rel, error));
        }
        let _turn = self.hands.turns.take(&[&self.slot]);
        let still = self.hands.still(&self.slot)?;
        self.hands.place(
            &still,
            Placing {
                slot: &self.slot,
                kind: self.kind,
                draft: self.draft,
                facts: Arc::new(facts),
                name,
                notes: rules.notes,
                signature: rules.signature.as_deref(),
                force_family: rules.force_family,
                ordered: false,
                expect: rules.expect,
            },
        )
    }

    fn check_whole(&self) -> Result<(), PublishError> {
        if let Some(size) = self.announced.size.filter(|size| *size != self.came) {
            return Err(PublishError::NotWhole {
                announced: format!("{size} bytes"),
                came: format!("{}", self.came),
            });
        }
        let sum = Sha256::from_bytes(self.sum.clone().finalize().into());
        match self.announced.sha256.filter(|announced| *announced != sum) {
            Some(announced) => Err(PublishError::NotWhole {
                announced: format!("SHA-256 {announced}"),
                came: sum.to_string(),
            }),
            None => Ok(()),
        }
    }
}
