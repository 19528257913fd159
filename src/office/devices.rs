//! Secrets of devices.

use jiff::Timestamp;

use super::{Actor, Office, OfficeError, Secret};
use crate::firmware::{NodeId, Org};

/// What an org asks of its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRules {
    /// Devices must show a secret.
    pub required: bool,
    /// The nodes that have one.
    pub nodes: Vec<NodeId>,
}

impl Office {
    /// What an org asks of its devices, and which have a secret.
    ///
    /// # Errors
    /// When the actor is no admin of the org.
    pub fn device_rules(&self, actor: &Actor, org: &Org) -> Result<DeviceRules, OfficeError> {
        let (required, nodes) = self.people()?.device_rules(actor, org)?;
        Ok(DeviceRules { required, nodes })
    }

    /// Makes an org ask its devices for a secret, or not.
    ///
    /// # Errors
    /// When the actor is no admin of the org.
    pub async fn require_device_secrets(
        &self,
        actor: &Actor,
        org: &Org,
        required: bool,
    ) -> Result<(), OfficeError> {
        let people = self.people()?;
        Ok(people
            .require_device_secrets(actor, org, required, Timestamp::now())
            .await?)
    }

    /// Gives a device a new secret, shown this once.
    ///
    /// # Errors
    /// When the actor is no admin of the org.
    pub async fn add_device_secret(
        &self,
        actor: &Actor,
        org: &Org,
        node: &NodeId,
    ) -> Result<Secret, OfficeError> {
        let people = self.people()?;
        Ok(people
            .add_device_secret(actor, org, node, Timestamp::now())
            .await?)
    }

    /// Removes a device's secret.
    ///
    /// # Errors
    /// When the actor is no admin of the org.
    pub async fn forget_device_secret(
        &self,
        actor: &Actor,
        org: &Org,
        node: &NodeId,
    ) -> Result<(), OfficeError> {
        let people = self.people()?;
        Ok(people
            .forget_device_secret(actor, org, node, Timestamp::now())
            .await?)
    }
}
