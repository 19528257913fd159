//! Around all routes: only where nobody can listen in, never for the page of another site, and no answer is stored.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, FORWARDED, HOST, HeaderValue, VIA};
use hyper::{HeaderMap, StatusCode};
use tower_http::csrf::CsrfLayer;

use super::problem::{self, Problem};
use super::{Caller, LARGEST_JSON};
use crate::http::Scheme;

/// The layers; what is written last is asked first.
pub fn around(routes: Router, https: Option<u16>) -> Router {
    routes
        .layer(DefaultBodyLimit::max(LARGEST_JSON))
        .layer(CsrfLayer::new())
        .layer(middleware::from_fn_with_state(https, private))
        .layer(middleware::map_response(plain))
}

/// Before a byte of the body is read: on the way nobody can have read the credential.
async fn private(State(https): State<Option<u16>>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    if caller.is_some_and(|caller| is_private(*caller, request.headers())) {
        return next.run(request).await;
    }
    Problem::new(
        StatusCode::FORBIDDEN,
        "not-private",
        format!(
            "passwords and tokens are taken over HTTPS only; use {}",
            address(request.headers(), https)
        ),
    )
    .into_response()
}

fn is_private(caller: Caller, headers: &HeaderMap) -> bool {
    match caller {
        Caller::Console | Caller::Client(_, Scheme::Https) => true,
        Caller::Client(client, Scheme::Http) => {
            // A proxy on this machine that nobody has named in `trusted_proxies` shows itself so.
            let relayed = headers.keys().any(|name| {
                *name == FORWARDED
                    || *name == VIA
                    || name.as_str() == "x-real-ip"
                    || name.as_str().starts_with("x-forwarded")
            });
            client.is_this_machine() && !relayed
        }
        Caller::Client(_, Scheme::Unknown) => false,
    }
}

/// The address that is to be used instead, as far as it is known.
fn address(headers: &HeaderMap, https: Option<u16>) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<hyper::http::uri::Authority>().ok());
    let host = host.as_ref().map_or("this server", |host| host.host());
    match https {
        Some(443) => format!("https://{host}{}/", super::ROOT),
        Some(port) if port != 0 => format!("https://{host}:{port}{}/", super::ROOT),
        _ => format!("https://{host}{}/, on its HTTPS port", super::ROOT),
    }
}

/// Errors of the router and its extractors become problems as all others; nothing of an answer is stored.
async fn plain(response: Response) -> Response {
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let is_problem = response.headers().get(CONTENT_TYPE) == Some(&problem::TYPE);
    let mut response = if failed && !is_problem {
        Problem::from_text(response).await
    } else {
        response
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
