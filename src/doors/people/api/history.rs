//! The audit log.

use axum::Json;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::Deserialize;

use super::caller::Signed;
use super::extract::Word;
use super::problem::Problem;
use super::shape::Line;
use crate::firmware::Org;
use crate::office::{Action, Filter, Office, TokenId, UserName, Who};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    org: Option<Word<Org>>,
    user: Option<Word<UserName>>,
    token: Option<Word<TokenId>>,
    action: Option<String>,
    since: Option<Timestamp>,
    below: Option<i64>,
    #[serde(default)]
    most: u32,
}

impl Wanted {
    fn filter(self) -> Result<Filter, Problem> {
        let action = match &self.action {
            None => None,
            Some(slug) => Some(
                *Action::ALL
                    .iter()
                    .find(|action| action.slug() == slug)
                    .ok_or_else(|| Problem::invalid(format!("there is no action {slug:?}")))?,
            ),
        };
        let user = self.user.map(|user| Who::User(user.0));
        Ok(Filter {
            org: self.org.map(|org| org.0),
            who: user.or(self.token.map(|token| Who::Token(token.0))),
            action,
            since: self.since,
            below: self.below,
            most: self.most,
        })
    }
}

/// The audit log: all of it for an owner, an org's for its admin
#[utoipa::path(get, path = "/audit", extensions(("x-needs" = json!("owner"))),
    params(
        ("org" = Option<String>, Query, description = "Of this org only"),
        ("user" = Option<String>, Query, description = "By this user only"),
        ("token" = Option<String>, Query, description = "By the token with this id only"),
        ("action" = Option<String>, Query, description = "Of this action only, such as `publish`"),
        ("since" = Option<String>, Query, description = "Not older than this (RFC 3339)"),
        ("below" = Option<i64>, Query, description = "Only ids below this: the last one of the page before"),
        ("most" = Option<u32>, Query, description = "At most so many; 100, where it is left out; 1000 is the most"),
    ),
    responses((status = 200, description = "The newest first", body = [Line])))]
pub async fn list(
    State(office): State<Office>,
    Signed(actor): Signed,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<Line>>, Problem> {
    let entries = office.audit(&actor, wanted.filter()?).await?;
    Ok(Json(entries.into_iter().map(Line::from).collect()))
}
