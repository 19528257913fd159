//! Signing in with a browser, and out; the first owner.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{HeaderValue, SET_COOKIE};
use serde::Deserialize;
use utoipa::ToSchema;

use super::caller::{Cookie, From, SESSION, Signed};
use super::extract::{Hidden, Word};
use super::problem::Problem;
use super::shape::Me;
use crate::office::{Office, OfficeError, Secret, UserName};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    #[schema(value_type = String)]
    user: Word<UserName>,
    #[schema(value_type = String, format = Password)]
    password: Hidden,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirstOwner {
    /// What the server wrote into `first-owner` in its state folder.
    #[schema(value_type = String, format = Password)]
    link: Hidden,
    #[schema(value_type = String)]
    user: Word<UserName>,
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    password: Hidden,
}

/// A week at most; the server ends it earlier.
fn set_cookie(secret: &Secret, seconds: u32) -> Result<HeaderValue, Problem> {
    let text = format!(
        "{SESSION}={}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax",
        secret.reveal()
    );
    HeaderValue::from_str(&text).map_err(Problem::invalid)
}

/// Who you are
#[utoipa::path(get, path = "/session", extensions(("x-needs" = json!("person"))),
    responses((status = 200, description = "You", body = Me)))]
pub async fn get(Signed(actor): Signed) -> Json<Me> {
    Json((&actor).into())
}

/// Sign in with a password, and get a cookie
#[utoipa::path(post, path = "/session", security(()), request_body = Login,
    responses((status = 200, description = "You; the cookie of the session is in Set-Cookie", body = Me)))]
pub async fn post(
    State(office): State<Office>,
    From(caller): From,
    Json(login): Json<Login>,
) -> Result<Response, Problem> {
    let address = caller.address();
    let secret = office
        .log_in(&login.user.0, &login.password.0, address)
        .await?;
    let actor = office.session(&secret, address)?;
    let cookie = set_cookie(&secret, 7 * 24 * 3600)?;
    Ok(([(SET_COOKIE, cookie)], Json(Me::from(&actor))).into_response())
}

/// Sign out
#[utoipa::path(delete, path = "/session", extensions(("x-needs" = json!("person"))),
    responses((status = 204, description = "The session is over")))]
pub async fn delete(
    State(office): State<Office>,
    Signed(actor): Signed,
    Cookie(shown): Cookie,
) -> Result<Response, Problem> {
    let shown = shown.ok_or(OfficeError::NoSession)?;
    office.log_out(&actor, &shown).await?;
    let gone = set_cookie(&Secret::new(String::new()), 0)?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, gone)]).into_response())
}

/// Become the first owner of the server by the link that its first start wrote
#[utoipa::path(post, path = "/first-owner", security(()), request_body = FirstOwner,
    responses((status = 204, description = "The owner is there, and may sign in; the link is dead")))]
pub async fn first_owner(
    State(office): State<Office>,
    From(caller): From,
    Json(new): Json<FirstOwner>,
) -> Result<StatusCode, Problem> {
    office
        .first_owner(&new.link.0, &new.user.0, &new.password.0, caller.address())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
