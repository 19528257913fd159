//! Secrets of devices.

use axum::Json;
use axum::extract::{Path, State};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Signed;
use super::extract::Word;
use super::problem::Problem;
use crate::firmware::{NodeId, Org};
use crate::office::Office;

#[derive(Serialize, ToSchema)]
pub struct Rules {
    /// Devices must show a secret.
    required: bool,
    /// The nodes that have one.
    nodes: Vec<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Required {
    required: bool,
}

#[derive(Serialize, ToSchema)]
pub struct MadeSecret {
    /// The device's secret: this is the only time that it is shown.
    secret: String,
}

/// Whether an org asks its devices for a secret, and which have one
#[utoipa::path(get, path = "/orgs/{org}/devices", extensions(("x-needs" = json!("admin"))),
    params(("org" = String, Path, description = "The org")),
    responses((status = 200, description = "By name", body = Rules)))]
pub async fn rules(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path(org): Path<Word<Org>>,
) -> Result<Json<Rules>, Problem> {
    let rules = office.device_rules(&actor, &org.0)?;
    Ok(Json(Rules {
        required: rules.required,
        nodes: rules.nodes.iter().map(ToString::to_string).collect(),
    }))
}

/// Make an org ask its devices for a secret, or not
#[utoipa::path(put, path = "/orgs/{org}/devices", extensions(("x-needs" = json!("admin"))),
    params(("org" = String, Path, description = "The org")), request_body = Required,
    responses((status = 204, description = "It counts from now on")))]
pub async fn require(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path(org): Path<Word<Org>>,
    Json(new): Json<Required>,
) -> Result<StatusCode, Problem> {
    office
        .require_device_secrets(&actor, &org.0, new.required)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a device a new secret; the old one is dead
#[utoipa::path(post, path = "/orgs/{org}/devices/{node}", extensions(("x-needs" = json!("admin"))),
    params(("org" = String, Path, description = "The org"), ("node" = String, Path, description = "The node")),
    responses((status = 200, description = "The secret, shown this once", body = MadeSecret)))]
pub async fn add(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path((org, node)): Path<(Word<Org>, Word<NodeId>)>,
) -> Result<Json<MadeSecret>, Problem> {
    let secret = office.add_device_secret(&actor, &org.0, &node.0).await?;
    let secret = secret.reveal().to_owned();
    Ok(Json(MadeSecret { secret }))
}

/// Remove a device's secret
#[utoipa::path(delete, path = "/orgs/{org}/devices/{node}", extensions(("x-needs" = json!("admin"))),
    params(("org" = String, Path, description = "The org"), ("node" = String, Path, description = "The node")),
    responses((status = 204, description = "It is refused from now on")))]
pub async fn forget(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path((org, node)): Path<(Word<Org>, Word<NodeId>)>,
) -> Result<StatusCode, Problem> {
    office.forget_device_secret(&actor, &org.0, &node.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
