//! Orgs.

use axum::Json;
use axum::extract::State;
use hyper::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::caller::Signed;
use super::extract::Word;
use super::problem::Problem;
use super::shape;
use crate::firmware::Org;
use crate::office::Office;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrg {
    #[schema(value_type = String)]
    name: Word<Org>,
}

/// The orgs that you see
#[utoipa::path(get, path = "/orgs", extensions(("x-needs" = json!("person"))),
    responses((status = 200, description = "By name", body = [shape::Org])))]
pub async fn list(
    State(office): State<Office>,
    Signed(actor): Signed,
) -> Result<Json<Vec<shape::Org>>, Problem> {
    let orgs = office.orgs(&actor).await?;
    Ok(Json(orgs.into_iter().map(shape::Org::from).collect()))
}

/// Make an org: a folder of the tree
#[utoipa::path(post, path = "/orgs", extensions(("x-needs" = json!("owner"))), request_body = NewOrg,
    responses((status = 204, description = "It is there")))]
pub async fn add(
    State(office): State<Office>,
    Signed(actor): Signed,
    Json(new): Json<NewOrg>,
) -> Result<StatusCode, Problem> {
    office.add_org(&actor, &new.name.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
