//! Commands about people: one file a command. Each asks a server and prints what it heard.

pub mod audit;
pub mod device;
pub mod org;
pub mod token;
pub mod user;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use otatree::firmware::{Org, Project};

use super::{field, rows};

/// A stretch of time such as `90d` or `2h`; a day has 24 hours.
fn stretch(text: &str) -> Option<SignedDuration> {
    let span: Span = text.parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

/// A time as people say it: `2026-11-20T12:00:00Z`, the first second of a day in UTC.
fn instant(text: &str) -> Option<Timestamp> {
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse()
        .ok()
        .or_else(|| day().map(|day| day.timestamp()))
}

/// A time in the past: a stretch before now, or a time.
fn since(text: &str) -> Result<Timestamp, String> {
    stretch(text)
        .and_then(|ago| Timestamp::now().checked_sub(ago.abs()).ok())
        .or_else(|| instant(text))
        .ok_or_else(|| "no time such as 2h, 3d, 2026-11-20 or 2026-11-20T12:00:00Z".to_owned())
}

/// A time to come: a stretch from now, a time, or never.
fn until(text: &str) -> Result<String, String> {
    if text == "never" {
        return Ok(text.to_owned());
    }
    stretch(text)
        .and_then(|ahead| Timestamp::now().checked_add(ahead.abs()).ok())
        .or_else(|| instant(text))
        .map(|end| end.to_string())
        .ok_or_else(|| "no time such as 90d, 2027-11-20 or never".to_owned())
}

/// What a token is for: an org, or one project of it.
#[derive(Debug, Clone)]
pub struct Scope {
    org: Org,
    project: Option<Project>,
}

/// `org` or `org/project`.
fn scope(text: &str) -> Result<Scope, String> {
    let (org, project) = match text.split_once('/') {
        Some((org, project)) => (org, Some(project)),
        None => (text, None),
    };
    let org = org.parse().map_err(|error| format!("{error}"))?;
    let project = project
        .map(str::parse)
        .transpose()
        .map_err(|error| format!("{error}"))?;
    Ok(Scope { org, project })
}
