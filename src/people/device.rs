//! Secrets of devices: where an org asks for one, a node shows its own.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

use super::snapshot::word;
use super::{Action, Actor, Event, People, PeopleError, Role, Secret, audit, secret};
use crate::firmware::{NodeId, Org, Sha256};

/// What a device shows.
#[derive(Debug, Clone, Copy)]
pub struct Credential<'a> {
    /// The user name of HTTP Basic, which is to be the node; none with Bearer.
    pub user: Option<&'a str>,
    /// The secret.
    pub secret: &'a str,
}

/// Whether a device may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceAnswer {
    /// It may: its secret is right, or its org asks for none.
    Allowed,
    /// Its org asks for a secret, and it shows none.
    Missing,
    /// It shows a wrong one.
    Wrong,
}

#[derive(Debug, Default)]
pub(super) struct Devices(HashMap<Org, OrgDevices>);

#[derive(Debug, Default)]
struct OrgDevices {
    required: bool,
    secrets: HashMap<NodeId, Sha256>,
}

impl Devices {
    pub fn load(connection: &Connection) -> Result<Self, PeopleError> {
        let mut all = Self::default();
        let mut orgs = connection.prepare("SELECT org FROM device_orgs")?;
        let mut rows = orgs.query([])?;
        while let Some(row) = rows.next()? {
            all.0.entry(word(row.get(0)?)?).or_default().required = true;
        }
        let mut secrets = connection.prepare("SELECT org, node, secret FROM device_secrets")?;
        let mut rows = secrets.query([])?;
        while let Some(row) = rows.next()? {
            let org = all.0.entry(word(row.get(0)?)?).or_default();
            let digest = Sha256::from_bytes(row.get(2)?);
            org.secrets.insert(word(row.get(1)?)?, digest);
        }
        Ok(all)
    }
}

impl People {
    /// Whether an org asks its devices for a secret. In memory; never waits.
    #[must_use]
    pub fn asks_devices(&self, org: &Org) -> bool {
        let devices = self.0.devices.load();
        devices.0.get(org).is_some_and(|org| org.required)
    }

    /// Whether a device may ask. In memory; never waits.
    #[must_use]
    pub fn device_may(
        &self,
        org: &Org,
        node: &NodeId,
        shown: Option<Credential<'_>>,
    ) -> DeviceAnswer {
        let devices = self.0.devices.load();
        let Some(org) = devices.0.get(org).filter(|org| org.required) else {
            return DeviceAnswer::Allowed;
        };
        let Some(shown) = shown else {
            return DeviceAnswer::Missing;
        };
        let own = shown.user.is_none_or(|user| user == node.as_str());
        let digest = Sha256::of(shown.secret.as_bytes());
        match org.secrets.get(node) {
            Some(stored) if own && secret::same(stored, &digest) => DeviceAnswer::Allowed,
            _ => DeviceAnswer::Wrong,
        }
    }

    /// Whether an org asks its devices for a secret, and which nodes have one, by name.
    ///
    /// # Errors
    /// When the actor is no admin of the org.
    pub fn device_rules(
        &self,
        actor: &Actor,
        org: &Org,
    ) -> Result<(bool, Vec<NodeId>), PeopleError> {
        actor.may(Role::Admin, org, None)?;
        let devices = self.0.devices.load();
        let Some(org) = devices.0.get(org) else {
            return Ok((false, Vec::new()));
        };
        let mut nodes: Vec<NodeId> = org.secrets.keys().cloned().collect();
        nodes.sort();
        Ok((org.required, nodes))
    }

    /// Makes an org ask its devices for a secret, or not.
    ///
    /// # Errors
    /// When the actor is no admin of the org, or it cannot be written.
    pub async fn require_device_secrets(
        &self,
        actor: &Actor,
        org: &Org,
        required: bool,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        actor.may(Role::Admin, org, None)?;
        let (actor, org) = (actor.clone(), org.clone());
        self.change_devices(move |tx| {
            let sql = if required {
                "INSERT INTO device_orgs (org) VALUES (?1) ON CONFLICT DO NOTHING"
            } else {
                "DELETE FROM device_orgs WHERE org = ?1"
            };
            tx.execute(sql, [org.as_str()])?;
            let mut event = Event::new(Action::DevicesRequire);
            event.org = Some(org);
            event.after = Some(required.to_string());
            audit::by(tx, &actor, &event, now)
        })
        .await
    }

    /// Gives a device a new secret, which is shown this once; the old one is dead.
    ///
    /// # Errors
    /// When the actor is no admin of the org, or it cannot be written.
    pub async fn add_device_secret(
        &self,
        actor: &Actor,
        org: &Org,
        node: &NodeId,
        now: Timestamp,
    ) -> Result<Secret, PeopleError> {
        actor.may(Role::Admin, org, None)?;
        let made = Secret::generate()?;
        let digest = made.digest();
        let (actor, org, node) = (actor.clone(), org.clone(), node.clone());
        self.change_devices(move |tx| {
            tx.execute(
                "INSERT INTO device_secrets (org, node, secret, created) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET secret = excluded.secret, created = excluded.created",
                params![
                    org.as_str(),
                    node.as_str(),
                    digest.as_bytes(),
                    now.as_millisecond()
                ],
            )?;
            let mut event = Event::to(Action::DeviceSecret, &node);
            event.org = Some(org);
            audit::by(tx, &actor, &event, now)
        })
        .await?;
        Ok(made)
    }

    /// Removes a device's secret.
    ///
    /// # Errors
    /// When the actor is no admin of the org, or it cannot be written.
    pub async fn forget_device_secret(
        &self,
        actor: &Actor,
        org: &Org,
        node: &NodeId,
        now: Timestamp,
    ) -> Result<(), PeopleError> {
        actor.may(Role::Admin, org, None)?;
        let (actor, org, node) = (actor.clone(), org.clone(), node.clone());
        self.change_devices(move |tx| {
            tx.execute(
                "DELETE FROM device_secrets WHERE org = ?1 AND node = ?2",
                [org.as_str(), node.as_str()],
            )?;
            let mut event = Event::to(Action::DeviceForget, &node);
            event.org = Some(org);
            audit::by(tx, &actor, &event, now)
        })
        .await
    }

    async fn change_devices(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<(), PeopleError> + Send + 'static,
    ) -> Result<(), PeopleError> {
        let swap = self.0.clone();
        self.0
            .store
            .write_then(
                move |tx| {
                    job(tx)?;
                    Devices::load(tx)
                },
                move |next| swap.devices.store(Arc::new(next)),
            )
            .await
    }
}
