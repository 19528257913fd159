//! Tokens for programs: for one org, perhaps one project, with one role.

use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::params;

use super::actor::Grants;
use super::snapshot::{Snapshot, Token};
use super::{
    Action, Actor, Denied, Event, People, PeopleError, Role, Secret, TokenId, UserName, Who, audit,
    secret,
};
use crate::firmware::{Org, Project};

/// What a token is made for.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// A name for people.
    pub name: String,
    /// The org.
    pub org: Org,
    /// Only this project of it.
    pub project: Option<Project>,
    /// What it may do.
    pub role: Role,
    /// Until when; `None` is for ever.
    pub expires: Option<Timestamp>,
}

/// A token as it is listed: never with its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct TokenView {
    pub id: TokenId,
    pub name: String,
    pub org: Org,
    pub project: Option<Project>,
    pub role: Role,
    pub created: Timestamp,
    /// `None`: the local operator.
    pub created_by: Option<UserName>,
    pub expires: Option<Timestamp>,
    pub last_used: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
}

fn view(id: &TokenId, token: &Token) -> TokenView {
    TokenView {
        id: id.clone(),
        name: token.name.clone(),
        org: token.org.clone(),
        project: token.project.clone(),
        role: token.role,
        created: token.created,
        created_by: token.created_by.clone(),
        expires: token.expires,
        last_used: token.used.last(),
        revoked: token.revoked,
    }
}

/// Ends every token that a user made, since nobody answers for it any more.
pub(super) fn revoke_all_of(
    tx: &rusqlite::Transaction<'_>,
    user: &UserName,
    now: Timestamp,
) -> Result<(), PeopleError> {
    tx.execute(
        "UPDATE tokens SET revoked = ?2 WHERE created_by = ?1 AND revoked IS NULL",
        params![user.as_str(), now.as_millisecond()],
    )?;
    Ok(())
}

impl People {
    /// Who shows this token, if it is good. In memory; never waits.
    #[must_use]
    pub fn token(&self, text: &str, address: Option<IpAddr>, now: Timestamp) -> Option<Actor> {
        let (id, shown) = secret::read_token(text)?;
        let people = self.0.now.load();
        let token = people.tokens.get(&id)?;
        if !secret::same(&shown, &token.secret) {
            return None;
        }
        let grants = live(&people, token, now)?;
        if token.used.touch(now) {
            let id = id.clone();
            self.0.store.write_behind(move |tx| {
                tx.execute(
                    "UPDATE tokens SET last_used = ?2 WHERE id = ?1",
                    params![id.as_str(), now.as_millisecond()],
                )?;
                Ok(())
            });
        }
        Some(Actor::new(Who::Token(id), address, grants))
    }

    /// Makes a token; its text is shown this once. A user gives at most what they have, and a token gives none.
    ///
    /// # Errors
    /// When the actor may not, or it cannot be written.
    pub async fn add_token(
        &self,
        actor: &Actor,
        new: NewToken,
        now: Timestamp,
    ) -> Result<(TokenId, Secret), PeopleError> {
        let created_by = match &actor.who {
            Who::User(name) => Some(name.to_string()),
            Who::Console => None,
            Who::Token(_) | Who::File(_) => return Err(Denied::NotByToken.into()),
        };
        // Others see nothing of an org in which they have no role to give.
        actor.may(new.role, &new.org, new.project.as_ref())?;
        let (id, digest, whole) = secret::new_token()?;
        let (actor, made) = (actor.clone(), id.clone());
        self.change(move |tx| {
            tx.execute(
                "INSERT INTO tokens (id, secret, name, org, project, role, created, created_by, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    id.as_str(),
                    digest.as_bytes(),
                    new.name,
                    new.org.as_str(),
                    new.project.as_ref().map(Project::as_str),
                    new.role.slug(),
                    now.as_millisecond(),
                    created_by,
                    new.expires.map(Timestamp::as_millisecond),
                ],
            )?;
            let mut event = Event::to(Action::TokenAdd, &id);
            event.org = Some(new.org);
            event.after = Some(new.role.to_string());
            audit::by(tx, &actor, &event, now)
        })
        .await?;
        Ok((made, whole))
    }

    /// Ends a token: by who made it, or by an admin of its org.
    ///
    /// # Errors
    /// When there is none, the actor may not, or it cannot be written.
    pub async fn revoke_token(
        &self,
        actor: &Actor,
        id: &TokenId,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        let org = {
            let people = self.0.now.load();
            let unknown = || PeopleError::NoSuchToken(id.clone());
            let token = people.tokens.get(id).ok_or_else(unknown)?;
            if !owns(actor, token) {
                // Whoever sees nothing of the org does not learn that the token is there.
                actor
                    .may(Role::Viewer, &token.org, None)
                    .map_err(|_| unknown())?;
                actor.may(Role::Admin, &token.org, None)?;
            }
            token.org.clone()
        };
        let (actor, id) = (actor.clone(), id.clone());
        self.change(move |tx| {
            tx.execute(
                "UPDATE tokens SET revoked = coalesce(revoked, ?2) WHERE id = ?1",
                params![id.as_str(), now.as_millisecond()],
            )?;
            let mut event = Event::to(Action::TokenRevoke, &id);
            event.org = Some(org);
            audit::by(tx, &actor, &event, now)
        })
        .await
    }

    /// The tokens that the actor made, and those of the orgs that they are admin of; by time.
    #[must_use]
    pub fn tokens(&self, actor: &Actor) -> Vec<TokenView> {
        let people = self.0.now.load();
        let mut seen: Vec<TokenView> = people
            .tokens
            .iter()
            .filter(|(_, token)| {
                owns(actor, token) || actor.may(Role::Admin, &token.org, None).is_ok()
            })
            .map(|(id, token)| view(id, token))
            .collect();
        seen.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        seen
    }
}

fn owns(actor: &Actor, token: &Token) -> bool {
    matches!((&actor.who, &token.created_by), (Who::User(user), Some(made)) if user == made)
}

/// What a token may do now: never more than who made it.
pub(super) fn live(people: &Snapshot, token: &Token, now: Timestamp) -> Option<Grants> {
    if token.revoked.is_some() || token.expires.is_some_and(|end| end <= now) {
        return None;
    }
    let mut role = token.role;
    if let Some(name) = &token.created_by {
        let maker = people.users.get(name)?;
        if !maker.owner {
            role = role.min(*maker.roles.get(&token.org)?);
        }
    }
    Some(Grants::One(token.org.clone(), token.project.clone(), role))
}
