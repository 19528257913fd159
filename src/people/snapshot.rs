//! What is needed to decide, in memory: users, tokens, sessions. Built anew in the transaction of each change.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::actor::Grants;
use super::{PeopleError, Role, TokenId, UserName};
use crate::firmware::{Org, Project, Sha256};

/// "Last used" and "last seen" are written at most so often.
const TOUCH: SignedDuration = SignedDuration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub users: HashMap<UserName, User>,
    pub tokens: HashMap<TokenId, Token>,
    pub sessions: HashMap<Sha256, Session>,
}

#[derive(Debug)]
pub(super) struct User {
    pub password: Arc<str>,
    pub owner: bool,
    pub roles: HashMap<Org, Role>,
    pub created: Timestamp,
}

impl User {
    pub fn grants(&self) -> Grants {
        if self.owner {
            Grants::All
        } else {
            Grants::Roles(self.roles.clone())
        }
    }
}

#[derive(Debug)]
pub(super) struct Token {
    pub secret: Sha256,
    pub name: String,
    pub org: Org,
    pub project: Option<Project>,
    pub role: Role,
    pub created: Timestamp,
    pub created_by: Option<UserName>,
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
    pub used: Touched,
}

#[derive(Debug)]
pub(super) struct Session {
    pub user: UserName,
    pub created: Timestamp,
    pub seen: Touched,
}

/// A time that moves on between two snapshots; 0 is never.
#[derive(Debug, Clone, Default)]
pub(super) struct Touched(Arc<AtomicI64>);

impl Touched {
    fn at(millisecond: i64) -> Self {
        Self(Arc::new(millisecond.into()))
    }

    /// Notes a use; true when it is time to write it down.
    pub fn touch(&self, now: Timestamp) -> bool {
        let (old, new) = (self.0.load(Ordering::Relaxed), now.as_millisecond());
        let due = i128::from(new) - i128::from(old) >= TOUCH.as_millis();
        // Of two at once, one writes.
        due && self
            .0
            .compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    pub fn last(&self) -> Option<Timestamp> {
        let at = self.0.load(Ordering::Relaxed);
        (at > 0).then(|| time(at).ok()).flatten()
    }
}

pub(super) fn time(millisecond: i64) -> Result<Timestamp, PeopleError> {
    Timestamp::from_millisecond(millisecond)
        .map_err(|_| PeopleError::Unreadable(format!("the time {millisecond}")))
}

/// Reads a checked word out of a column.
pub(super) fn word<T: std::str::FromStr>(text: String) -> Result<T, PeopleError> {
    text.parse()
        .map_err(|_| PeopleError::Unreadable(format!("{text:?}")))
}

impl Snapshot {
    /// From the tables; what moved on in memory since is taken from `old`.
    pub fn load(connection: &Connection, old: &Self) -> Result<Self, PeopleError> {
        let mut new = Self::default();
        new.load_users(connection)?;
        new.load_tokens(connection, old)?;
        new.load_sessions(connection, old)?;
        Ok(new)
    }

    fn load_users(&mut self, connection: &Connection) -> Result<(), PeopleError> {
        let mut users = connection.prepare("SELECT name, password, owner, created FROM users")?;
        let mut rows = users.query([])?;
        while let Some(row) = rows.next()? {
            let user = User {
                password: row.get::<_, String>(1)?.into(),
                owner: row.get(2)?,
                roles: HashMap::new(),
                created: time(row.get(3)?)?,
            };
            self.users.insert(word(row.get(0)?)?, user);
        }
        let mut roles = connection.prepare("SELECT user, org, role FROM roles")?;
        let mut rows = roles.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(user) = self.users.get_mut(&word(row.get(0)?)?) {
                user.roles.insert(word(row.get(1)?)?, word(row.get(2)?)?);
            }
        }
        Ok(())
    }

    fn load_tokens(&mut self, connection: &Connection, old: &Self) -> Result<(), PeopleError> {
        let mut tokens = connection.prepare(
            "SELECT id, secret, name, org, project, role, created, created_by, expires, revoked, last_used FROM tokens",
        )?;
        let mut rows = tokens.query([])?;
        while let Some(row) = rows.next()? {
            let id: TokenId = word(row.get(0)?)?;
            let stored = || row.get::<_, Option<i64>>(10);
            let used = match old.tokens.get(&id) {
                Some(token) => token.used.clone(),
                None => Touched::at(stored()?.unwrap_or(0)),
            };
            let token = Token {
                secret: Sha256::from_bytes(row.get(1)?),
                name: row.get(2)?,
                org: word(row.get(3)?)?,
                project: row.get::<_, Option<String>>(4)?.map(word).transpose()?,
                role: word(row.get(5)?)?,
                created: time(row.get(6)?)?,
                created_by: row.get::<_, Option<String>>(7)?.map(word).transpose()?,
                expires: row.get::<_, Option<i64>>(8)?.map(time).transpose()?,
                revoked: row.get::<_, Option<i64>>(9)?.map(time).transpose()?,
                used,
            };
            self.tokens.insert(id, token);
        }
        Ok(())
    }

    fn load_sessions(&mut self, connection: &Connection, old: &Self) -> Result<(), PeopleError> {
        let mut sessions =
            connection.prepare("SELECT secret, user, created, seen FROM sessions")?;
        let mut rows = sessions.query([])?;
        while let Some(row) = rows.next()? {
            let secret = Sha256::from_bytes(row.get(0)?);
            let seen = match old.sessions.get(&secret) {
                Some(session) => session.seen.clone(),
                None => Touched::at(row.get(3)?),
            };
            let session = Session {
                user: word(row.get(1)?)?,
                created: time(row.get(2)?)?,
                seen,
            };
            self.sessions.insert(secret, session);
        }
        Ok(())
    }
}
