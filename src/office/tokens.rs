//! Tokens for programs.

use jiff::{SignedDuration, Timestamp};

use super::{Actor, NewToken, Office, OfficeError, Secret, TokenId, TokenView};

/// A token lives a year, unless somebody says otherwise.
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

impl Office {
    /// The end of a token that is made now, where nobody names one.
    #[must_use]
    pub fn usual_expiry() -> Timestamp {
        Timestamp::now() + YEAR
    }

    /// The tokens that the actor made, and those of the orgs that they are admin of.
    ///
    /// # Errors
    /// When accounts cannot be read.
    pub fn tokens(&self, actor: &Actor) -> Result<Vec<TokenView>, OfficeError> {
        Ok(self.people()?.tokens(actor))
    }

    /// Makes a token; its text is shown this once.
    ///
    /// # Errors
    /// When the actor may not give so much.
    pub async fn add_token(
        &self,
        actor: &Actor,
        new: NewToken,
    ) -> Result<(TokenId, Secret), OfficeError> {
        Ok(self
            .people()?
            .add_token(actor, new, Timestamp::now())
            .await?)
    }

    /// Ends a token at once.
    ///
    /// # Errors
    /// When there is none, or the actor may not.
    pub async fn revoke_token(&self, actor: &Actor, id: &TokenId) -> Result<(), OfficeError> {
        Ok(self
            .people()?
            .revoke_token(actor, id, Timestamp::now())
            .await?)
    }
}
