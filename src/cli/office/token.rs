//! `otatree token`: secrets for programs.

use std::iter;
use std::path::Path;

use clap::Subcommand;
use hyper::Method;
use jiff::Timestamp;
use otatree::people::{Role, TokenId};
use serde_json::{Value, json};

use super::{Scope, field, rows, scope, since, until};
use crate::cli::client::{Client, ServerArgs};
use crate::cli::{Exit, show};

/// Arguments of `token`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a token for an org or one project of it; it is shown this once
    Add {
        /// <org>, or <org>/<project>
        #[arg(value_parser = scope, value_name = "SCOPE")]
        scope: Scope,
        /// A name for people, such as "ci of lotus"
        #[arg(long, default_value = "")]
        name: String,
        /// viewer, publisher or admin
        #[arg(long, default_value = "publisher")]
        role: Role,
        /// 90d, 2027-11-20, or never [default: a year]
        #[arg(long, value_name = "WHEN", value_parser = until)]
        expires: Option<String>,
    },
    /// List the tokens, without their secrets
    List,
    /// End a token at once
    Revoke {
        /// As `token list` shows it
        id: TokenId,
        /// Also take back what it published, promoted, rolled back and deleted (the lost laptop)
        #[arg(long, requires = "since")]
        undo: bool,
        /// From when on: 2h, 3d, 2026-11-20 or a full time
        #[arg(long, value_name = "WHEN", value_parser = since, requires = "undo")]
        since: Option<Timestamp>,
    },
}

/// Does it, and says what was done.
pub fn run(config: &Path, args: &Args) -> anyhow::Result<Exit> {
    let client = Client::open(&args.server, config)?;
    let json = args.server.json;
    match &args.what {
        What::Add {
            scope,
            name,
            role,
            expires,
        } => {
            let made = add(&client, scope, name, *role, expires.as_deref())?;
            show::answer(&made, json, |made| vec![field(made, "token").to_owned()])
        }
        What::List => {
            let tokens = client.get("/tokens")?;
            let now = Timestamp::now();
            show::answer(&tokens, json, |tokens| {
                rows(tokens).iter().map(|token| line(token, now)).collect()
            })
        }
        What::Revoke {
            id,
            since: Some(since),
            ..
        } => undo(&client, id, *since, json),
        What::Revoke { id, .. } => {
            client.act(Method::DELETE, &format!("/tokens/{id}"))?;
            show::done(&format!("{id} is refused from now on"), json)
        }
    }
}

/// A new token: its id, and the token itself.
pub fn add(
    client: &Client,
    scope: &Scope,
    name: &str,
    role: Role,
    expires: Option<&str>,
) -> anyhow::Result<Value> {
    let mut wanted = json!({ "name": name, "org": scope.org.as_str(), "role": role.slug() });
    if let Some(project) = &scope.project {
        wanted["project"] = project.as_str().into();
    }
    if let Some(expires) = expires {
        wanted["expires"] = expires.into();
    }
    client.tell(Method::POST, "/tokens", &wanted)
}

/// Ends it and takes back what it did; what could not be taken back is a problem.
fn undo(client: &Client, id: &TokenId, since: Timestamp, json: bool) -> anyhow::Result<Exit> {
    let since = json!({ "since": since.to_string() });
    let undone = client.tell(Method::POST, &format!("/tokens/{id}/undo"), &since)?;
    show::answer(&undone, json, |undone| {
        let said = format!("{id} is refused from now on");
        iter::once(said)
            .chain(rows(undone).iter().map(back))
            .collect()
    })?;
    let has_failed = |slot: &Value| slot.get("failed").is_some_and(Value::is_string);
    Ok(if rows(&undone).iter().any(has_failed) {
        Exit::Problems
    } else {
        Exit::Ok
    })
}

fn back(slot: &Value) -> String {
    let (path, kind) = (field(slot, "path"), field(slot, "kind"));
    match (field(slot, "failed"), field(slot, "back_to")) {
        ("-", "-") => format!("{path} {kind}: empty, as it was"),
        ("-", id) => format!("{path} {kind}: back to {id}"),
        (why, _) => format!("{path} {kind}: left as it is: {why}"),
    }
}

fn line(token: &Value, now: Timestamp) -> String {
    let time = |name| -> Option<Timestamp> { token.get(name)?.as_str()?.parse().ok() };
    let state = match (time("revoked"), time("expires")) {
        (Some(revoked), _) => format!("revoked {revoked:.0}"),
        (None, Some(end)) if end <= now => format!("expired {end:.0}"),
        (None, Some(end)) => format!("until {end:.0}"),
        (None, None) => "for ever".to_owned(),
    };
    let used =
        time("last_used").map_or_else(|| "never used".to_owned(), |used| format!("used {used:.0}"));
    let project = match field(token, "project") {
        "-" => String::new(),
        project => format!("/{project}"),
    };
    format!(
        "{}  {}{project}  {}  {state}  {used}  by {}  {}",
        field(token, "id"),
        field(token, "org"),
        field(token, "role"),
        field(token, "created_by"),
        field(token, "name"),
    )
}
