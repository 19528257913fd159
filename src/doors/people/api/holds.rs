//! Holds: the emergency brake for a slot, an org, or everything.

use axum::Json;
use axum::extract::{Path, State};
use hyper::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::caller::Signed;
use super::extract::Word;
use super::place::At;
use super::problem::Problem;
use crate::firmware::Org;
use crate::office::{Actor, Office, Range};

/// More than people read.
const LONGEST: usize = 200;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// For people.
    #[schema(max_length = 200)]
    reason: String,
}

async fn hold(
    office: &Office,
    actor: &Actor,
    range: &Range,
    why: &Why,
) -> Result<StatusCode, Problem> {
    let length = why.reason.len();
    if length > LONGEST {
        let why = format!("reason: {length} bytes, and {LONGEST} are allowed");
        return Err(Problem::invalid(why));
    }
    office.hold(actor, range, &why.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn release(office: &Office, actor: &Actor, range: &Range) -> Result<StatusCode, Problem> {
    office.release(actor, range).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Hold every update of the server
#[utoipa::path(put, path = "/hold", extensions(("x-needs" = json!("owner"))), request_body = Why,
    responses((status = 204, description = "No device is given anything, also after a restart")))]
pub async fn hold_all(
    State(office): State<Office>,
    Signed(actor): Signed,
    Json(why): Json<Why>,
) -> Result<StatusCode, Problem> {
    hold(&office, &actor, &Range::Server, &why).await
}

/// Take the hold of the server back; those of orgs and slots stay
#[utoipa::path(delete, path = "/hold", extensions(("x-needs" = json!("owner"))),
    responses((status = 204, description = "It is released")))]
pub async fn release_all(
    State(office): State<Office>,
    Signed(actor): Signed,
) -> Result<StatusCode, Problem> {
    release(&office, &actor, &Range::Server).await
}

/// Hold every update of an org
#[utoipa::path(put, path = "/orgs/{org}/hold", extensions(("x-needs" = json!("admin"))), request_body = Why,
    params(("org" = String, Path, description = "The org")),
    responses((status = 204, description = "None of its devices is given anything, also after a restart")))]
pub async fn hold_org(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path(org): Path<Word<Org>>,
    Json(why): Json<Why>,
) -> Result<StatusCode, Problem> {
    hold(&office, &actor, &Range::Org(org.0), &why).await
}

/// Take the hold of an org back; those of its slots and of the server stay
#[utoipa::path(delete, path = "/orgs/{org}/hold", extensions(("x-needs" = json!("admin"))),
    params(("org" = String, Path, description = "The org")),
    responses((status = 204, description = "It is released")))]
pub async fn release_org(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path(org): Path<Word<Org>>,
) -> Result<StatusCode, Problem> {
    release(&office, &actor, &Range::Org(org.0)).await
}

/// Hold the updates of a slot and of all below its folder
#[utoipa::path(put, path = "/orgs/{org}/slots/{slot}/hold", extensions(("x-needs" = json!("publisher"))),
    params(("org" = String, Path, description = "The org"),
        ("slot" = String, Path, description = "The folders below the org, with `:` between them")),
    request_body = Why,
    responses((status = 204, description = "No device that looks there is given anything, also after a restart")))]
pub async fn hold_slot(
    State(office): State<Office>,
    Signed(actor): Signed,
    At(slot): At,
    Json(why): Json<Why>,
) -> Result<StatusCode, Problem> {
    hold(&office, &actor, &Range::Slot(slot), &why).await
}

/// Take the hold of a slot back; those above it stay
#[utoipa::path(delete, path = "/orgs/{org}/slots/{slot}/hold", extensions(("x-needs" = json!("publisher"))),
    params(("org" = String, Path, description = "The org"),
        ("slot" = String, Path, description = "The folders below the org, with `:` between them")),
    responses((status = 204, description = "It is released")))]
pub async fn release_slot(
    State(office): State<Office>,
    Signed(actor): Signed,
    At(slot): At,
) -> Result<StatusCode, Problem> {
    release(&office, &actor, &Range::Slot(slot)).await
}
