//! From a decision to bytes: conditions, ranges, and the download itself.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, USER_AGENT,
};
use hyper::{Method, StatusCode};

use crate::desk::{Content, Desk, Ending, Errand, OpenError, Place, Span};
use crate::firmware::{Decision, HoldReason, Image, Visit};
use crate::http::{self, Asked, Body, Delivery, Reply, Request, Wire, text};

use super::pieces;
use super::wire::Heard;
use super::{DECISION, X_MD5, X_SHA256, not_modified};

/// Says to a proxy before us that it should not collect the image first.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A request for an image, without what is borrowed from it.
pub struct Order {
    pub visit: Visit,
    pub errand: Errand,
    /// Ranges under one name belong together: of this client, else of whoever asks for this device.
    names: Vec<String>,
    /// A person's program: it may continue a download of which nothing is known.
    at_own_risk: bool,
    head_only: bool,
    range: Option<Box<[u8]>>,
    if_range: Option<Box<[u8]>>,
    if_none_match: Option<Box<[u8]>>,
    wire: Arc<Wire>,
}

impl Order {
    pub fn new(request: &Request, errand: Errand, heard: Heard) -> Self {
        let at_own_risk = heard.is_a_persons_program();
        let visit = heard.visit;
        let header = |name| request.header(name).map(Into::into);
        let mut client = DefaultHasher::new();
        let agent = request.header(&USER_AGENT);
        (request.client(), &visit.hardware, agent).hash(&mut client);
        let name = errand.range_name(visit.kind);
        let mut names = vec![format!("{name} {:x}", client.finish())];
        if !at_own_risk {
            names.push(name);
        }
        Self {
            visit,
            errand,
            names,
            at_own_risk,
            head_only: request.method() == Method::HEAD,
            // RFC 9110, 14.2: a range is for GET alone.
            range: header(&RANGE).filter(|_| request.method() == Method::GET),
            if_range: header(&IF_RANGE),
            if_none_match: header(&IF_NONE_MATCH),
            wire: request.wire().clone(),
        }
    }
}

/// Answers an order that was granted.
pub async fn answer(desk: &Arc<Desk>, image: Arc<Image>, order: Order) -> Reply {
    let tag = format!("\"{}\"", image.facts.sha256);
    if http::none_match(order.if_none_match.as_deref(), &tag) {
        let mut reply = not_modified(&Decision::UpToDate);
        insert(&mut reply, ETAG, &tag);
        return reply;
    }
    let size = image.facts.size;
    let asked = match http::if_range_holds(order.if_range.as_deref(), &tag) {
        true => http::parse_range(order.range.as_deref(), size),
        false => Asked::All,
    };
    let (span, status) = match asked {
        Asked::All => (Span { from: 0, to: size }, StatusCode::OK),
        Asked::Beyond => return beyond(size),
        // A device would join the end of this image to the beginning of another. How long ago it began, and whether
        // this image was the one that it would have got then, no file says: what is not remembered is not continued.
        Asked::Part(part)
            if part.from > 0
                && order.if_range.is_none()
                && !desk
                    .continues(&order.names, &image)
                    .unwrap_or(order.at_own_risk) =>
        {
            return beyond(size);
        }
        Asked::Part(part) => (
            Span {
                from: part.from,
                to: part.to,
            },
            StatusCode::PARTIAL_CONTENT,
        ),
    };
    let mut reply = head(&image, &tag, span, status);
    if order.head_only {
        return reply;
    }
    match desk.open(&image).await {
        Ok((content, place)) => {
            *reply.body_mut() = body(desk, &image, content, span);
            begin(desk, image, order, span, place);
            reply
        }
        Err(reason) => held(&order, &image, reason),
    }
}

fn held(order: &Order, image: &Image, reason: HoldReason) -> Reply {
    tracing::info!(device = %order.errand, path = %image.path.display(), %reason, "held: {}", reason.sentence());
    not_modified(&Decision::Held(reason))
}

fn insert(reply: &mut Reply, name: HeaderName, value: &str) {
    // Digits, dates and tags of ours are always header values.
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

fn beyond(size: u64) -> Reply {
    let mut reply = text(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "no such range of the image that is offered now\n",
    );
    insert(&mut reply, CONTENT_RANGE, &format!("bytes */{size}"));
    reply
}

fn head(image: &Image, tag: &str, span: Span, status: StatusCode) -> Reply {
    let facts = &image.facts;
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = status;
    insert(
        &mut reply,
        CONTENT_LENGTH,
        &(span.to - span.from).to_string(),
    );
    insert(&mut reply, ETAG, tag);
    insert(
        &mut reply,
        LAST_MODIFIED,
        &httpdate::fmt_http_date(modified(image)),
    );
    if status == StatusCode::PARTIAL_CONTENT {
        insert(
            &mut reply,
            CONTENT_RANGE,
            &format!("bytes {}-{}/{}", span.from, span.to - 1, facts.size),
        );
    } else {
        // Updaters compare it with what they received, so it belongs to whole images only.
        insert(&mut reply, X_MD5, &facts.md5.to_string());
        insert(&mut reply, X_SHA256, &facts.sha256.to_string());
    }
    let headers = reply.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-transform"),
    );
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(DECISION, HeaderValue::from_static("update"));
    reply
}

fn modified(image: &Image) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(image.stamp.modified).unwrap_or_default())
}

fn body(desk: &Arc<Desk>, image: &Arc<Image>, content: Content, span: Span) -> Body {
    match content {
        Content::Memory(bytes) => {
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            Body::Whole(bytes.slice(place(span.from)..place(span.to)))
        }
        Content::File(file) => {
            let (desk, image) = (desk.clone(), image.clone());
            let read = move |from, length| {
                file.read_at(from, length).map_err(|error| match error {
                    OpenError::Changed => {
                        desk.torn(&image);
                        io::Error::other("the image changed while it was sent")
                    }
                    OpenError::Unreadable(error) => io::Error::new(error.kind(), error),
                })
            };
            Body::Pieces {
                pieces: pieces::read(span, read),
                left: span.to - span.from,
            }
        }
    }
}

/// A download under way: it knows whom to tell how it ends.
struct Running {
    desk: Arc<Desk>,
    errand: Errand,
    visit: Visit,
    image: Arc<Image>,
    span: Span,
    _place: Place,
}

impl Delivery for Running {
    fn ended(self: Box<Self>, sent: u64, in_order: bool) {
        self.desk.ended(
            &self.errand,
            &self.visit,
            &self.image,
            self.span,
            Ending { sent, in_order },
        );
    }
}

fn begin(desk: &Arc<Desk>, image: Arc<Image>, order: Order, span: Span, place: Place) {
    desk.begins(&order.names, &image, span);
    let length = span.to - span.from;
    let running = Running {
        desk: desk.clone(),
        errand: order.errand,
        visit: order.visit,
        image,
        span,
        _place: place,
    };
    order.wire.begin(Box::new(running), length);
}
