//! Users, their passwords and roles, and the link that makes the first owner.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{
    Action, Actor, Denied, Event, People, PeopleError, Role, Secret, UserName, Who, audit, secret,
    token,
};
use crate::firmware::{Org, Sha256};

/// How long the link for the first owner lives.
const LINK: SignedDuration = SignedDuration::from_hours(1);

/// A user as they are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// Their name.
    pub name: UserName,
    /// Whether they own the server.
    pub owner: bool,
    /// Their role in each org.
    pub roles: HashMap<Org, Role>,
    /// Since when.
    pub created: Timestamp,
}

fn insert(
    tx: &Transaction<'_>,
    name: &UserName,
    hash: &str,
    owner: bool,
    now: Timestamp,
) -> Result<(), PeopleError> {
    let made = tx.execute(
        "INSERT INTO users (name, password, owner, created) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![name.as_str(), hash, owner, now.as_millisecond()],
    )?;
    if made == 0 {
        return Err(PeopleError::UserExists(name.clone()));
    }
    Ok(())
}

/// Whether the user owns the server.
fn is_owner(tx: &Transaction<'_>, name: &UserName) -> Result<bool, PeopleError> {
    tx.query_row(
        "SELECT owner FROM users WHERE name = ?1",
        [name.as_str()],
        |row| row.get(0),
    )
    .optional()?
    .ok_or_else(|| PeopleError::NoSuchUser(name.clone()))
}

fn owners(tx: &Transaction<'_>) -> Result<i64, PeopleError> {
    Ok(
        tx.query_row("SELECT count(*) FROM users WHERE owner", [], |row| {
            row.get(0)
        })?,
    )
}

impl People {
    /// Adds a user, as an owner of the server or without any role.
    ///
    /// # Errors
    /// When the actor is no owner, the name is taken, the password is too short, or it cannot be written.
    pub async fn add_user(
        &self,
        actor: &Actor,
        name: &UserName,
        password: &Secret,
        owner: bool,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        actor.must_own()?;
        let hash = self.0.passwords.hash(password).await?;
        let (actor, name) = (actor.clone(), name.clone());
        self.change(move |tx| {
            insert(tx, &name, &hash, owner, now)?;
            let mut event = Event::to(Action::UserAdd, &name);
            event.after = owner.then(|| "owner".to_owned());
            audit::by(tx, &actor, &event, now)
        })
        .await
    }

    /// Removes a user with their sessions and roles; what tokens they made are revoked.
    ///
    /// # Errors
    /// When the actor is no owner, it is the last owner, or it cannot be written.
    pub async fn remove_user(
        &self,
        actor: &Actor,
        name: &UserName,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        actor.must_own()?;
        let (actor, name) = (actor.clone(), name.clone());
        self.change(move |tx| {
            if is_owner(tx, &name)? && owners(tx)? == 1 {
                return Err(PeopleError::LastOwner(name));
            }
            token::revoke_all_of(tx, &name, now)?;
            tx.execute("DELETE FROM users WHERE name = ?1", [name.as_str()])?;
            audit::by(tx, &actor, &Event::to(Action::UserRemove, &name), now)
        })
        .await
    }

    /// Sets a password: one's own, or anybody's by an owner. All sessions of the user end.
    ///
    /// # Errors
    /// When the actor may not, there is no such user, the password is too short, or it cannot be written.
    pub async fn set_password(
        &self,
        actor: &Actor,
        name: &UserName,
        password: &Secret,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        if actor.who != Who::User(name.clone()) {
            actor.must_own()?;
        }
        let hash = self.0.passwords.hash(password).await?;
        let (actor, name) = (actor.clone(), name.clone());
        self.change(move |tx| {
            let changed = tx.execute(
                "UPDATE users SET password = ?2 WHERE name = ?1",
                params![name.as_str(), hash],
            )?;
            if changed == 0 {
                return Err(PeopleError::NoSuchUser(name));
            }
            tx.execute("DELETE FROM sessions WHERE user = ?1", [name.as_str()])?;
            audit::by(tx, &actor, &Event::to(Action::PasswordSet, &name), now)
        })
        .await
    }

    /// Gives a role in an org, or takes it (`None`).
    ///
    /// # Errors
    /// When the actor is no admin of the org or a token, there is no such user, or it cannot be written.
    pub async fn set_role(
        &self,
        actor: &Actor,
        name: &UserName,
        org: &Org,
        role: Option<Role>,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        if matches!(actor.who, Who::Token(_)) {
            return Err(Denied::NotByToken.into());
        }
        actor.may(Role::Admin, org, None)?;
        let (actor, name, org) = (actor.clone(), name.clone(), org.clone());
        self.change(move |tx| {
            is_owner(tx, &name)?;
            let key = [name.as_str(), org.as_str()];
            let before: Option<String> = tx
                .query_row(
                    "SELECT role FROM roles WHERE user = ?1 AND org = ?2",
                    key,
                    |row| row.get(0),
                )
                .optional()?;
            tx.execute("DELETE FROM roles WHERE user = ?1 AND org = ?2", key)?;
            if let Some(role) = role {
                tx.execute(
                    "INSERT INTO roles (user, org, role) VALUES (?1, ?2, ?3)",
                    [name.as_str(), org.as_str(), role.slug()],
                )?;
            }
            let mut event = Event::to(Action::RoleSet, &name);
            event.org = Some(org);
            event.before = before;
            event.after = role.map(|role| role.to_string());
            audit::by(tx, &actor, &event, now)
        })
        .await
    }

