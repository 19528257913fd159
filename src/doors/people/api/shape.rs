//! What is sent: people's words as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::office::{Actor, Entry, OrgView, TokenView, UserView, Who};

/// Somebody who acts.
#[derive(Serialize, ToSchema)]
pub struct Name {
    /// `user`, `token`, `console` or `file`.
    kind: &'static str,
    /// The user's name, the token's id, or the owner of the file; nothing for the local operator.
    name: Option<String>,
}

impl From<&Who> for Name {
    fn from(who: &Who) -> Self {
        let (kind, name) = match who {
            Who::User(name) => ("user", Some(name.to_string())),
            Who::Token(id) => ("token", Some(id.to_string())),
            Who::Console => ("console", None),
            Who::File(owner) => ("file", Some(owner.clone())),
        };
        Self { kind, name }
    }
}

/// Who you are.
#[derive(Serialize, ToSchema)]
pub struct Me {
    who: Name,
    /// You may do everything.
    owner: bool,
}

impl From<&Actor> for Me {
    fn from(actor: &Actor) -> Self {
        Self {
            who: actor.who().into(),
            owner: actor.is_owner(),
        }
    }
}

/// A user.
#[derive(Serialize, ToSchema)]
pub struct User {
    name: String,
    /// They own the server.
    owner: bool,
    /// Their role in each org: `viewer`, `publisher`, `admin`.
    roles: BTreeMap<String, &'static str>,
    #[schema(format = DateTime)]
    created: String,
}

impl From<UserView> for User {
    fn from(user: UserView) -> Self {
        let role = |(org, role): (&_, &crate::office::Role)| -> (String, &'static str) {
            let org: &crate::firmware::Org = org;
            (org.to_string(), role.slug())
        };
        Self {
            name: user.name.to_string(),
            owner: user.owner,
            roles: user.roles.iter().map(role).collect(),
            created: user.created.to_string(),
        }
    }
}

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub struct Token {
    id: String,
    /// A name for people.
    name: String,
    org: String,
    /// For this project of the org only.
    project: Option<String>,
    /// `viewer`, `publisher` or `admin`.
    role: &'static str,
    #[schema(format = DateTime)]
    created: String,
    /// The user who made it; nothing for the local operator.
    created_by: Option<String>,
    /// Nothing: it lives for ever.
    #[schema(format = DateTime)]
    expires: Option<String>,
    #[schema(format = DateTime)]
    last_used: Option<String>,
    #[schema(format = DateTime)]
    revoked: Option<String>,
}

fn text(of: Option<impl ToString>) -> Option<String> {
    of.map(|of| of.to_string())
}

impl From<TokenView> for Token {
    fn from(token: TokenView) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name,
            org: token.org.to_string(),
            project: text(token.project),
            role: token.role.slug(),
            created: token.created.to_string(),
            created_by: text(token.created_by),
            expires: text(token.expires),
            last_used: text(token.last_used),
            revoked: text(token.revoked),
        }
    }
}

/// An org.
#[derive(Serialize, ToSchema)]
pub struct Org {
    name: String,
    /// What you may do in the whole of it; nothing with a token for one project.
    role: Option<&'static str>,
}

impl From<OrgView> for Org {
    fn from(org: OrgView) -> Self {
        Self {
            name: org.name.to_string(),
            role: org.role.map(crate::office::Role::slug),
        }
    }
}

/// A line of the audit log.
#[derive(Serialize, ToSchema)]
pub struct Line {
    /// Grows with time.
    id: i64,
    #[schema(format = DateTime)]
    at: String,
    who: Name,
    /// From where.
    address: Option<String>,
    /// What was done, such as `publish`.
    action: &'static str,
    org: Option<String>,
    /// To what: a slot, a user, a token.
    target: Option<String>,
    /// How it was: an image's id, a role.
    before: Option<String>,
    /// How it is now.
    after: Option<String>,
}

impl From<Entry> for Line {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id,
            at: entry.at.to_string(),
            who: (&entry.who).into(),
            address: text(entry.address),
            action: entry.event.action.slug(),
            org: text(entry.event.org),
            target: entry.event.target,
            before: entry.event.before,
            after: entry.event.after,
        }
    }
}
