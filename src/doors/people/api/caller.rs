//! Who calls, and for whom a credential stands.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};

use super::problem::Problem;
use crate::http::{Client, Scheme};
use crate::office::{Actor, Office, OfficeError, Secret};

/// The name of the session's cookie: browsers take it over HTTPS only, for this host only.
pub const SESSION: &str = "__Host-otatree";

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub enum Caller {
    /// The local operator, who has the control socket or the locked database in hand.
    Console,
    /// Somebody on the network.
    Client(Client, Scheme),
}

impl Caller {
    /// The client's address, as far as it is known.
    pub const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Client(Client::At(address), _) => Some(address),
            Self::Console | Self::Client(Client::Unknown, _) => None,
        }
    }
}

/// Somebody whose credential is good.
pub struct Signed(pub Actor);

impl FromRequestParts<Office> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, office: &Office) -> Result<Self, Problem> {
        let caller = caller(parts)?;
        Ok(Self(actor(office, caller, &parts.headers)?))
    }
}

/// The same, or somebody who sends their password with each request (HTTP Basic); a token does as the password.
pub struct Known(pub Actor);

impl FromRequestParts<Office> for Known {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, office: &Office) -> Result<Self, Response> {
        let known = async {
            let caller = caller(parts)?;
            match basic(&parts.headers) {
                None => Ok(actor(office, caller, &parts.headers)?),
                Some((_, token)) if token.starts_with("otatree_") => {
                    Ok(office.token(&token, caller.address())?)
                }
                Some((user, password)) => {
                    let user = user.parse().map_err(|_| OfficeError::NotSignedIn)?;
                    let password = Secret::new(password);
                    Ok(office.password(&user, &password, caller.address()).await?)
                }
            }
        };
        known.await.map(Self).map_err(|problem: Problem| {
            let mut response = problem.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                let how = HeaderValue::from_static("Basic realm=\"otatree\", charset=\"UTF-8\"");
                response.headers_mut().append(WWW_AUTHENTICATE, how);
            }
            response
        })
    }
}

/// User and password of HTTP Basic.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let bytes = STANDARD.decode(encoded.trim_ascii()).ok();
    let pair = String::from_utf8(bytes.filter(|_| scheme.eq_ignore_ascii_case("basic"))?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Where it came from, without a look at any credential.
pub struct From(pub Caller);

impl FromRequestParts<Office> for From {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Office) -> Result<Self, Problem> {
        caller(parts).map(Self)
    }
}

/// The secret of the session's cookie, if there is one.
pub struct Cookie(pub Option<Secret>);

impl FromRequestParts<Office> for Cookie {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &Office,
    ) -> Result<Self, std::convert::Infallible> {
        Ok(Self(cookie(&parts.headers)))
    }
}

fn caller(parts: &Parts) -> Result<Caller, Problem> {
    let caller = parts.extensions.get::<Caller>().copied();
    caller.ok_or_else(|| OfficeError::NotSignedIn.into())
}

/// A token counts before a cookie, so that a program of a browser's user is who it says.
fn actor(office: &Office, caller: Caller, headers: &HeaderMap) -> Result<Actor, OfficeError> {
    if let Caller::Console = caller {
        return office.console();
    }
    if let Some(shown) = headers.get(AUTHORIZATION) {
        let token = shown.to_str().ok().and_then(bearer);
        let token = token.ok_or(OfficeError::NotSignedIn)?;
        return office.token(token, caller.address());
    }
    let secret = cookie(headers).ok_or(OfficeError::NotSignedIn)?;
    office.session(&secret, caller.address())
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_ascii())
}

fn cookie(headers: &HeaderMap) -> Option<Secret> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim_ascii().split_once('='))
        .find(|(name, _)| *name == SESSION)
        .map(|(_, value)| Secret::new(value.to_owned()))
}
