//! Slots: what is in them, and what people order done to them.

use jiff::Timestamp;

use super::{Action, Actor, Event, Office, OfficeError, Role};
use crate::firmware::{ImageKind, Org, Project, Sha256, Slot};
use crate::tree::{Back, Expect, Folder, Notes, Promotion, Published, Removed, SlotView, Version};

/// An actor may do this in the project of the slot, or in the whole org where it is of no project.
pub(super) fn may(actor: &Actor, role: Role, slot: &Slot) -> Result<(), OfficeError> {
    // Every folder of a slot is a word.
    let project: Option<Project> = slot.project().and_then(|project| project.parse().ok());
    actor.may(role, slot.org(), project.as_ref())?;
    Ok(())
}

/// How the audit log names a slot.
pub(super) fn target(slot: &Slot, kind: ImageKind) -> String {
    match kind {
        ImageKind::Firmware => slot.to_string(),
        ImageKind::Filesystem => format!("{slot} ({kind})"),
    }
}

/// What the audit log says of a change.
pub(super) fn event(
    action: Action,
    slot: &Slot,
    kind: ImageKind,
    before: Option<Sha256>,
    after: Option<Sha256>,
) -> Event {
    Event {
        org: Some(slot.org().clone()),
        target: Some(target(slot, kind)),
        before: before.map(|id| id.to_string()),
        after: after.map(|id| id.to_string()),
        ..Event::new(action)
    }
}

/// The slots below a folder that hold an image file, by name.
fn below(path: &mut Vec<String>, folder: &Folder, all: &mut Vec<Slot>) {
    if let Ok(slot) = Slot::parse(&path.join("/"))
        && !folder.files.is_empty()
    {
        all.push(slot);
    }
    if path.len() < 4 {
        for (name, child) in folder.children.iter() {
            path.push(name.to_string());
            below(path, child, all);
            path.pop();
        }
    }
}

impl Office {
    /// The slots of an org that hold an image file and that the actor sees, by name.
    ///
    /// # Errors
    /// When the actor may not see the org, or it is not there.
    pub async fn slots(&self, actor: &Actor, org: &Org) -> Result<Vec<SlotView>, OfficeError> {
        if !actor.sees(org) {
            actor.may(Role::Viewer, org, None)?;
        }
        let (actor, org) = (actor.clone(), org.clone());
        self.apart(move |inner| {
            let catalog = inner.tree.catalog();
            let folder = catalog
                .folder([org.as_str()])
                .ok_or_else(|| OfficeError::NoSuchOrg(org.clone()))?;
            let mut slots = Vec::new();
            below(&mut vec![org.to_string()], folder, &mut slots);
            slots.sort();
            let seen = slots
                .iter()
                .filter(|slot| may(&actor, Role::Viewer, slot).is_ok());
            Ok(seen.filter_map(|slot| inner.tree.slot(slot)).collect())
        })
        .await
    }

    /// What is in a slot.
    ///
    /// # Errors
    /// When the actor may not see it, or it has no folder.
    pub fn slot(&self, actor: &Actor, slot: &Slot) -> Result<SlotView, OfficeError> {
        may(actor, Role::Viewer, slot)?;
        let view = self.0.tree.slot(slot);
        view.ok_or_else(|| OfficeError::NoSuchSlot(slot.clone()))
    }

    /// The kept images of a slot, newest first.
    ///
    /// # Errors
    /// When the actor may not see it.
    pub async fn versions(&self, actor: &Actor, slot: &Slot) -> Result<Vec<Version>, OfficeError> {
        may(actor, Role::Viewer, slot)?;
        let slot = slot.clone();
        self.apart(move |inner| Ok(inner.tree.versions(&slot)))
            .await
    }

    /// Puts a kept image back.
    ///
    /// # Errors
    /// When the actor may not, no such copy is kept, or the slot is not as it was expected to be.
    pub async fn rollback(
        &self,
        actor: &Actor,
        slot: &Slot,
        kind: ImageKind,
        to: Back,
        expect: Expect,
    ) -> Result<Published, OfficeError> {
        may(actor, Role::Publisher, slot)?;
        let own = slot.clone();
        let done = self
            .apart(move |inner| Ok(inner.tree.rollback(&own, kind, to, expect)?))
            .await?;
        let event = event(Action::Rollback, slot, kind, done.before, Some(done.id));
        self.recorded(actor, event, done).await
    }

    /// Removes all images of a kind from a slot; a copy of each is kept.
    ///
    /// # Errors
    /// When the actor may not, there is none, or the slot is not as it was expected to be.
    pub async fn delete(
        &self,
        actor: &Actor,
        slot: &Slot,
        kind: ImageKind,
        expect: Expect,
    ) -> Result<Removed, OfficeError> {
        may(actor, Role::Publisher, slot)?;
        let own = slot.clone();
        let done = self
            .apart(move |inner| Ok(inner.tree.delete(&own, kind, expect)?))
            .await?;
        let event = event(Action::Delete, slot, kind, done.before, None);
        self.recorded(actor, event, done).await
    }

    /// Moves the image of a slot to another one: placed there first, then removed here.
    ///
    /// # Errors
    /// When the actor may not in both, there is none, or the other slot cannot take it.
    pub async fn promote(
        &self,
        actor: &Actor,
        (from, to): (&Slot, &Slot),
        kind: ImageKind,
        promotion: Promotion,
    ) -> Result<Published, OfficeError> {
        may(actor, Role::Publisher, from)?;
        may(actor, Role::Publisher, to)?;
        let (source, goal) = (from.clone(), to.clone());
        let done = self
            .apart(move |inner| Ok(inner.tree.promote(&source, &goal, kind, promotion)?))
            .await?;
        let away = event(Action::Delete, from, kind, Some(done.id), None);
        let event = event(Action::Promote, to, kind, done.before, Some(done.id));
        let done = self.recorded(actor, event, done).await?;
        self.recorded(actor, away, done).await
    }

    /// Says something else of the image that a slot has. Gives the slot's revision.
    ///
    /// # Errors
    /// When the actor may not, there is no image, or the slot is not as it was expected to be.
    pub async fn describe(
        &self,
        actor: &Actor,
        slot: &Slot,
        kind: ImageKind,
        notes: Notes,
        expect: Expect,
    ) -> Result<Option<Sha256>, OfficeError> {
        may(actor, Role::Publisher, slot)?;
        let own = slot.clone();
        let said = notes.version.as_deref().or(notes.title.as_deref());
        let after = said.map(str::to_owned);
        let done = self
            .apart(move |inner| Ok(inner.tree.describe(&own, kind, &notes, expect)?))
            .await?;
        let event = Event {
            after,
            ..event(Action::Describe, slot, kind, None, None)
        };
        self.recorded(actor, event, done).await
    }

    /// Writes down what was done, and gives it on.
    pub(super) async fn recorded<T>(
        &self,
        actor: &Actor,
        event: Event,
        done: T,
    ) -> Result<T, OfficeError> {
        match self.people()?.record(actor, event, Timestamp::now()).await {
            Ok(()) => Ok(done),
            Err(error) => Err(OfficeError::Unrecorded(error.to_string())),
        }
    }
}
