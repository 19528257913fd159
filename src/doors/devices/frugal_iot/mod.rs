//! The main door: Frugal-IoT nodes, every Arduino updater, and whoever can do a GET.
//!
//! | path | answer |
//! |---|---|
//! | `/ota_update/<org>/<project>/<node>/<key>` | the image if it differs, else 304 |
//! | the same `/image.bin` | the same, under a file name |
//! | the same `/image.bin.md5`, `/image.bin.sha256` | its sum, for clients that ask for it first |
//! | `/files/<path in the tree>` and its `.md5`, `.sha256` | one file by name, under the same decision |
//!
//! 304 is always safe: the device asks again in an hour. So it is the answer to every doubt.

mod credential;
mod pieces;
mod send;
mod wire;

use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use smallvec::SmallVec;

use crate::config::FrugalIotConfig;
use crate::desk::{Desk, Errand};
use crate::firmware::{Decision, Device, FilePath, HoldReason, Image, Md5, Visit};
use crate::http::{Answer, Body, HttpDoor, Reply, Request, get_or_head, text};

use credential::Shown;
use send::Order;
use wire::{Heard, Wants};

/// For people with curl: what was decided.
const DECISION: HeaderName = HeaderName::from_static("x-ota-decision");
const X_MD5: HeaderName = HeaderName::from_static("x-md5");
const X_SHA256: HeaderName = HeaderName::from_static("x-sha256");
const X_VERSION: HeaderName = HeaderName::from_static("x-version");

/// Every answer is about one device at one moment; a proxy that kept one would give it to all others, and for hours.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The door.
pub struct Door {
    config: FrugalIotConfig,
    desk: Arc<Desk>,
}

/// What of an image is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Image,
    Md5,
    Sha256,
}

impl Door {
    /// Answers under `/<prefix>/` and `/files/` by this desk.
    #[must_use]
    pub const fn new(config: FrugalIotConfig, desk: Arc<Desk>) -> Self {
        Self { config, desk }
    }

    /// The samples of the `demo` org are for trying things out on this machine, and for no node.
    fn is_closed_to(&self, request: &Request, org: &str) -> bool {
        !request.client().is_this_machine()
            && self.config.loopback_only.iter().any(|closed| closed == org)
    }

    fn device(&self, request: &Request, words: [&str; 4], part: Part) -> Answer {
        let [org, project, node, key] = words;
        let device = match Device::parse(org, project, node, key) {
            Ok(device) => device,
            Err(error) => return refuse(request, &error.to_string()),
        };
        if self.is_closed_to(request, org) {
            return Answer::Now(not_modified(&Decision::NoImage));
        }
        self.part(request, Errand::Device(device), part)
    }

    /// One file by its name. Who writes a wrong name should see it, so what is not there is not found.
    fn file(&self, request: &Request, words: &[&str]) -> Answer {
        let not_found = || Answer::Now(text(StatusCode::NOT_FOUND, "no such image\n"));
        let Some((name, folders)) = words.split_last() else {
            return not_found();
        };
        let (name, part) = match (name.strip_suffix(".md5"), name.strip_suffix(".sha256")) {
            (Some(name), _) => (name, Part::Md5),
            (_, Some(name)) => (name, Part::Sha256),
            (None, None) => (*name, Part::Image),
        };
        let words: Vec<&str> = folders.iter().copied().chain([name]).collect();
        match FilePath::parse(&words) {
            Some(path) if !self.is_closed_to(request, path.org()) => {
                self.part(request, Errand::File(path), part)
            }
            Some(_) | None => not_found(),
        }
    }

    /// What who asks hears instead of anything about an image, where an org asks for a secret.
    fn refusal(&self, request: &Request, errand: &Errand) -> Option<Reply> {
        if !self.desk.asks_for_secret(errand) {
            return None;
        }
        let shown = Shown::read(request.headers());
        let shown = shown.as_ref().map(Shown::credential);
        let answer = self.desk.admits(errand, shown, request.client());
        credential::refusal(answer)
    }

    fn part(&self, request: &Request, errand: Errand, part: Part) -> Answer {
        if let Some(refusal) = self.refusal(request, &errand) {
            return Answer::Now(refusal);
        }
        let heard = wire::hear(request.headers());
        request.wire().set_records(heard.records);
        if part != Part::Image {
            return self.sum(errand, heard.visit, part);
        }
        match heard.wants {
            Wants::Image => self.image(request, errand, heard),
            Wants::Version => self.version(errand, heard.visit),
            Wants::Unknown => Answer::Now(not_modified(&Decision::Held(HoldReason::BadReport))),
        }
    }

    /// The sum of what is offered; like a poll, it waits for a tree that is still being read.
    fn sum(&self, errand: Errand, visit: Visit, part: Part) -> Answer {
        let desk = self.desk.clone();
        Answer::Later(Box::pin(async move {
            match desk.check_in_or_wait(&errand, &visit).await {
                // The tree is not read far enough: what it offers now may be the less specific image.
                Decision::Held(HoldReason::NotReady) => sum(None, part),
                // Who asks for a sum first would fetch the image in vain.
                Decision::Held(reason) if reason.is_ordered() => sum(None, part),
                _ => sum(desk.offered(&errand, visit.kind), part),
            }
        }))
    }

