//! The audit log.

use super::{Actor, Entry, Filter, Office, OfficeError};

impl Office {
    /// A page of the audit log, the newest entry first.
    ///
    /// # Errors
    /// When the actor may not see it, or it cannot be read.
    pub async fn audit(&self, actor: &Actor, filter: Filter) -> Result<Vec<Entry>, OfficeError> {
        let (people, actor) = (self.people()?.clone(), actor.clone());
        self.apart(move |_| Ok(people.audit(&actor, &filter)?))
            .await
    }
}
