//! Orgs: the folders at the top of the tree.

use std::fs::{self, File};
use std::io;

use super::{Action, Actor, Event, Inner, Office, OfficeError, Role};
use crate::firmware::Org;

/// An org as an actor sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgView {
    /// Its name.
    pub name: Org,
    /// What the actor may do in the whole of it; none with a token for one project.
    pub role: Option<Role>,
}

/// The greatest role of an actor in the whole org.
fn role(actor: &Actor, org: &Org) -> Option<Role> {
    [Role::Admin, Role::Publisher, Role::Viewer]
        .into_iter()
        .find(|role| actor.may(*role, org, None).is_ok())
}

impl Inner {
    fn orgs(&self) -> Result<Vec<Org>, OfficeError> {
        let failed = |error: io::Error| OfficeError::from_disk(&self.root, &error);
        let mut orgs = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let is_folder = entry.path().is_dir();
            orgs.extend(
                name.to_str()
                    .filter(|_| is_folder)
                    .and_then(|name| name.parse::<Org>().ok()),
            );
        }
        orgs.sort();
        Ok(orgs)
    }

    fn add_org(&self, org: &Org) -> Result<(), OfficeError> {
        let folder = self.root.join(org.as_str());
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(OfficeError::OrgExists(org.clone()));
            }
            made => made.and_then(|()| File::open(&self.root)?.sync_all()),
        }
        .map_err(|error| OfficeError::from_disk(&folder, &error))
    }
}

impl OfficeError {
    pub(super) fn from_disk(path: &std::path::Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Failed(format!(
                "{}: {error}; see that the server's user may write there",
                path.display()
            )),
        }
    }
}

impl Office {
    /// The orgs that the actor sees.
    ///
    /// # Errors
    /// When the root of the tree cannot be read.
    pub async fn orgs(&self, actor: &Actor) -> Result<Vec<OrgView>, OfficeError> {
        let actor = actor.clone();
        self.apart(move |inner| {
            let seen = inner.orgs()?.into_iter().filter_map(|name| {
                let role = role(&actor, &name);
                (role.is_some() || actor.sees(&name)).then_some(OrgView { name, role })
            });
            Ok(seen.collect())
        })
        .await
    }

    /// Makes an org: a folder in the tree.
    ///
    /// # Errors
    /// When the actor is no owner, it is there already, or the folder cannot be made.
    pub async fn add_org(&self, actor: &Actor, org: &Org) -> Result<(), OfficeError> {
        actor.must_own()?;
        // Before anything is done: without people nothing can be written down.
        self.people()?;
        let made = org.clone();
        self.apart(move |inner| inner.add_org(&made)).await?;
        let event = Event {
            org: Some(org.clone()),
            ..Event::new(Action::OrgAdd)
        };
        self.0.tree.look(vec![org.as_str().into()]).await;
        self.recorded(actor, event, ()).await
    }
}