    fn image(&self, request: &Request, errand: Errand, heard: Heard) -> Answer {
        let decision = self.desk.check_in(&errand, &heard.visit);
        if let Some(decision @ (Decision::NoImage | Decision::UpToDate | Decision::Held(_))) =
            &decision
        {
            return Answer::Now(nothing(&errand, decision));
        }
        let order = Order::new(request, errand, heard);
        let desk = self.desk.clone();
        Answer::Later(Box::pin(async move {
            let decision = match decision {
                Some(decision) => decision,
                None => desk.check_in_patiently(&order.errand, &order.visit).await,
            };
            match decision {
                Decision::Update(image) => send::answer(&desk, image, order).await,
                Decision::NoImage | Decision::UpToDate | Decision::Held(_) => {
                    nothing(&order.errand, &decision)
                }
            }
        }))
    }

    /// `mode: version`: what would be offered, else what the device says it runs (`ESP8266httpUpdate.cpp`, PR 8968).
    fn version(&self, errand: Errand, visit: Visit) -> Answer {
        let desk = self.desk.clone();
        Answer::Later(Box::pin(async move {
            let image = match desk.check_in_or_wait(&errand, &visit).await {
                Decision::Update(image) => Some(image),
                Decision::UpToDate => desk.offered(&errand, visit.kind),
                Decision::NoImage | Decision::Held(_) => None,
            };
            let (version, md5) = match &image {
                Some(image) => (image.facts.version_or_id(), Some(image.facts.md5)),
                None => match visit.version {
                    Some(version) => (version.into(), None),
                    None => return text(StatusCode::NOT_FOUND, "no image\n"),
                },
            };
            versioned(&version, md5)
        }))
    }
}

impl HttpDoor for Door {
    fn answer(&self, request: &Request) -> Answer {
        let path = request.path();
        let first = path
            .strip_prefix('/')
            .and_then(|path| path.split('/').next());
        if first != Some(&self.config.prefix) && first != Some("files") {
            return Answer::NotMine;
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return Answer::Now(get_or_head());
        }
        let Some(words) = request.words() else {
            return refuse(request, "the path has a broken %-escape");
        };
        let words: SmallVec<[&str; 8]> = words.iter().map(AsRef::as_ref).collect();
        match words[..] {
            ["files", ref path @ ..] => self.file(request, path),
            [_, org, project, node, key] => {
                self.device(request, [org, project, node, key], Part::Image)
            }
            [_, org, project, node, key, last] => {
                let part = match last {
                    "image.bin" => Part::Image,
                    "image.bin.md5" => Part::Md5,
                    "image.bin.sha256" => Part::Sha256,
                    _ => return Answer::NotMine,
                };
                self.device(request, [org, project, node, key], part)
            }
            _ => Answer::NotMine,
        }
    }
}

fn refuse(request: &Request, why: &str) -> Answer {
    tracing::info!(client = %request.client(), scheme = %request.scheme(), path = request.path(), why, "a request that cannot be a device's");
    Answer::Now(text(StatusCode::BAD_REQUEST, format!("{why}\n")))
}

/// The answer without an image. A device with no image hears that nothing is new; a file that is not there is not found.
fn nothing(errand: &Errand, decision: &Decision) -> Reply {
    match (errand, decision) {
        (Errand::File(_), Decision::NoImage) => text(StatusCode::NOT_FOUND, "no such image\n"),
        (Errand::Device(_), Decision::NoImage)
        | (_, Decision::UpToDate | Decision::Held(_) | Decision::Update(_)) => {
            not_modified(decision)
        }
    }
}

/// 304: nothing new. The words are for people; devices read the status only.
fn not_modified(decision: &Decision) -> Reply {
    let said = match decision {
        Decision::NoImage => HeaderValue::from_static("no-image"),
        Decision::UpToDate => HeaderValue::from_static("up-to-date"),
        Decision::Held(_) | Decision::Update(_) => {
            HeaderValue::from_str(&decision.to_string()).unwrap_or(HeaderValue::from_static("held"))
        }
    };
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = StatusCode::NOT_MODIFIED;
    let headers = reply.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(DECISION, said);
    reply
}

fn versioned(version: &str, md5: Option<Md5>) -> Reply {
    let mut reply = Reply::new(Body::empty());
    let headers = reply.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    let version = HeaderValue::from_str(version);
    headers.insert(
        X_VERSION,
        version.unwrap_or(HeaderValue::from_static("unknown")),
    );
    if let Some(md5) = md5.and_then(|md5| HeaderValue::from_bytes(&md5.hex()).ok()) {
        headers.insert(X_MD5, md5);
    }
    reply
}

/// The sum of what is offered, as `md5sum` and `sha256sum` write it: digits, then the name.
fn sum(image: Option<Arc<Image>>, part: Part) -> Reply {
    let Some(image) = image else {
        return text(StatusCode::NOT_FOUND, "no image\n");
    };
    let name = image
        .path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    text(
        StatusCode::OK,
        match part {
            Part::Md5 => format!("{}  {name}\n", image.facts.md5),
            Part::Sha256 | Part::Image => format!("{}  {name}\n", image.facts.sha256),
        },
    )
}
