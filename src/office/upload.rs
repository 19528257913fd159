//! An image on its way from a person into a slot.

use bytes::Bytes;
use md5::Digest;

use super::slots::{event, may};
use super::{Action, Actor, Office, OfficeError, Role};
use crate::firmware::{ImageKind, Md5, Slot};
use crate::tree::{Announced, Published, Publishing, Rules};

/// Bytes that are gathered before a thread is asked to write them.
const GATHER: usize = 256 * 1024;

/// An image that is being uploaded. Dropped, it leaves no trace.
pub struct Upload {
    office: Office,
    actor: Actor,
    slot: Slot,
    kind: ImageKind,
    publishing: Publishing,
    gathered: Vec<u8>,
    sum: md5::Md5,
}

impl Office {
    /// The size of the largest image, in bytes.
    #[must_use]
    pub fn largest_image(&self) -> u64 {
        self.0.largest
    }

    /// Whether an actor may publish into a slot.
    ///
    /// # Errors
    /// When they may not.
    pub fn may_publish(&self, actor: &Actor, slot: &Slot) -> Result<(), OfficeError> {
        may(actor, Role::Publisher, slot)
    }

    /// Begins an upload into a slot.
    ///
    /// # Errors
    /// When the actor may not, the org is not there, or the slot cannot be written.
    pub async fn publish(
        &self,
        actor: &Actor,
        slot: &Slot,
        kind: ImageKind,
        announced: Announced,
    ) -> Result<Upload, OfficeError> {
        self.may_publish(actor, slot)?;
        let own = slot.clone();
        let publishing = self
            .apart(move |inner| {
                // A word that is misspelt must not found an org.
                if !inner.root.join(own.org().as_str()).is_dir() {
                    return Err(OfficeError::NoSuchOrg(own.org().clone()));
                }
                Ok(inner.tree.publish(&own, kind, announced)?)
            })
            .await?;
        Ok(Upload {
            office: self.clone(),
            actor: actor.clone(),
            slot: slot.clone(),
            kind,
            publishing,
            gathered: Vec::new(),
            sum: md5::Md5::new(),
        })
    }
}

impl Upload {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When there are too many, they show that it is no image, or the disk does not take them.
    pub async fn write(mut self, bytes: Bytes) -> Result<Self, OfficeError> {
        self.gathered.extend_from_slice(&bytes);
        if self.gathered.len() < GATHER {
            return Ok(self);
        }
        let office = self.office.clone();
        office
            .apart(move |_| {
                self.flush()?;
                Ok(self)
            })
            .await
    }

    fn flush(&mut self) -> Result<(), OfficeError> {
        self.sum.update(&self.gathered);
        self.publishing.write(&self.gathered)?;
        self.gathered.clear();
        Ok(())
    }

    /// Puts it in its place, if it is a whole image, and whoever sent it may still do so. It is offered before this returns.
    ///
    /// # Errors
    /// When it is not, or the slot is not as it was expected to be.
    pub async fn finish(
        mut self,
        rules: Rules,
        sum: Option<Md5>,
    ) -> Result<Published, OfficeError> {
        let (office, actor) = (self.office.clone(), self.actor.clone());
        let (slot, kind) = (self.slot.clone(), self.kind);
        let again = office.still(&actor)?;
        may(&again, Role::Publisher, &slot)?;
        let done = office
            .apart(move |_| {
                self.flush()?;
                let came = Md5::from_bytes(self.sum.finalize().into());
                if let Some(announced) = sum.filter(|sum| *sum != came) {
                    return Err(OfficeError::OtherSum { announced, came });
                }
                Ok(self.publishing.finish(rules)?)
            })
            .await?;
        let event = event(Action::Publish, &slot, kind, done.before, Some(done.id));
        office.recorded(&actor, event, done).await
    }
}
