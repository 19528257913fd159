//! Tokens for programs.

use axum::Json;
use axum::extract::{Path, State};
use hyper::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Signed;
use super::extract::Word;
use super::images::Back;
use super::problem::Problem;
use super::shape::Token;
use crate::firmware::{Org, Project};
use crate::office::{NewToken, Office, Role, TokenId};

/// The longest name of a token, in bytes.
const LONGEST_NAME: usize = 200;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// A name for people, such as `ci of lotus`.
    #[schema(max_length = 200)]
    name: String,
    #[schema(value_type = String)]
    org: Word<Org>,
    /// For this project of the org only.
    #[schema(value_type = Option<String>)]
    project: Option<Word<Project>>,
    /// `viewer`, `publisher` or `admin`.
    #[schema(value_type = String, pattern = "^(viewer|publisher|admin)$")]
    role: Word<Role>,
    /// A time (RFC 3339), or `never`; a year from now, where it is left out.
    expires: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct MadeToken {
    id: String,
    /// The token itself: this is the only time that it is shown.
    token: String,
}

fn end(text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    match text {
        None => Ok(Some(Office::usual_expiry())),
        Some("never") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|error| {
            Problem::invalid(format!(
                "expires: no time such as 2030-01-31T12:00:00Z, nor never: {error}"
            ))
        }),
    }
}

/// The tokens that you made, and those of the orgs that you are admin of
#[utoipa::path(get, path = "/tokens", extensions(("x-needs" = json!("person"))),
    responses((status = 200, description = "By time; never with their secrets", body = [Token])))]
pub async fn list(
    State(office): State<Office>,
    Signed(actor): Signed,
) -> Result<Json<Vec<Token>>, Problem> {
    let tokens = office.tokens(&actor)?;
    Ok(Json(tokens.into_iter().map(Token::from).collect()))
}

/// Make a token
#[utoipa::path(post, path = "/tokens", extensions(("x-needs" = json!("owner"))), request_body = Wanted,
    responses((status = 200, description = "The token, shown this once", body = MadeToken)))]
pub async fn add(
    State(office): State<Office>,
    Signed(actor): Signed,
    Json(wanted): Json<Wanted>,
) -> Result<Json<MadeToken>, Problem> {
    if wanted.name.len() > LONGEST_NAME {
        let why = format!("a token's name has at most {LONGEST_NAME} bytes");
        return Err(Problem::invalid(why));
    }
    let new = NewToken {
        name: wanted.name,
        org: wanted.org.0,
        project: wanted.project.map(|project| project.0),
        role: wanted.role.0,
        expires: end(wanted.expires.as_deref())?,
    };
    let (id, secret) = office.add_token(&actor, new).await?;
    Ok(Json(MadeToken {
        id: id.to_string(),
        token: secret.reveal().to_owned(),
    }))
}

/// End a token at once
#[utoipa::path(delete, path = "/tokens/{id}", extensions(("x-needs" = json!("owner"))),
    params(("id" = String, Path, description = "16 hex digits")),
    responses((status = 204, description = "It is refused from now on")))]
pub async fn revoke(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path(id): Path<Word<TokenId>>,
) -> Result<StatusCode, Problem> {
    office.revoke_token(&actor, &id.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// What was done from then on is taken back (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

/// End a token at once, and take back what it published, promoted, rolled back and deleted since a time
#[utoipa::path(post, path = "/tokens/{id}/undo", extensions(("x-needs" = json!("owner"))),
    params(("id" = String, Path, description = "16 hex digits")), request_body = Undo,
    responses((status = 200, description = "What became of each slot", body = [Back])))]
pub async fn undo(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path(id): Path<Word<TokenId>>,
    Json(undo): Json<Undo>,
) -> Result<Json<Vec<Back>>, Problem> {
    let undone = office.revoke_and_undo(&actor, &id.0, undo.since).await?;
    Ok(Json(undone.into_iter().map(Back::from).collect()))
}
