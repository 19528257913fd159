//! Who a credential stands for. In memory, and without a wait but for signing in and out.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{Actor, Office, OfficeError, Secret, UserName};

impl Office {
    /// The local operator, who has the control socket or the locked database in hand.
    ///
    /// # Errors
    /// When accounts cannot be read.
    pub fn console(&self) -> Result<Actor, OfficeError> {
        Ok(self.people()?.console())
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// When it is no good token, or accounts cannot be read.
    pub fn token(&self, text: &str, address: Option<IpAddr>) -> Result<Actor, OfficeError> {
        let actor = self.people()?.token(text, address, Timestamp::now());
        actor.ok_or(OfficeError::NotSignedIn)
    }

    /// Who shows the cookie of this session.
    ///
    /// # Errors
    /// When the session is over, or accounts cannot be read.
    pub fn session(&self, shown: &Secret, address: Option<IpAddr>) -> Result<Actor, OfficeError> {
        let actor = self.people()?.session(shown, address, Timestamp::now());
        actor.ok_or(OfficeError::NotSignedIn)
    }

    /// The actor with what they may do now, after work that took long.
    ///
    /// # Errors
    /// When their credential is not good any more.
    pub fn still(&self, actor: &Actor) -> Result<Actor, OfficeError> {
        let actor = self.people()?.still(actor, Timestamp::now());
        actor.ok_or(OfficeError::NotSignedIn)
    }

    /// Signs in; the secret is the browser's cookie.
    ///
    /// # Errors
    /// When name or password are wrong, or too many tries failed before.
    pub async fn log_in(
        &self,
        name: &UserName,
        password: &Secret,
        address: Option<IpAddr>,
    ) -> Result<Secret, OfficeError> {
        let people = self.people()?;
        Ok(people
            .log_in(name, password, address, Timestamp::now())
            .await?)
    }

    /// Who knows this password, without a session.
    ///
    /// # Errors
    /// As with [`Office::log_in`].
    pub async fn password(
        &self,
        name: &UserName,
        password: &Secret,
        address: Option<IpAddr>,
    ) -> Result<Actor, OfficeError> {
        let people = self.people()?;
        Ok(people
            .password(name, password, address, Timestamp::now())
            .await?)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn log_out(&self, actor: &Actor, shown: &Secret) -> Result<(), OfficeError> {
        Ok(self
            .people()?
            .log_out(actor, shown, Timestamp::now())
            .await?)
    }

    /// Makes the first owner by the secret of the link that the first start wrote.
    ///
    /// # Errors
    /// When the link is dead, or name or password will not do.
    pub async fn first_owner(
        &self,
        link: &Secret,
        name: &UserName,
        password: &Secret,
        address: Option<IpAddr>,
    ) -> Result<(), OfficeError> {
        let people = self.people()?;
        let now = Timestamp::now();
        Ok(people
            .redeem_first_owner(link, name, password, address, now)
            .await?)
    }
}
