//! Which slot is meant, which of its images, and what it must hold.

use axum::extract::{FromRequestParts, Path};
use axum::response::{IntoResponse, Response};
use hyper::HeaderMap;
use hyper::header::{ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use hyper::http::request::Parts;
use serde::Deserialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::firmware::{ImageKind, Sha256, Slot};
use crate::office::{Expect, Office};

/// The slot of `/orgs/{org}/slots/{slot}`.
pub struct At(pub Slot);

impl FromRequestParts<Office> for At {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, office: &Office) -> Result<Self, Response> {
        let Path((org, slot)) = Path::<(String, String)>::from_request_parts(parts, office)
            .await
            .map_err(IntoResponse::into_response)?;
        let slot = Slot::below(&org, &slot);
        slot.map(Self)
            .map_err(|error| Problem::invalid(error).into_response())
    }
}

/// Which of the two images of a slot.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The app.
    #[default]
    Firmware,
    /// Data of the app.
    Filesystem,
}

impl From<Kind> for ImageKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Firmware => Self::Firmware,
            Kind::Filesystem => Self::Filesystem,
        }
    }
}

/// `?kind=…`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    #[serde(default)]
    pub kind: Kind,
}

/// What `If-Match` or `If-None-Match` ask of the slot.
pub struct Condition(pub Expect);

impl FromRequestParts<Office> for Condition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Office) -> Result<Self, Problem> {
        expect(&parts.headers).map(Self)
    }
}

fn expect(headers: &HeaderMap) -> Result<Expect, Problem> {
    let one = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().map(HeaderValue::as_bytes);
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Problem::invalid(format!("one {name}, with one ETag"))),
        }
    };
    match (one(&IF_MATCH)?, one(&IF_NONE_MATCH)?) {
        (None, None) => Ok(Expect::Any),
        (None, Some(b"*")) => Ok(Expect::Absent),
        (Some(tag), None) => revision(tag).map(Expect::Revision).ok_or_else(|| {
            Problem::invalid("If-Match: one ETag, as GET of the slot gave it, in quotes")
        }),
        _ => Err(Problem::invalid(
            "either If-Match with an ETag, or If-None-Match: *",
        )),
    }
}

fn revision(tag: &[u8]) -> Option<Sha256> {
    let tag = std::str::from_utf8(tag).ok()?;
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// Adds the `ETag` of a slot to an answer.
pub fn with_etag(revision: Option<Sha256>, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    let tag = revision.and_then(|sum| HeaderValue::from_str(&format!("\"{sum}\"")).ok());
    if let Some(tag) = tag {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}
