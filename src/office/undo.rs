//! The lost laptop: a token is revoked, and what it did since then is taken back.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::slots::may;
use super::{Action, Actor, Filter, Office, OfficeError, Role, TokenId, Who};
use crate::firmware::{ImageKind, Sha256, Slot};
use crate::tree::{Back, Expect};

/// What became of one slot.
#[derive(Debug, Clone)]
pub struct Undone {
    /// Which slot.
    pub slot: Slot,
    /// Which of its images.
    pub kind: ImageKind,
    /// What it went back to; `None`: it is empty, as it was.
    pub back_to: Option<Sha256>,
    /// Why it was left as it is.
    pub failed: Option<String>,
}

/// What a token did to one slot, from its first change on.
#[derive(Debug, Default)]
struct Span {
    before: Option<Sha256>,
    after: Option<Sha256>,
}

/// The slot of a line of the audit log.
fn read(target: &str) -> Option<(Slot, ImageKind)> {
    match target.strip_suffix(" (filesystem)") {
        Some(slot) => Some((Slot::parse(slot).ok()?, ImageKind::Filesystem)),
        None => Some((Slot::parse(target).ok()?, ImageKind::Firmware)),
    }
}

impl Office {
    /// Revokes a token, and takes each slot that it changed since a time back to what it held before. A slot that somebody
    /// else has changed since is left as it is, and so is what cannot be taken back; both are said.
    ///
    /// # Errors
    /// When there is no such token, the actor is no admin of its org, or it cannot be revoked. Then nothing was changed.
    pub async fn revoke_and_undo(
        &self,
        actor: &Actor,
        id: &TokenId,
        since: Timestamp,
    ) -> Result<Vec<Undone>, OfficeError> {
        let tokens = self.tokens(actor)?;
        let token = tokens.iter().find(|token| token.id == *id);
        let org = token
            .map(|token| token.org.clone())
            .ok_or_else(|| crate::people::PeopleError::NoSuchToken(id.clone()))?;
        actor.may(Role::Admin, &org, None)?;
        self.revoke_token(actor, id).await?;
        let mut undone = Vec::new();
        for ((slot, kind), span) in self.spans(actor, id, org, since).await? {
            let back = self.take_back(actor, &slot, kind, &span).await;
            undone.push(Undone {
                slot,
                kind,
                back_to: span.before,
                failed: back.err().map(|error| error.to_string()),
            });
        }
        Ok(undone)
    }

    /// What the token did, slot by slot.
    async fn spans(
        &self,
        actor: &Actor,
        id: &TokenId,
        org: crate::firmware::Org,
        since: Timestamp,
    ) -> Result<BTreeMap<(Slot, ImageKind), Span>, OfficeError> {
        let mut spans: BTreeMap<(Slot, ImageKind), Span> = BTreeMap::new();
        let mut filter = Filter {
            org: Some(org),
            who: Some(Who::Token(id.clone())),
            since: Some(since),
            most: 1000,
            ..Filter::default()
        };
        loop {
            let page = self.audit(actor, filter.clone()).await?;
            // The newest comes first, so the last one seen of a slot is the oldest.
            for entry in &page {
                let event = &entry.event;
                let changes = [
                    Action::Publish,
                    Action::Promote,
                    Action::Rollback,
                    Action::Delete,
                ];
                let Some(place) = event.target.as_deref().and_then(read) else {
                    continue;
                };
                if !changes.contains(&event.action) {
                    continue;
                }
                let id = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
                let span = spans.entry(place).or_insert_with(|| Span {
                    before: None,
                    after: id(&event.after),
                });
                span.before = id(&event.before);
            }
            match page.last() {
                Some(last) if page.len() == 1000 => filter.below = Some(last.id),
                _ => return Ok(spans),
            }
        }
    }

    async fn take_back(
        &self,
        actor: &Actor,
        slot: &Slot,
        kind: ImageKind,
        span: &Span,
    ) -> Result<(), OfficeError> {
        may(actor, Role::Publisher, slot)?;
        let view = self.0.tree.slot(slot);
        let now = view.as_ref().and_then(|view| view.id(kind));
        if now != span.after {
            return Err(OfficeError::ChangedSince);
        }
        let expect = view
            .and_then(|view| view.revision)
            .map_or(Expect::Any, Expect::Revision);
        match span.before {
            Some(id) if Some(id) == now => Ok(()),
            Some(id) => {
                let back = self.rollback(actor, slot, kind, Back::To(id), expect);
                back.await.map(drop)
            }
            None if now.is_none() => Ok(()),
            None => self.delete(actor, slot, kind, expect).await.map(drop),
        }
    }
}
