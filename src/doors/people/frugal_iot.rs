//! What the admin page of Frugal-IoT sends: `POST /ota_update` with a form, `GET /ota_list/{org}`, and deletion, which is
//! never a GET. The office does it, with our credentials: a session, a token, or HTTP Basic.

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, http::Method};
use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderValue};

use super::api::Api;
use super::api::caller::Known;
use super::api::images::Done;
use super::api::problem::Problem;
use super::api::upload::{Part, Parts, receive};
use crate::firmware::{ANY_PROJECT, ImageKind, Org, OtaKey, Project, Slot};
use crate::http::{self, Answer, HttpDoor};
use crate::office::{Actor, Announced, Expect, Office, Rules};

/// The door.
pub struct Door {
    api: Api,
    upload: String,
}

impl Door {
    /// Over the office of the API; `prefix` is the first word of the paths of devices.
    #[must_use]
    pub fn new(api: &Api, prefix: &str) -> Self {
        let upload = format!("/{prefix}");
        let routes = Router::new()
            .route(&upload, post(publish))
            .layer(DefaultBodyLimit::disable())
            .route("/ota_list/{org}", get(list))
            .route(
                "/ota_delete/{org}/{*path}",
                post(remove).delete(remove).get(never),
            );
        Self {
            api: api.beside(routes),
            upload,
        }
    }

    fn is_mine(&self, request: &http::Request) -> bool {
        let path = request.path();
        // A GET there is a device's, with words below it.
        let uploads = request.method() == Method::POST && path.trim_end_matches('/') == self.upload;
        uploads || path.starts_with("/ota_list/") || path.starts_with("/ota_delete/")
    }
}

impl HttpDoor for Door {
    fn answer(&self, request: &http::Request) -> Answer {
        if self.is_mine(request) {
            self.api.answer(request)
        } else {
            Answer::NotMine
        }
    }
}

/// The fields of the form that say where the image goes.
#[derive(Default)]
struct Fields {
    organization: Option<String>,
    project: String,
    otakey: Option<String>,
}

impl Fields {
    fn set(&mut self, name: &str, text: String) -> Result<(), Problem> {
        match name {
            "organization" => self.organization = Some(text),
            "project" => self.project = text,
            "otakey" => self.otakey = Some(text),
            // Where a browser goes afterwards, and in which language: nothing that a server should obey.
            "url" | "lang" => {}
            _ => {
                let why = format!(
                    "the form has a field {name:?}; organization, project (empty: any), otakey and file are known"
                );
                return Err(Problem::invalid(why));
            }
        }
        Ok(())
    }

    fn slot(&self) -> Result<Slot, Problem> {
        let missing = |name: &str| {
            Problem::invalid(format!(
                "the form has no {name} before its file: the file must be the last field"
            ))
        };
        let org = self.organization.as_deref();
        let org: Org = word("organization", org.ok_or_else(|| missing("organization"))?)?;
        let key = self.otakey.as_deref();
        let key: OtaKey = word("otakey", key.ok_or_else(|| missing("otakey"))?)?;
        let project = match &*self.project {
            "" | ANY_PROJECT => ANY_PROJECT.to_owned(),
            project => word::<Project>("project", project)?.to_string(),
        };
        Slot::parse(&format!("{org}/{project}/{key}")).map_err(Problem::invalid)
    }
}

fn word<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    text: &str,
) -> Result<T, Problem> {
    text.parse()
        .map_err(|error| Problem::invalid(format!("{name}: {error}")))
}

async fn publish(
    State(office): State<Office>,
    Known(actor): Known,
    request: Request,
) -> Result<Response, Response> {
    let problem = |problem: Problem| problem.into_response();
    let form = Multipart::from_request(request, &office).await;
    let mut form = Parts::new(form.map_err(IntoResponse::into_response)?);
    let mut fields = Fields::default();
    let upload = loop {
        match form.next().await? {
            Part::Text(name, text) => fields.set(&name, text).map_err(problem)?,
            Part::File(file) => {
                let slot = fields.slot().map_err(problem)?;
                let kind = ImageKind::Firmware;
                let upload = office
                    .publish(&actor, &slot, kind, Announced::default())
                    .await
                    .map_err(|error| problem(error.into()))?;
                break receive(upload, *file).await?;
            }
        }
    };
    form.end().await?;
    let done = upload.finish(Rules::default(), None).await;
    let done = done.map_err(|error| problem(error.into()))?;
    Ok(Json(Done::from(done)).into_response())
}

/// The folders of an org that hold an image, relative to it.
async fn folders(office: &Office, actor: &Actor, org: &Org) -> Result<Response, Problem> {
    let slots = office.slots(actor, org).await?;
    let below = |words: Vec<&str>| words[1..].join("/");
    let list: Vec<String> = slots
        .iter()
        .map(|view| below(view.slot.words().collect()))
        .collect();
    Ok(Json(list).into_response())
}

async fn list(
    State(office): State<Office>,
    Known(actor): Known,
    Path(org): Path<String>,
) -> Result<Response, Problem> {
    folders(&office, &actor, &word("organization", &org)?).await
}

async fn remove(
    State(office): State<Office>,
    Known(actor): Known,
    Path((org, path)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let org: Org = word("organization", &org)?;
    let path = path.trim_end_matches('/');
    let slot = Slot::parse(&format!("{org}/{path}")).map_err(Problem::invalid)?;
    office
        .delete(&actor, &slot, ImageKind::Firmware, Expect::Any)
        .await?;
    folders(&office, &actor, &org).await
}

/// Whoever follows a link must not delete with it.
async fn never() -> Response {
    let why = "nothing is deleted by GET: send DELETE, or POST, to the same path";
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        why.to_owned(),
    );
    let allow = HeaderValue::from_static("DELETE, POST");
    ([(ALLOW, allow)], problem).into_response()
}
