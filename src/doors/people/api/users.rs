//! Users, and their roles in orgs.

use axum::Json;
use axum::extract::{Path, Query, State};
use hyper::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::caller::Signed;
use super::extract::{Hidden, Word};
use super::problem::Problem;
use super::shape::User;
use crate::firmware::Org;
use crate::office::{Office, Role, UserName};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Of {
    org: Option<Word<Org>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    #[schema(value_type = String)]
    name: Word<UserName>,
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    password: Hidden,
    /// They own the server.
    #[serde(default)]
    owner: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    password: Hidden,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ownership {
    owner: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// `viewer`, `publisher` or `admin`.
    #[schema(value_type = String, pattern = "^(viewer|publisher|admin)$")]
    role: Word<Role>,
}

/// All users, for an owner; the users of an org, for its admin
#[utoipa::path(get, path = "/users", extensions(("x-needs" = json!("owner"))),
    params(("org" = Option<String>, Query, description = "Only those with a role in this org")),
    responses((status = 200, description = "By name", body = [User])))]
pub async fn list(
    State(office): State<Office>,
    Signed(actor): Signed,
    Query(of): Query<Of>,
) -> Result<Json<Vec<User>>, Problem> {
    let org = of.org.map(|org| org.0);
    let users = office.users(&actor, org.as_ref())?;
    Ok(Json(users.into_iter().map(User::from).collect()))
}

/// Add a user
#[utoipa::path(post, path = "/users", extensions(("x-needs" = json!("owner"))), request_body = NewUser,
    responses((status = 204, description = "They may sign in")))]
pub async fn add(
    State(office): State<Office>,
    Signed(actor): Signed,
    Json(new): Json<NewUser>,
) -> Result<StatusCode, Problem> {
    office
        .add_user(&actor, &new.name.0, &new.password.0, new.owner)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove a user, with their sessions and tokens
#[utoipa::path(delete, path = "/users/{user}", extensions(("x-needs" = json!("owner"))),
    params(("user" = String, Path, description = "Their name")),
    responses((status = 204, description = "They are gone")))]
pub async fn remove(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path(user): Path<Word<UserName>>,
) -> Result<StatusCode, Problem> {
    office.remove_user(&actor, &user.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Set a password: your own, or anybody's as an owner; all sessions of the user end
#[utoipa::path(put, path = "/users/{user}/password", extensions(("x-needs" = json!("owner"))),
    params(("user" = String, Path, description = "Their name")), request_body = NewPassword,
    responses((status = 204, description = "It counts from now on")))]
pub async fn password(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path(user): Path<Word<UserName>>,
    Json(new): Json<NewPassword>,
) -> Result<StatusCode, Problem> {
    office
        .set_password(&actor, &user.0, &new.password.0)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a user an owner of the server, or no longer one
#[utoipa::path(put, path = "/users/{user}/owner", extensions(("x-needs" = json!("owner"))),
    params(("user" = String, Path, description = "Their name")), request_body = Ownership,
    responses((status = 204, description = "It counts from now on")))]
pub async fn owner(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path(user): Path<Word<UserName>>,
    Json(new): Json<Ownership>,
) -> Result<StatusCode, Problem> {
    office.set_owner(&actor, &user.0, new.owner).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a user a role in an org
#[utoipa::path(put, path = "/orgs/{org}/roles/{user}", extensions(("x-needs" = json!("admin"))),
    params(("org" = String, Path, description = "The org"), ("user" = String, Path, description = "Their name")),
    request_body = Given, responses((status = 204, description = "It counts from now on")))]
pub async fn give(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path((org, user)): Path<(Word<Org>, Word<UserName>)>,
    Json(given): Json<Given>,
) -> Result<StatusCode, Problem> {
    office
        .set_role(&actor, &user.0, &org.0, Some(given.role.0))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a user's role in an org
#[utoipa::path(delete, path = "/orgs/{org}/roles/{user}", extensions(("x-needs" = json!("admin"))),
    params(("org" = String, Path, description = "The org"), ("user" = String, Path, description = "Their name")),
    responses((status = 204, description = "They have none there")))]
pub async fn take(
    State(office): State<Office>,
    Signed(actor): Signed,
    Path((org, user)): Path<(Word<Org>, Word<UserName>)>,
) -> Result<StatusCode, Problem> {
    office.set_role(&actor, &user.0, &org.0, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
