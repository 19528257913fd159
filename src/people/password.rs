//! Passwords: argon2id, at most two at a time, off the threads that serve devices.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use super::{PeopleError, Secret};
use crate::store::StoreError;

/// Each takes 19 MiB and a core for some 20 ms.
const AT_ONCE: usize = 2;

pub(super) struct Passwords {
    places: Semaphore,
    /// The hash of a password that nobody has: what an unknown user is checked against.
    nobody: Arc<str>,
}

impl Passwords {
    pub fn new() -> Result<Self, PeopleError> {
        Ok(Self {
            places: Semaphore::new(AT_ONCE),
            nobody: hash(Secret::generate()?.reveal())?.into(),
        })
    }

    /// The PHC string of a password.
    pub async fn hash(&self, password: &Secret) -> Result<String, PeopleError> {
        let length = password.reveal().len();
        if !(8..=1024).contains(&length) {
            return Err(PeopleError::PasswordLength(length));
        }
        let password = password.clone();
        self.aside(move || hash(password.reveal())).await?
    }

    /// Whether the password is the one of this PHC string; without one, no, at the same cost.
    pub async fn verify(
        &self,
        password: &Secret,
        stored: Option<&str>,
    ) -> Result<bool, PeopleError> {
        let known = stored.is_some();
        let stored: Arc<str> = stored.map_or_else(|| self.nobody.clone(), Into::into);
        let password = password.clone();
        // Longer ones cannot be set, and would only cost time.
        let fits = password.reveal().len() <= 1024;
        let same = self
            .aside(move || {
                Argon2::default()
                    .verify_password(password.reveal().as_bytes(), &*stored)
                    .is_ok()
            })
            .await?;
        Ok(known && fits && same)
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PeopleError> {
        let _place = self
            .places
            .acquire()
            .await
            .map_err(|_| StoreError::Stopped)?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| PeopleError::Hashing(error.to_string()))
    }
}

fn hash(password: &str) -> Result<String, PeopleError> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| PeopleError::Hashing(error.to_string()))?;
    Ok(hash.to_string())
}
