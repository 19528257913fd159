//! Signing in and out with a browser.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rusqlite::params;

use super::{Action, Actor, Event, People, PeopleError, Secret, UserName, Who, audit};

/// Without a request for so long, a session ends.
const IDLE: SignedDuration = SignedDuration::from_hours(12);
/// No session lives longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

impl People {
    /// Signs in; the secret is the browser's cookie. An unknown user costs what a wrong password costs.
    ///
    /// # Errors
    /// When name or password are wrong, too many tries failed before, or it cannot be written.
    pub async fn log_in(
        &self,
        name: &UserName,
        password: &Secret,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Secret, PeopleError> {
        let stored = self.check_password(name, password, address, now).await?;
        let secret = Secret::generate()?;
        let (digest, name) = (secret.digest(), name.clone());
        self.change(move |tx| {
            // The password was checked outside: it may have been changed, or the user removed, since.
            let made = tx.execute(
                "INSERT INTO sessions (secret, user, created, seen)
                 SELECT ?1, name, ?3, ?3 FROM users WHERE name = ?2 AND password = ?4",
                params![
                    digest.as_bytes(),
                    name.as_str(),
                    now.as_millisecond(),
                    stored
                ],
            )?;
            if made == 0 {
                return Err(PeopleError::WrongLogin);
            }
            tx.execute(
                "DELETE FROM sessions WHERE seen < ?1 OR created < ?2",
                [
                    (now - IDLE).as_millisecond(),
                    (now - LONGEST).as_millisecond(),
                ],
            )?;
            let who = Who::User(name);
            audit::write(tx, &who, address, &Event::new(Action::LogIn), now)
        })
        .await?;
        Ok(secret)
    }

    /// Who knows this password now, without a session. It costs and counts as signing in does.
    ///
    /// # Errors
    /// When name or password are wrong, or too many tries failed before.
    pub async fn password(
        &self,
        name: &UserName,
        password: &Secret,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Actor, PeopleError> {
        self.check_password(name, password, address, now).await?;
        let people = self.0.now.load();
        let user = people.users.get(name).ok_or(PeopleError::WrongLogin)?;
        Ok(Actor::new(Who::User(name.clone()), address, user.grants()))
    }

    /// Gives the password as it is stored, if it is the right one.
    async fn check_password(
        &self,
        name: &UserName,
        password: &Secret,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Option<Arc<str>>, PeopleError> {
        let limiter = || {
            self.0
                .limiter
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        limiter()
            .begin(name, address, now)
            .map_err(PeopleError::SlowDown)?;
        let stored = self
            .0
            .now
            .load()
            .users
            .get(name)
            .map(|user| user.password.clone());
        if !self.0.passwords.verify(password, stored.as_deref()).await? {
            return Err(PeopleError::WrongLogin);
        }
        limiter().succeeded(name, address);
        Ok(stored)
    }

    /// Who shows this cookie, if the session lives. In memory; never waits.
    #[must_use]
    pub fn session(
        &self,
        shown: &Secret,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Option<Actor> {
        let digest = shown.digest();
        let people = self.0.now.load();
        let session = people.sessions.get(&digest)?;
        let seen = session.seen.last().unwrap_or(session.created);
        if now.duration_since(seen) >= IDLE || now.duration_since(session.created) >= LONGEST {
            return None;
        }
        let user = people.users.get(&session.user)?;
        let grants = user.grants();
        if session.seen.touch(now) {
            self.0.store.write_behind(move |tx| {
                tx.execute(
                    "UPDATE sessions SET seen = ?2 WHERE secret = ?1",
                    params![digest.as_bytes(), now.as_millisecond()],
                )?;
                Ok(())
            });
        }
        Some(Actor::new(Who::User(session.user.clone()), address, grants))
    }

    /// Ends a session, if it is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn log_out(
        &self,
        actor: &Actor,
        shown: &Secret,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        let (actor, digest) = (actor.clone(), shown.digest());
        self.change(move |tx| {
            tx.execute(
                "DELETE FROM sessions WHERE secret = ?1",
                [digest.as_bytes()],
            )?;
            audit::by(tx, &actor, &Event::new(Action::LogOut), now)
        })
        .await
    }
}
