//! Who acts, and what they may. An [`Actor`] is made in this room only, so a forgotten check does not compile.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Denied, Role, TokenId, UserName};
use crate::firmware::{Org, Project};

/// Who did something, as the audit log names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// Somebody who has signed in.
    User(UserName),
    /// A token.
    Token(TokenId),
    /// The local operator: the control socket, or the locked database.
    Console,
    /// The owner of a file that was dropped into the tree, as the system names them.
    File(String),
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grants {
    /// Everything.
    All,
    /// A role in each of some orgs.
    Roles(HashMap<Org, Role>),
    /// One role in one org, perhaps in one project of it only.
    One(Org, Option<Project>, Role),
}

/// Somebody whose credential was good. Every call of people's business takes one.
#[derive(Debug, Clone)]
pub struct Actor {
    pub(super) who: Who,
    pub(super) address: Option<IpAddr>,
    pub(super) grants: Grants,
}

/// Proof that an actor may do something in an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    role: Role,
    org: Org,
    project: Option<Project>,
}

impl Permit {
    /// The role that was asked for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The org.
    #[must_use]
    pub fn org(&self) -> &Org {
        &self.org
    }

    /// The project that was asked for, or none for the whole org.
    #[must_use]
    pub fn project(&self) -> Option<&Project> {
        self.project.as_ref()
    }
}

impl Actor {
    pub(super) fn new(who: Who, address: Option<IpAddr>, grants: Grants) -> Self {
        Self {
            who,
            address,
            grants,
        }
    }

    /// Who it is.
    #[must_use]
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// From where; none for the local operator.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Whether the actor owns the server.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.grants == Grants::All
    }

    /// Asks for a role in an org: in one project of it, or (`None`) in the whole org.
    ///
    /// # Errors
    /// What is missing.
    pub fn may(&self, role: Role, org: &Org, project: Option<&Project>) -> Result<Permit, Denied> {
        let needed = || Denied::Role {
            needed: role,
            org: org.clone(),
        };
        let has = match &self.grants {
            Grants::All => Some(Role::Admin),
            Grants::Roles(roles) => roles.get(org).copied(),
            Grants::One(own, only, has) => {
                if own != org {
                    return Err(needed());
                }
                if let Some(only) = only
                    && project != Some(only)
                {
                    return Err(Denied::OtherProject(only.clone()));
                }
                Some(*has)
            }
        };
        if has.is_none_or(|has| has < role) {
            return Err(needed());
        }
        Ok(Permit {
            role,
            org: org.clone(),
            project: project.cloned(),
        })
    }

    /// Whether the actor may do anything at all in an org, if only in one project of it.
    #[must_use]
    pub fn sees(&self, org: &Org) -> bool {
        match &self.grants {
            Grants::All => true,
            Grants::Roles(roles) => roles.contains_key(org),
            Grants::One(own, _, _) => own == org,
        }
    }

    /// Asks for what only an owner of the server may.
    ///
    /// # Errors
    /// When the actor is no owner.
    pub fn must_own(&self) -> Result<(), Denied> {
        if self.is_owner() {
            Ok(())
        } else {
            Err(Denied::Owner)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org(name: &str) -> Org {
        name.parse().unwrap()
    }

    fn actor(grants: Grants) -> Actor {
        Actor::new(Who::Console, None, grants)
    }

    #[test]
    fn a_role_counts_in_its_own_org_only() {
        let ada = actor(Grants::Roles([(org("dev"), Role::Publisher)].into()));
        assert!(ada.may(Role::Publisher, &org("dev"), None).is_ok());
        assert!(ada.may(Role::Viewer, &org("dev"), None).is_ok());
        assert!(ada.may(Role::Admin, &org("dev"), None).is_err());
        assert!(ada.may(Role::Viewer, &org("other"), None).is_err());
        assert_eq!(ada.must_own(), Err(Denied::Owner));
    }

    #[test]
    fn a_token_for_a_project_may_nothing_beside_it_or_above_it() {
        let lotus: Project = "lotus".parse().unwrap();
        let rose: Project = "rose".parse().unwrap();
        let ci = actor(Grants::One(
            org("dev"),
            Some(lotus.clone()),
            Role::Publisher,
        ));
        assert!(ci.may(Role::Publisher, &org("dev"), Some(&lotus)).is_ok());
        for project in [None, Some(&rose)] {
            let denied = ci.may(Role::Viewer, &org("dev"), project);
            assert_eq!(denied, Err(Denied::OtherProject(lotus.clone())));
        }
        assert!(ci.may(Role::Viewer, &org("b"), Some(&lotus)).is_err());
        assert!(ci.may(Role::Admin, &org("dev"), Some(&lotus)).is_err());
    }

    #[test]
    fn an_owner_may_everything_everywhere() {
        let owner = actor(Grants::All);
        assert!(owner.may(Role::Admin, &org("any"), None).is_ok());
        assert!(owner.must_own().is_ok());
    }
}
