//! Users and their roles.

use jiff::Timestamp;

use super::{Actor, Office, OfficeError, Role, Secret, UserName, UserView};
use crate::firmware::Org;

impl Office {
    /// All users for an owner; for an admin, those with a role in the org.
    ///
    /// # Errors
    /// When the actor may not see them.
    pub fn users(&self, actor: &Actor, org: Option<&Org>) -> Result<Vec<UserView>, OfficeError> {
        Ok(self.people()?.users(actor, org)?)
    }

    /// Adds a user, as an owner of the server or without any role.
    ///
    /// # Errors
    /// When the actor is no owner, the name is taken, or the password will not do.
    pub async fn add_user(
        &self,
        actor: &Actor,
        name: &UserName,
        password: &Secret,
        owner: bool,
    ) -> Result<(), OfficeError> {
        let people = self.people()?;
        Ok(people
            .add_user(actor, name, password, owner, Timestamp::now())
            .await?)
    }

    /// Removes a user with their sessions, roles and tokens.
    ///
    /// # Errors
    /// When the actor is no owner, or it is the last owner.
    pub async fn remove_user(&self, actor: &Actor, name: &UserName) -> Result<(), OfficeError> {
        Ok(self
            .people()?
            .remove_user(actor, name, Timestamp::now())
            .await?)
    }

    /// Sets a password: one's own, or anybody's by an owner. All sessions of the user end.
    ///
    /// # Errors
    /// When the actor may not, or the password will not do.
    pub async fn set_password(
        &self,
        actor: &Actor,
        name: &UserName,
        password: &Secret,
    ) -> Result<(), OfficeError> {
        let people = self.people()?;
        Ok(people
            .set_password(actor, name, password, Timestamp::now())
            .await?)
    }

    /// Makes a user an owner of the server, or no longer one.
    ///
    /// # Errors
    /// When the actor is no owner, or it is the last one.
    pub async fn set_owner(
        &self,
        actor: &Actor,
        name: &UserName,
        owner: bool,
    ) -> Result<(), OfficeError> {
        let people = self.people()?;
        Ok(people
            .set_owner(actor, name, owner, Timestamp::now())
            .await?)
    }

    /// Gives a role in an org, or takes it (`None`).
    ///
    /// # Errors
    /// When the actor is no admin of the org, or there is no such user.
    pub async fn set_role(
        &self,
        actor: &Actor,
        name: &UserName,
        org: &Org,
        role: Option<Role>,
    ) -> Result<(), OfficeError> {
        let people = self.people()?;
        Ok(people
            .set_role(actor, name, org, role, Timestamp::now())
            .await?)
    }
}
