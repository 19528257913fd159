//! `otatree audit`: who did what, when, from where.

use std::path::Path;

use jiff::Timestamp;
use otatree::firmware::Org;
use otatree::people::{TokenId, UserName};
use serde_json::Value;

use super::{field, rows, since};
use crate::cli::client::{Client, ServerArgs};
use crate::cli::{Exit, show};

/// Arguments of `audit`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Of this org only
    #[arg(long)]
    org: Option<Org>,
    /// By this user only
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,
    /// By the token with this id only
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    token: Option<TokenId>,
    /// Of this action only, such as publish or token-add
    #[arg(long, value_parser = action)]
    action: Option<String>,
    /// Not older: 2h, 3d, 2026-11-20 or a full time
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Timestamp>,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    most: u32,
    /// Only entries below this id, for the page before
    #[arg(long, value_name = "ID")]
    below: Option<i64>,
}

/// A word that needs no quoting in a URL.
fn action(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    fits.then(|| text.to_owned())
        .ok_or_else(|| "no action; they are words such as publish or token-add".to_owned())
}

/// Prints a page of the log, the newest entry first.
pub fn run(config: &Path, args: &Args) -> anyhow::Result<Exit> {
    let client = Client::open(&args.server, config)?;
    let mut path = format!("/audit?most={}", args.most);
    let mut ask = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={value}"));
        }
    };
    ask("org", args.org.as_ref().map(ToString::to_string));
    ask("user", args.user.as_ref().map(ToString::to_string));
    ask("token", args.token.as_ref().map(ToString::to_string));
    ask("action", args.action.clone());
    ask("since", args.since.map(|since| since.to_string()));
    ask("below", args.below.map(|below| below.to_string()));
    let log = client.get(&path)?;
    show::answer(&log, args.server.json, |log| {
        rows(log).iter().map(line).collect()
    })
}

fn line(entry: &Value) -> String {
    let at = field(entry, "at");
    let at = at
        .parse()
        .map_or_else(|_| at.to_owned(), |at: Timestamp| format!("{at:.0}"));
    let who = entry.get("who").unwrap_or(&Value::Null);
    let who = match (field(who, "kind"), field(who, "name")) {
        (kind, "-") => kind.to_owned(),
        (kind, name) => format!("{kind} {name}"),
    };
    let mut line = format!("{at}  {who}");
    if let Some(address) = entry.get("address").and_then(Value::as_str) {
        line.push_str(&format!(" from {address}"));
    }
    line.push_str(&format!("  {}", field(entry, "action")));
    for name in ["org", "target"] {
        if let Some(text) = entry.get(name).and_then(Value::as_str) {
            line.push_str(&format!(" {text}"));
        }
    }
    let (before, after) = (field(entry, "before"), field(entry, "after"));
    if (before, after) != ("-", "-") {
        line.push_str(&format!("  {before} → {after}"));
    }
    line
}
