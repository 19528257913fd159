//! The audit log: every change by a person or a token, written in the transaction of the change, never altered.

use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, Transaction, params_from_iter};

use super::{Actor, PeopleError, TokenId, UserName, Who};
use crate::firmware::Org;

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $slug:literal,)*) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[$doc])* $name,)* }

        impl Action {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word for it in the log.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }
        }
    };
}

actions!(
    /// A user was added.
    UserAdd = "user-add",
    /// A user was removed.
    UserRemove = "user-remove",
    /// A password was set.
    PasswordSet = "password-set",
    /// A role in an org was given or taken.
    RoleSet = "role-set",
    /// Ownership of the server was given or taken.
    OwnerSet = "owner-set",
    /// Somebody signed in.
    LogIn = "log-in",
    /// Somebody signed out.
    LogOut = "log-out",
    /// A token was made.
    TokenAdd = "token-add",
    /// A token was revoked.
    TokenRevoke = "token-revoke",
    /// An org began or ceased to ask its devices for a secret.
    DevicesRequire = "devices-require",
    /// A device was given a secret.
    DeviceSecret = "device-secret",
    /// A device's secret was removed.
    DeviceForget = "device-forget",
    /// An org was made.
    OrgAdd = "org-add",
    /// An image was published; the target is its slot, before and after are image ids.
    Publish = "publish",
    /// An image was deleted.
    Delete = "delete",
    /// An image was moved from one slot to another.
    Promote = "promote",
    /// A slot went back to an earlier image.
    Rollback = "rollback",
    /// Title, version or description of an image.
    Describe = "describe",
    /// Updates were held or let go.
    Hold = "hold",
    /// A file was dropped into the tree.
    Drop = "drop",
);

/// What an entry says, beside who and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What was done.
    pub action: Action,
    /// In which org.
    pub org: Option<Org>,
    /// To what: a path in the tree, a user, a token.
    pub target: Option<String>,
    /// How it was: an image id, a role.
    pub before: Option<String>,
    /// How it is now.
    pub after: Option<String>,
}

impl Event {
    /// An event without particulars.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self {
            action,
            org: None,
            target: None,
            before: None,
            after: None,
        }
    }

    pub(super) fn to(action: Action, target: impl ToString) -> Self {
        Self {
            target: Some(target.to_string()),
            ..Self::new(action)
        }
    }
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Grows with time; the cursor of a page.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: Who,
    /// From where; none for the local operator and for files.
    pub address: Option<IpAddr>,
    /// What.
    pub event: Event,
}

/// Which entries to show: the newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this org only.
    pub org: Option<Org>,
    /// By this one only.
    pub who: Option<Who>,
    /// Of this action only.
    pub action: Option<Action>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Below this id: the last one of the page before.
    pub below: Option<i64>,
    /// At most so many; 0 stands for 100, and 1000 is the most.
    pub most: u32,
}

fn who_columns(who: &Who) -> (&'static str, &str) {
    match who {
        Who::User(name) => ("user", name.as_str()),
        Who::Token(id) => ("token", id.as_str()),
        Who::Console => ("console", ""),
        Who::File(owner) => ("file", owner),
    }
}

fn read_who(kind: &str, who: String) -> Result<Who, PeopleError> {
    let odd = |_| PeopleError::Unreadable(format!("{who:?} in the audit log"));
    Ok(match kind {
        "user" => Who::User(who.parse::<UserName>().map_err(|_| odd(()))?),
        "token" => Who::Token(who.parse::<TokenId>().map_err(|_| odd(()))?),
        "console" => Who::Console,
        "file" => Who::File(who),
        _ => return Err(odd(())),
    })
}

/// Writes an entry in the transaction of its change.
pub(super) fn write(
    tx: &Transaction<'_>,
    who: &Who,
    address: Option<IpAddr>,
    event: &Event,
    now: Timestamp,
) -> Result<(), PeopleError> {
    let (kind, who) = who_columns(who);
    tx.execute(
        "INSERT INTO audit (at, who_kind, who, address, action, org, target, before, after)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        rusqlite::params![
            now.as_millisecond(),
            kind,
            who,
            address.map(|address| address.to_string()),
            event.action.slug(),
            event.org.as_ref().map(Org::as_str),
            event.target,
            event.before,
            event.after,
        ],
    )?;
    Ok(())
}

/// Writes an entry for what an actor did.
pub(super) fn by(
    tx: &Transaction<'_>,
    actor: &Actor,
    event: &Event,
    now: Timestamp,
) -> Result<(), PeopleError> {
    write(tx, &actor.who, actor.address, event, now)
}

pub(super) fn query(connection: &Connection, filter: &Filter) -> Result<Vec<Entry>, PeopleError> {
    let mut sql = String::from(
        "SELECT id, at, who_kind, who, address, action, org, target, before, after FROM audit WHERE 1",
    );
    let mut values: Vec<Value> = Vec::new();
    let mut narrow = |condition: &str, value: Value| {
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(org) = &filter.org {
        narrow(" AND org = ?", org.to_string().into());
    }
    if let Some(who) = &filter.who {
        let (kind, who) = who_columns(who);
        narrow(" AND who_kind = ?", kind.to_owned().into());
        narrow(" AND who = ?", who.to_owned().into());
    }
    if let Some(action) = filter.action {
        narrow(" AND action = ?", action.slug().to_owned().into());
    }
    if let Some(since) = filter.since {
        narrow(" AND at >= ?", since.as_millisecond().into());
    }
    if let Some(below) = filter.below {
        narrow(" AND id < ?", below.into());
    }
    let most = if filter.most == 0 {
        100
    } else {
        filter.most.min(1000)
    };
    narrow(" ORDER BY id DESC LIMIT ?", i64::from(most).into());
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

fn entry(row: &Row<'_>) -> Result<Entry, PeopleError> {
    let slug: String = row.get(5)?;
    let action = Action::ALL.iter().find(|action| action.slug() == slug);
    let kind: String = row.get(2)?;
    let address: Option<String> = row.get(4)?;
    let org: Option<String> = row.get(6)?;
    Ok(Entry {
        id: row.get(0)?,
        at: super::snapshot::time(row.get(1)?)?,
        who: read_who(&kind, row.get(3)?)?,
        address: address.and_then(|address| address.parse().ok()),
        event: Event {
            action: *action
                .ok_or_else(|| PeopleError::Unreadable(format!("the action {slug:?}")))?,
            org: org.and_then(|org| org.parse().ok()),
            target: row.get(7)?,
            before: row.get(8)?,
            after: row.get(9)?,
        },
    })
}
