//! The routes, and their description: what is not described cannot be called.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::IntoResponse;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
    SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::SESSION;
use super::problem::Problem;
use super::{devices, history, holds, orgs, session, slots, tokens, upload, users};
use crate::office::Office;

fn described() -> OpenApiRouter<Office> {
    OpenApiRouter::with_openapi(head())
        .routes(routes!(session::get, session::post, session::delete))
        .routes(routes!(session::first_owner))
        .routes(routes!(orgs::list, orgs::add))
        .routes(routes!(devices::rules, devices::require))
        .routes(routes!(devices::add, devices::forget))
        .routes(routes!(users::give, users::take))
        .routes(routes!(users::list, users::add))
        .routes(routes!(users::remove))
        .routes(routes!(users::password))
        .routes(routes!(users::owner))
        .routes(routes!(tokens::list, tokens::add))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::undo))
        .routes(routes!(history::list))
        .routes(routes!(slots::list))
        .routes(routes!(slots::get, slots::delete))
        .routes(routes!(slots::versions))
        .routes(routes!(slots::rollback))
        .routes(routes!(slots::promote))
        .routes(routes!(slots::describe))
        .routes(routes!(holds::hold_all, holds::release_all))
        .routes(routes!(holds::hold_org, holds::release_org))
        .routes(routes!(holds::hold_slot, holds::release_slot))
        .merge(large())
}

/// What takes images: the office knows how large one may be.
fn large() -> OpenApiRouter<Office> {
    OpenApiRouter::new()
        .routes(routes!(upload::put, upload::post))
        .routes(routes!(upload::inspect))
        .layer(DefaultBodyLimit::disable())
}

fn head() -> OpenApi {
    let token = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("otatree_…")
        .build();
    let cookie = ApiKey::Cookie(ApiKeyValue::new(SESSION));
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("otatree")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "What people and their programs do with an otatree server.",
                ))
                .build(),
        )
        .components(Some(
            ComponentsBuilder::new()
                .schema(Problem::name(), Problem::schema())
                .security_scheme("token", SecurityScheme::Http(token))
                .security_scheme("session", SecurityScheme::ApiKey(cookie))
                .build(),
        ))
        .security(Some(
            ["token", "session"].map(|name| SecurityRequirement::new(name, Vec::<String>::new())),
        ))
        .build()
}

/// Every call has a name of its own, and may end in a problem.
fn finish(operation: &mut Operation, name: String) {
    operation.operation_id = Some(name);
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .build();
    let response = ResponseBuilder::new()
        .description("Why it was not done")
        .content("application/problem+json", content)
        .build();
    operation
        .responses
        .responses
        .insert("default".to_owned(), response.into());
}

/// Such as `put_orgs_org_devices`.
fn name(method: &str, path: &str) -> String {
    let below = path.strip_prefix(super::ROOT).unwrap_or(path);
    below
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .fold(method.to_owned(), |name, word| format!("{name}_{word}"))
}

/// All routes over an office.
pub fn routes(office: Office) -> Router {
    let (below, mut document) = OpenApiRouter::new()
        .nest(super::ROOT, described())
        .split_for_parts();
    for (path, item) in &mut document.paths.paths {
        let operations = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                finish(operation, name(method, path));
            }
        }
    }
    // Made once; nothing in it can fail.
    let text = bytes::Bytes::from(document.to_json().unwrap_or_default());
    let serve = move || {
        let text = text.clone();
        async move {
            let json = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, json)], text).into_response()
        }
    };
    below
        .route(
            &format!("{}/openapi.json", super::ROOT),
            axum::routing::get(serve),
        )
        .with_state(office)
}
