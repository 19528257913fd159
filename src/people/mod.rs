//! People: users, roles, tokens, sessions, secrets of devices, and the audit log, over the one database.
//!
//! | file | what lives there |
//! |---|---|
//! | `words` | `UserName`, `Role`, `TokenId` |
//! | `secret` | `Secret`: made, shown once, compared |
//! | `actor` | `Actor`, `Permit`: who acts and what they may; made in this room only |
//! | `snapshot` | what is needed to decide, in memory |
//! | `password`, `limiter` | argon2id; failed logins slow the next ones down |
//! | `session`, `token`, `user`, `device` | the business itself |
//! | `audit` | the append-only log |
//!
//! A token, a session or a device is checked in memory and never waits for the disk. Every change is durable, in the
//! audit log and in memory before its call returns, so what was revoked is refused at once.

mod actor;
mod audit;
mod device;
mod error;
mod limiter;
mod password;
mod secret;
mod session;
mod snapshot;
#[cfg(test)]
mod tests;
mod token;
mod user;
mod words;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rusqlite::Transaction;

pub use actor::{Actor, Permit, Who};
pub use audit::{Action, Entry, Event, Filter};
pub use device::{Credential, DeviceAnswer};
pub use error::{Denied, PeopleError};
pub use limiter::Wait;
pub use secret::Secret;
pub use token::{NewToken, TokenView};
pub use user::UserView;
pub use words::{ParseRoleError, ParseTokenIdError, Role, TokenId, UserName};

use crate::store::Store;

/// Everybody the server knows; clones share it.
#[derive(Clone)]
pub struct People(Arc<Inner>);

struct Inner {
    store: Store,
    now: ArcSwap<snapshot::Snapshot>,
    devices: ArcSwap<device::Devices>,
    limiter: Mutex<limiter::Limiter>,
    passwords: password::Passwords,
}

impl People {
    /// Reads everybody into memory. It blocks.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn open(store: Store) -> Result<Self, PeopleError> {
        let (now, devices) = store.read(|connection| {
            let now = snapshot::Snapshot::load(connection, &snapshot::Snapshot::default())?;
            Ok::<_, PeopleError>((now, device::Devices::load(connection)?))
        })?;
        Ok(Self(Arc::new(Inner {
            store,
            now: ArcSwap::from_pointee(now),
            devices: ArcSwap::from_pointee(devices),
            limiter: Mutex::default(),
            passwords: password::Passwords::new()?,
        })))
    }

    /// The local operator, who has the control socket or the locked database in hand, and may do everything.
    #[must_use]
    pub fn console(&self) -> Actor {
        Actor::new(Who::Console, None, actor::Grants::All)
    }

    /// Writes down what an actor did elsewhere: published, deleted, rolled back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn record(
        &self,
        actor: &Actor,
        event: Event,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        self.record_as(actor.who.clone(), actor.address, event, now)
            .await
    }

    /// Writes down that a file of the tree was dropped, by the owner of the file as the system names them.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn record_file(
        &self,
        owner: &str,
        event: Event,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        self.record_as(Who::File(owner.to_owned()), None, event, now)
            .await
    }

    async fn record_as(
        &self,
        who: Who,
        address: Option<IpAddr>,
        event: Event,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        self.0
            .store
            .write(move |tx| audit::write(tx, &who, address, &event, now))
            .await
    }

    /// A page of the audit log, the newest entry first. An admin sees their org, an owner everything. It blocks.
    ///
    /// # Errors
    /// When the actor may not see it, or it cannot be read.
    pub fn audit(&self, actor: &Actor, filter: &Filter) -> Result<Vec<Entry>, PeopleError> {
        match &filter.org {
            Some(org) => drop(actor.may(Role::Admin, org, None)?),
            None => actor.must_own()?,
        }
        self.0
            .store
            .read(|connection| audit::query(connection, filter))
    }

    /// Changes people: durable, then in memory, then told.
    async fn change<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, PeopleError> + Send + 'static,
    ) -> Result<T, PeopleError> {
        let (inner, swap) = (self.0.clone(), self.0.clone());
        self.0
            .store
            .write_then(
                move |tx| {
                    let done = job(tx)?;
                    let next = snapshot::Snapshot::load(tx, &inner.now.load())?;
                    Ok((done, next))
                },
                move |(done, next)| {
                    swap.now.store(Arc::new(next));
                    done
                },
            )
            .await
    }

    /// The actor with what they may do now: for work that took long since they were let in, such as an upload. `None`
    /// when their token was revoked or their user removed.
    #[must_use]
    pub fn still(&self, actor: &Actor, now: Timestamp) -> Option<Actor> {
        let people = self.0.now.load();
        let grants = match &actor.who {
            Who::User(name) => people.users.get(name)?.grants(),
            Who::Token(id) => token::live(&people, people.tokens.get(id)?, now)?,
            Who::Console | Who::File(_) => actor.grants.clone(),
        };
        Some(Actor::new(actor.who.clone(), actor.address, grants))
    }
}
