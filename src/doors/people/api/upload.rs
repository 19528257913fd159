//! Images on their way in: as they are, or in a form; and what a file is, without publishing it.

use std::future::poll_fn;
use std::pin::Pin;

use axum::Json;
use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Query, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use serde::Deserialize;

use super::caller::Signed;
use super::images::Done;
use super::place::{At, Condition, Kind, Which, with_etag};
use super::problem::Problem;
use super::slots::notes;
use crate::firmware::format::Report;
use crate::firmware::{Md5, Sha256};
use crate::office::{Announced, Expect, Office, Rules, Upload};

/// A text beside an image has at most so many bytes.
const LONGEST_TEXT: usize = 8 * 1024;
/// And a form has at most so many of them.
const MOST_TEXTS: usize = 16;

/// What is said beside an image, in the query or as fields of a form.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    #[serde(default)]
    kind: Kind,
    title: Option<String>,
    version: Option<String>,
    description: Option<String>,
    #[serde(default)]
    force_family: bool,
    signature: Option<String>,
}

impl Beside {
    fn rules(self, expect: Expect) -> Result<Rules, Problem> {
        Ok(Rules {
            force_family: self.force_family,
            expect,
            notes: notes(self.title, self.version, self.description)?,
            signature: self.signature.map(String::into_boxed_str),
        })
    }

    fn set(&mut self, name: &str, text: String) -> Result<(), Problem> {
        match name {
            "kind" => {
                self.kind = match &*text {
                    "firmware" | "" => Kind::Firmware,
                    "filesystem" => Kind::Filesystem,
                    _ => return Err(Problem::invalid("kind: firmware or filesystem")),
                }
            }
            "title" => self.title = some(text),
            "version" => self.version = some(text),
            "description" => self.description = some(text),
            "signature" => self.signature = some(text),
            "force_family" => self.force_family = matches!(&*text, "true" | "on" | "1"),
            _ => {
                let why = format!(
                    "the form has a field {name:?}; kind, title, version, description, force_family and signature are known, and file is the last one"
                );
                return Err(Problem::invalid(why));
            }
        }
        Ok(())
    }
}

/// An empty field of a form says nothing.
fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn announced(headers: &HeaderMap) -> Result<(Announced, Option<Md5>), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let sha256 = match text("content-digest") {
        None => None,
        Some(digest) => Some(content_digest(digest).ok_or_else(|| {
            Problem::invalid("Content-Digest: sha-256=:<base64 of 32 bytes>:, as RFC 9530 has it")
        })?),
    };
    let md5 = match text("x-md5") {
        None => None,
        Some(sum) => Some(
            sum.parse()
                .map_err(|_| Problem::invalid("x-md5: 32 hex digits"))?,
        ),
    };
    let announced = Announced {
        size: length.and_then(|length| length.parse().ok()),
        sha256,
    };
    Ok((announced, md5))
}

/// The SHA-256 among the sums of `Content-Digest`.
fn content_digest(value: &str) -> Option<Sha256> {
    let ours = value
        .split(',')
        .find_map(|sum| sum.trim_ascii().strip_prefix("sha-256=:"))?;
    let bytes = STANDARD.decode(ours.strip_suffix(':')?).ok()?;
    Some(Sha256::from_bytes(bytes.try_into().ok()?))
}

/// The next bytes of a body, as they come.
async fn next(body: &mut Body) -> Option<Result<Bytes, Problem>> {
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(bytes)) => return Some(Ok(bytes)),
            // Trailers say nothing that we need.
            Ok(Err(_)) => {}
            Err(_) => return Some(Err(cut_off())),
        }
    }
}

fn cut_off() -> Problem {
    let why = "the upload ended before its end; nothing was changed; send it again";
    Problem::new(StatusCode::BAD_REQUEST, "not-whole", why.to_owned())
}

fn published(done: crate::office::Published) -> Response {
    with_etag(done.revision, Json(Done::from(done)))
}

/// Publish an image: the body is the file
#[utoipa::path(put, path = "/orgs/{org}/slots/{slot}/image", extensions(("x-needs" = json!("publisher"))),
    params(("org" = String, Path, description = "The org"),
        ("slot" = String, Path, description = "The folders below the org, with `:` between them"),
        ("kind" = Option<Kind>, Query, description = "`firmware`, where it is left out"),
        ("title" = Option<String>, Query, description = "A name for people"),
        ("version" = Option<String>, Query, description = "Where the bytes have none, or a wrong one"),
        ("description" = Option<String>, Query, description = "Free text"),
        ("force_family" = Option<bool>, Query, description = "Also over an image for another chip family"),
        ("signature" = Option<String>, Query, description = "The text of its .minisig"),
        ("Content-Digest" = Option<String>, Header, description = "`sha-256=:…:` (RFC 9530)"),
        ("x-md5" = Option<String>, Header, description = "32 hex digits"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the slot must have"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the slot must be empty")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "It is in its place, and offered unless `held` says why not", body = Done)))]
