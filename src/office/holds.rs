//! The emergency brake: what people hold, beside the `ota.toml` of the tree. Either holds.

use jiff::Timestamp;

use super::slots::may;
use super::{Action, Actor, Event, Office, OfficeError, Role, Who};
use crate::firmware::{Org, Slot};
use crate::tree::Hold;

/// What is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// Everything.
    Server,
    /// All of an org.
    Org(Org),
    /// A folder of an org and all below it, also one that is not there yet.
    Slot(Slot),
}

impl Range {
    fn folder(&self) -> String {
        match self {
            Self::Server => String::new(),
            Self::Org(org) => org.to_string(),
            Self::Slot(slot) => slot.to_string(),
        }
    }

    fn org(&self) -> Option<&Org> {
        match self {
            Self::Server => None,
            Self::Org(org) => Some(org),
            Self::Slot(slot) => Some(slot.org()),
        }
    }

    fn allows(&self, actor: &Actor) -> Result<(), OfficeError> {
        match self {
            Self::Server => actor.must_own()?,
            Self::Org(org) => drop(actor.may(Role::Admin, org, None)?),
            Self::Slot(slot) => may(actor, Role::Publisher, slot)?,
        }
        Ok(())
    }

    fn event(&self, before: Option<&Hold>, after: Option<&str>) -> Event {
        let said = |reason: &str| match reason {
            "" => "held".to_owned(),
            reason => format!("held: {reason}"),
        };
        Event {
            org: self.org().cloned(),
            target: Some(match self {
                Self::Server => "the server".to_owned(),
                Self::Org(_) | Self::Slot(_) => self.folder(),
            }),
            before: before.map(|hold| said(&hold.reason)),
            after: after.map(said),
            ..Event::new(Action::Hold)
        }
    }
}

fn name(who: &Who) -> String {
    match who {
        Who::User(name) => name.to_string(),
        Who::Token(id) => format!("token {id}"),
        Who::Console => "the local operator".to_owned(),
        Who::File(owner) => owner.clone(),
    }
}

impl Office {
    /// Nothing is given there from now on, until it is released. Another reason replaces the one before.
    ///
    /// # Errors
    /// When the actor may not, there is no such org, or it cannot be written down.
    pub async fn hold(
        &self,
        actor: &Actor,
        range: &Range,
        reason: &str,
    ) -> Result<(), OfficeError> {
        range.allows(actor)?;
        // Before anything is done: without people nothing can be written down.
        self.people()?;
        let catalog = self.0.tree.catalog();
        if let Some(org) = range.org()
            && catalog.complete
            && catalog.folder([org.as_str()]).is_none()
        {
            return Err(OfficeError::NoSuchOrg(org.clone()));
        }
        let hold = Hold {
            folder: range.folder().into(),
            reason: reason.into(),
            by: name(actor.who()).into(),
            since: Timestamp::now(),
        };
        let before = self.apart(move |inner| Ok(inner.tree.hold(hold)?)).await?;
        let event = range.event(before.as_ref(), Some(reason));
        self.recorded(actor, event, ()).await
    }

    /// Takes a hold back, at once. What holds above it, or in an `ota.toml`, stays.
    ///
    /// # Errors
    /// When the actor may not, nobody holds it, or it cannot be written down.
    pub async fn release(&self, actor: &Actor, range: &Range) -> Result<(), OfficeError> {
        range.allows(actor)?;
        self.people()?;
        let folder = range.folder();
        let before = self
            .apart(move |inner| Ok(inner.tree.release(&folder)?))
            .await?;
        let before = before.ok_or(OfficeError::NotHeld)?;
        let event = range.event(Some(&before), None);
        self.recorded(actor, event, ()).await
    }
}