    /// Makes a user an owner of the server, or no longer one.
    ///
    /// # Errors
    /// When the actor is no owner, there is no such user, it is the last owner, or it cannot be written.
    pub async fn set_owner(
        &self,
        actor: &Actor,
        name: &UserName,
        owner: bool,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        actor.must_own()?;
        let (actor, name) = (actor.clone(), name.clone());
        self.change(move |tx| {
            let before = is_owner(tx, &name)?;
            if before && !owner && owners(tx)? == 1 {
                return Err(PeopleError::LastOwner(name));
            }
            tx.execute(
                "UPDATE users SET owner = ?2 WHERE name = ?1",
                params![name.as_str(), owner],
            )?;
            let mut event = Event::to(Action::OwnerSet, &name);
            event.before = Some(before.to_string());
            event.after = Some(owner.to_string());
            audit::by(tx, &actor, &event, now)
        })
        .await
    }

    /// All users for an owner; for an admin, those with a role in the org.
    ///
    /// # Errors
    /// When the actor may not see them.
    pub fn users(&self, actor: &Actor, org: Option<&Org>) -> Result<Vec<UserView>, PeopleError> {
        match org {
            Some(org) => drop(actor.may(Role::Admin, org, None)?),
            None => actor.must_own()?,
        }
        let people = self.0.now.load();
        let mut seen: Vec<UserView> = people
            .users
            .iter()
            .filter(|(_, user)| org.is_none_or(|org| user.roles.contains_key(org)))
            .map(|(name, user)| UserView {
                name: name.clone(),
                owner: user.owner,
                // An admin learns nothing of other orgs.
                roles: user
                    .roles
                    .iter()
                    .filter(|(of, _)| org.is_none_or(|org| org == *of))
                    .map(|(of, role)| (of.clone(), *role))
                    .collect(),
                created: user.created,
            })
            .collect();
        seen.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(seen)
    }

    /// The secret of a link that makes the first owner, good for an hour; `None` when there is an owner. An earlier link
    /// is dead then.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn first_owner_link(&self, now: Timestamp) -> Result<Option<Secret>, PeopleError> {
        let link = Secret::generate()?;
        let digest = link.digest();
        self.change(move |tx| {
            if owners(tx)? > 0 {
                return Ok(None);
            }
            tx.execute("DELETE FROM first_owner", [])?;
            tx.execute(
                "INSERT INTO first_owner (one, secret, expires) VALUES (1, ?1, ?2)",
                params![digest.as_bytes(), (now + LINK).as_millisecond()],
            )?;
            Ok(Some(link))
        })
        .await
    }

    /// Makes the first owner by the link's secret, which is dead afterwards.
    ///
    /// # Errors
    /// When the link is dead or wrong, the name or password will not do, or it cannot be written.
    pub async fn redeem_first_owner(
        &self,
        shown: &Secret,
        name: &UserName,
        password: &Secret,
        address: Option<std::net::IpAddr>,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        let digest = shown.digest();
        // Before the password is hashed, or strangers could make the server hash for them.
        self.0
            .store
            .read(|connection| check_link(connection, &digest, now))?;
        let hash = self.0.passwords.hash(password).await?;
        let name = name.clone();
        self.change(move |tx| {
            check_link(tx, &digest, now)?;
            if owners(tx)? > 0 {
                return Err(PeopleError::DeadLink);
            }
            insert(tx, &name, &hash, true, now)?;
            tx.execute("DELETE FROM first_owner", [])?;
            let mut event = Event::to(Action::UserAdd, &name);
            event.after = Some("owner".to_owned());
            audit::write(tx, &Who::User(name), address, &event, now)
        })
        .await
    }
}

fn check_link(
    connection: &rusqlite::Connection,
    shown: &Sha256,
    now: Timestamp,
) -> Result<(), PeopleError> {
    let link: Option<([u8; 32], i64)> = connection
        .query_row("SELECT secret, expires FROM first_owner", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match link {
        Some((stored, expires))
            if now.as_millisecond() < expires
                && secret::same(&Sha256::from_bytes(stored), shown) =>
        {
            Ok(())
        }
        _ => Err(PeopleError::DeadLink),
    }
}
