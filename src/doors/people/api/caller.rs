//! Who calls, and for whom a credential stands.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE};
use hyper::http::request::Parts;

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
