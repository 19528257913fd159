//! Errors as RFC 9457 has them.

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use utoipa::ToSchema;

use crate::office::{Meaning, OfficeError};

/// The content type of a problem.
pub const TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What is said of an error; more of it would help nobody.
const LONGEST_TEXT: usize = 4096;

/// Why something was not done (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `/problems/` and a word for programs, the same for ever.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The number of the answer.
    status: u16,
    /// What is wrong, and the cure.
    detail: String,
    /// Seconds until it may work.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<i64>,
    /// The byte at which an image breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

impl Problem {
    pub fn new(status: StatusCode, slug: &str, detail: String) -> Self {
        Self {
            kind: format!("/problems/{slug}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail,
            retry_after: None,
            offset: None,
        }
    }

    /// What was sent cannot be meant.
    pub fn invalid(detail: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail.to_string())
    }

    /// From an error that is a short text. Its headers stay (`Allow`).
    pub async fn from_text(response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        let text = to_bytes(body, LONGEST_TEXT).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let (slug, usual) = of_status(parts.status);
        let detail = if text.is_empty() { usual } else { &*text };
        let problem = Self::new(parts.status, slug, detail.to_owned());
        parts.headers.insert(CONTENT_TYPE, TYPE);
        parts.headers.remove(CONTENT_LENGTH);
        Response::from_parts(parts, Body::from(problem.json()))
    }

    fn json(&self) -> Vec<u8> {
        // Texts and numbers: nothing in it can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

fn of_status(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::NOT_FOUND => ("not-found", "no such path; see /api/v1/admin/openapi.json"),
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "see the header Allow"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("media-type", "send Content-Type: application/json"),
        StatusCode::FORBIDDEN => ("cross-site", "this came from a page of another site"),
        status if status.is_client_error() => ("invalid", "this cannot be meant"),
        _ => ("failed", "a fault of the server; look into its log"),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or_default();
        let mut response = Response::new(Body::from(self.json()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, TYPE);
        if status == StatusCode::UNAUTHORIZED {
            let how = HeaderValue::from_static("Bearer realm=\"otatree\"");
            headers.insert(WWW_AUTHENTICATE, how);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<OfficeError> for Problem {
    fn from(error: OfficeError) -> Self {
        let mut retry_after = None;
        let status = match error.meaning() {
            Meaning::NotSignedIn => StatusCode::UNAUTHORIZED,
            Meaning::Denied => StatusCode::FORBIDDEN,
            Meaning::NotFound => StatusCode::NOT_FOUND,
            Meaning::Conflict => StatusCode::CONFLICT,
            Meaning::Changed => StatusCode::PRECONDITION_FAILED,
            Meaning::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Meaning::Invalid => StatusCode::BAD_REQUEST,
            Meaning::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Meaning::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Meaning::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Meaning::SlowDown(seconds) => {
                retry_after = Some(seconds);
                StatusCode::TOO_MANY_REQUESTS
            }
        };
        if status.is_server_error() {
            tracing::error!(%error, "a call of the API failed");
        }
        Self {
            retry_after,
            offset: error.offset(),
            ..Self::new(status, error.slug(), error.to_string())
        }
    }
}
