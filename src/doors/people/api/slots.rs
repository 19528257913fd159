//! Slots: what is in them, and what is done to them without sending an image.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use hyper::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::caller::Signed;
use super::extract::Word;
use super::images::{Done, Gone, Kept, Slot};
use super::place::{At, Condition, Kind, Which, with_etag};
use super::problem::Problem;
use crate::firmware::{self, Org, Sha256};
use crate::office::{Back, Notes, Office, Promotion};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct To {
    /// The id of a kept image; the newest one that is not in the slot now, where it is left out.
    #[schema(value_type = Option<String>)]
    id: Option<Word<Sha256>>,
    #[serde(default)]
    kind: Kind,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Into {
    /// The slot that gets the image, such as `lotus:sht30_d1_mini`, in the same org.
    to: String,
    #[serde(default)]
    kind: Kind,
    /// The id of the image that is meant; whatever the slot offers, where it is left out.
    #[schema(value_type = Option<String>)]
    image: Option<Word<Sha256>>,
    /// Also over an image for another chip family.
    #[serde(default)]
    force_family: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Said {
    #[serde(default)]
    kind: Kind,
    #[schema(max_length = 200)]
    title: Option<String>,
    #[schema(max_length = 200)]
    version: Option<String>,
    #[schema(max_length = 4096)]
    description: Option<String>,
}

/// Texts for `<image>.toml`, of a length that people read.
pub fn notes(
    title: Option<String>,
    version: Option<String>,
    description: Option<String>,
) -> Result<Notes, Problem> {
    let text = |name: &str, text: Option<String>, most: usize| match text {
        Some(text) if text.len() > most => {
            let why = format!("{name}: {} bytes, and {most} are allowed", text.len());
            Err(Problem::invalid(why))
        }
        text => Ok(text.map(String::into_boxed_str)),
    };
    Ok(Notes {
        title: text("title", title, 200)?,
        version: text("version", version, 200)?,
        description: text("description", description, 4096)?,
    })
}

/// The slots of an org that hold an image file
#[utoipa::path(get, path = "/orgs/{org}/slots", extensions(("x-needs" = json!("viewer"))),
    params(("org" = String, Path, description = "The org")),
    responses((status = 200, description = "By name", body = [Slot])))]
pub async fn list(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path(org): Path<Word<Org>>,
) -> Result<Json<Vec<Slot>>, Problem> {
    let slots = office.slots(&actor, &org.0).await?;
    Ok(Json(slots.iter().map(Slot::from).collect()))
}

/// What is in a slot
#[utoipa::path(get, path = "/orgs/{org}/slots/{slot}", extensions(("x-needs" = json!("viewer"))),
    params(("org" = String, Path, description = "The org"),
        ("slot" = String, Path, description = "The folders below the org, with `:` between them; `+` is any project")),
    responses((status = 200, description = "Its ETag is for If-Match", body = Slot)))]
pub async fn get(
    State(office): State<Office>,
    Signed(actor): Signed,
    At(slot): At,
) -> Result<Response, Problem> {
    let view = office.slot(&actor, &slot)?;
    Ok(with_etag(view.revision, Json(Slot::from(&view))))
}

/// Remove the images of a kind from a slot; a copy of each is kept
#[utoipa::path(delete, path = "/orgs/{org}/slots/{slot}", extensions(("x-needs" = json!("publisher"))),
    params(("org" = String, Path, description = "The org"),
        ("slot" = String, Path, description = "The folders below the org, with `:` between them"),
        ("kind" = Option<Kind>, Query, description = "`firmware`, where it is left out"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the slot must have")),
    responses((status = 200, description = "What is gone", body = Gone)))]
pub async fn delete(
    State(office): State<Office>,
    Signed(actor): Signed,
    At(slot): At,
    Query(which): Query<Which>,
    Condition(expect): Condition,
) -> Result<Json<Gone>, Problem> {
    let kind = which.kind.into();
    let gone = office.delete(&actor, &slot, kind, expect).await?;
    Ok(Json(gone.into()))
}

/// The kept images of a slot
#[utoipa::path(get, path = "/orgs/{org}/slots/{slot}/versions", extensions(("x-needs" = json!("viewer"))),
    params(("org" = String, Path, description = "The org"),
        ("slot" = String, Path, description = "The folders below the org, with `:` between them")),
    responses((status = 200, description = "The newest first", body = [Kept])))]
pub async fn versions(
    State(office): State<Office>,
    Signed(actor): Signed,
    At(slot): At,
) -> Result<Json<Vec<Kept>>, Problem> {
    let versions = office.versions(&actor, &slot).await?;
    Ok(Json(versions.into_iter().map(Kept::from).collect()))
}

/// Put a kept image back
#[utoipa::path(post, path = "/orgs/{org}/slots/{slot}/rollback", extensions(("x-needs" = json!("publisher"))),
    params(("org" = String, Path, description = "The org"),
        ("slot" = String, Path, description = "The folders below the org, with `:` between them"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the slot must have")),
    request_body = To, responses((status = 200, description = "It is offered", body = Done)))]
pub async fn rollback(
    State(office): State<Office>,
    Signed(actor): Signed,
    At(slot): At,
    Condition(expect): Condition,
    Json(to): Json<To>,
) -> Result<Response, Problem> {
    let back = to.id.map_or(Back::Previous, |id| Back::To(id.0));
    let done = office
        .rollback(&actor, &slot, to.kind.into(), back, expect)
        .await?;
    Ok(with_etag(done.revision, Json(Done::from(done))))
}

/// Move the image of a slot to another one of the org; conditions are about the slot that gets it
#[utoipa::path(post, path = "/orgs/{org}/slots/{slot}/promote", extensions(("x-needs" = json!("publisher"))),
    params(("org" = String, Path, description = "The org"),
        ("slot" = String, Path, description = "The slot that has it"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the slot that gets it must have"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the slot that gets it must be empty")),
    request_body = Into, responses((status = 200, description = "It is offered there, and gone here", body = Done)))]
pub async fn promote(
    State(office): State<Office>,
    Signed(actor): Signed,
    At(slot): At,
    Condition(expect): Condition,
    Json(into): Json<Into>,
) -> Result<Response, Problem> {
    let to = firmware::Slot::below(slot.org().as_str(), &into.to).map_err(Problem::invalid)?;
    let promotion = Promotion {
        image: into.image.map(|id| id.0),
        force_family: into.force_family,
        expect,
    };
    let done = office
        .promote(&actor, (&slot, &to), into.kind.into(), promotion)
        .await?;
    Ok(with_etag(done.revision, Json(Done::from(done))))
}

/// Say title, version and description of the image of a slot; what is left out is said no more
#[utoipa::path(put, path = "/orgs/{org}/slots/{slot}/notes", extensions(("x-needs" = json!("publisher"))),
    params(("org" = String, Path, description = "The org"),
        ("slot" = String, Path, description = "The folders below the org, with `:` between them"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the slot must have")),
    request_body = Said, responses((status = 204, description = "It is in `<image>.toml`; the slot's ETag is new")))]
pub async fn describe(
    State(office): State<Office>,
    Signed(actor): Signed,
    At(slot): At,
    Condition(expect): Condition,
    Json(said): Json<Said>,
) -> Result<Response, Problem> {
    let notes = notes(said.title, said.version, said.description)?;
    let revision = office
        .describe(&actor, &slot, said.kind.into(), notes, expect)
        .await?;
    Ok(with_etag(revision, StatusCode::NO_CONTENT))
}