pub async fn put(
    State(office): State<Office>,
    Signed(actor): Signed,
    At(slot): At,
    Query(beside): Query<Beside>,
    Condition(expect): Condition,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Response, Problem> {
    let kind = beside.kind.into();
    let rules = beside.rules(expect)?;
    let (announced, sum) = announced(&headers)?;
    let mut upload = office.publish(&actor, &slot, kind, announced).await?;
    while let Some(bytes) = next(&mut body).await {
        upload = upload.write(bytes?).await?;
    }
    Ok(published(upload.finish(rules, sum).await?))
}

/// Publish an image by a form: its fields first, the file last
#[utoipa::path(post, path = "/orgs/{org}/slots/{slot}/image", extensions(("x-needs" = json!("publisher"))),
    params(("org" = String, Path, description = "The org"),
        ("slot" = String, Path, description = "The folders below the org, with `:` between them"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the slot must have"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the slot must be empty")),
    request_body(content = super::images::Form, content_type = "multipart/form-data"),
    responses((status = 200, description = "It is in its place, and offered unless `held` says why not", body = Done)))]
pub async fn post(
    State(office): State<Office>,
    Signed(actor): Signed,
    At(slot): At,
    Condition(expect): Condition,
    request: Request,
) -> Result<Response, Response> {
    let problem = |problem: Problem| problem.into_response();
    // Before a part of the form is read.
    office
        .may_publish(&actor, &slot)
        .map_err(|error| problem(error.into()))?;
    let form = Multipart::from_request(request, &office).await;
    let mut form = Parts::new(form.map_err(IntoResponse::into_response)?);
    let mut beside = Beside::default();
    let begin = async |beside: &Beside| {
        let kind = beside.kind.into();
        Ok(office
            .publish(&actor, &slot, kind, Announced::default())
            .await?)
    };
    let upload = loop {
        match form.next().await? {
            Part::Text(name, text) => beside.set(&name, text).map_err(problem)?,
            Part::File(file) => {
                let upload: Upload = begin(&beside).await.map_err(problem)?;
                break receive(upload, *file).await?;
            }
        }
    };
    form.end().await?;
    let rules = beside.rules(expect).map_err(problem)?;
    let done = upload.finish(rules, None).await;
    done.map(published)
        .map_err(|error| Problem::from(error).into_response())
}

/// What a form has before and in its file.
pub enum Part<'a> {
    Text(String, String),
    File(Box<Field<'a>>),
}

/// The parts of a form, as few and as short as they may be.
pub struct Parts {
    form: Multipart,
    texts: usize,
}

impl Parts {
    pub const fn new(form: Multipart) -> Self {
        Self { form, texts: 0 }
    }

    /// The next part; a form without a file is refused.
    pub async fn next(&mut self) -> Result<Part<'_>, Response> {
        self.texts += 1;
        if self.texts > MOST_TEXTS {
            let why = format!("the form has more than {MOST_TEXTS} fields before its file");
            return Err(Problem::invalid(why).into_response());
        }
        let Some(mut field) = self.form.next_field().await.map_err(broken)? else {
            let why = "the form has no field `file` with a file";
            return Err(Problem::invalid(why).into_response());
        };
        if field.name() == Some("file") {
            return Ok(Part::File(Box::new(field)));
        }
        let name = field.name().unwrap_or("").to_owned();
        let mut text = Vec::new();
        while let Some(bytes) = field.chunk().await.map_err(broken)? {
            text.extend_from_slice(&bytes);
            if text.len() > LONGEST_TEXT {
                let why = format!("the field {name:?} has more than {LONGEST_TEXT} bytes");
                return Err(Problem::invalid(why).into_response());
            }
        }
        let text = String::from_utf8(text).map_err(|_| {
            Problem::invalid(format!("the field {name:?} is not UTF-8")).into_response()
        })?;
        Ok(Part::Text(name, text))
    }

    /// After the file nothing may come: it would have said something of the file.
    pub async fn end(mut self) -> Result<(), Response> {
        match self.form.next_field().await.map_err(broken)? {
            None => Ok(()),
            Some(field) => {
                let name = field.name().unwrap_or("");
                let why = format!(
                    "the field {name:?} comes after the file: the file must be the last field, since it is checked while it comes"
                );
                Err(Problem::invalid(why).into_response())
            }
        }
    }
}

/// A form that is broken, or cut off.
pub fn broken(error: MultipartError) -> Response {
    if error.status().is_server_error() {
        return cut_off().into_response();
    }
    Problem::invalid(format!("the form is broken: {}", error.body_text())).into_response()
}

/// Takes the file of a form.
pub async fn receive(mut upload: Upload, mut file: Field<'_>) -> Result<Upload, Response> {
    while let Some(bytes) = file.chunk().await.map_err(broken)? {
        upload = upload
            .write(bytes)
            .await
            .map_err(|error| Problem::from(error).into_response())?;
    }
    Ok(upload)
}

/// What the bytes of a file are, without publishing it: as `otatree inspect --json`
#[utoipa::path(post, path = "/inspect", extensions(("x-needs" = json!("person"))),
    params(("kind" = Option<Kind>, Query, description = "`firmware`, where it is left out")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "`facts`, or the `defect` that keeps it from devices", body = Object)))]
pub async fn inspect(
    State(office): State<Office>,
    Signed(_): Signed,
    Query(which): Query<Which>,
    mut body: Body,
) -> Result<Json<Report>, Problem> {
    let mut bytes = Vec::new();
    while let Some(more) = next(&mut body).await {
        bytes.extend_from_slice(&more?);
        if bytes.len() as u64 > office.largest_image() {
            let why = format!("an image has at most {} bytes", office.largest_image());
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                why,
            ));
        }
    }
    let bytes = bytes.into();
    Ok(Json(office.inspect(bytes, which.kind.into()).await?))
}
