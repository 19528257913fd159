//! `otatree user`: who may sign in, and what they may do.

use std::path::Path;

use clap::Subcommand;
use hyper::Method;
use otatree::firmware::Org;
use otatree::people::{Role, UserName};
use serde_json::{Value, json};

use super::{field, rows};
use crate::cli::client::{Client, ServerArgs};
use crate::cli::{Exit, password, show};

/// Arguments of `user`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Add a user; the password is typed, or one line of stdin
    Add {
        name: UserName,
        /// They own the server, and may do everything
        #[arg(long)]
        owner: bool,
    },
    /// Remove a user, with their sessions and tokens
    Remove { name: UserName },
    /// Set a password; it is typed, or one line of stdin
    Password { name: UserName },
    /// Give a user a role in an org
    Role {
        name: UserName,
        org: Org,
        /// viewer, publisher, admin, or none
        #[arg(value_parser = role)]
        role: Given,
    },
    /// Make a user an owner of the server
    Owner {
        name: UserName,
        /// No longer
        #[arg(long)]
        revoke: bool,
    },
    /// List the users
    List {
        /// Only those with a role in this org
        #[arg(long)]
        org: Option<Org>,
    },
}

#[derive(Clone, Copy)]
struct Given(Option<Role>);

fn role(text: &str) -> Result<Given, String> {
    if text == "none" {
        return Ok(Given(None));
    }
    let role: Result<Role, _> = text.parse();
    role.map(|role| Given(Some(role)))
        .map_err(|_| "one of viewer, publisher, admin, none".to_owned())
}

/// Does it, and says what was done.
pub fn run(config: &Path, args: &Args) -> anyhow::Result<Exit> {
    let client = Client::open(&args.server, config)?;
    let said = match &args.what {
        What::Add { name, owner } => {
            let password = password::ask(name.as_str())?;
            let user = json!({ "name": name.as_str(), "password": password, "owner": owner });
            client.tell(Method::POST, "/users", &user)?;
            format!("{name} may sign in")
        }
        What::Remove { name } => {
            client.act(Method::DELETE, &format!("/users/{name}"))?;
            format!("{name} is gone; their sessions and tokens are refused")
        }
        What::Password { name } => {
            let new = json!({ "password": password::ask(name.as_str())? });
            client.tell(Method::PUT, &format!("/users/{name}/password"), &new)?;
            format!("{name} has a new password; their sessions are over")
        }
        What::Role { name, org, role } => {
            let path = format!("/orgs/{org}/roles/{name}");
            match role.0 {
                Some(role) => client.tell(Method::PUT, &path, &json!({ "role": role.slug() }))?,
                None => client.act(Method::DELETE, &path)?,
            };
            let role = role.0.map_or("nobody", Role::slug);
            format!("{name} is {role} in {org}")
        }
        What::Owner { name, revoke } => {
            let new = json!({ "owner": !revoke });
            client.tell(Method::PUT, &format!("/users/{name}/owner"), &new)?;
            let is = if *revoke {
                "is no owner"
            } else {
                "owns the server"
            };
            format!("{name} {is}")
        }
        What::List { org } => return list(&client, org.as_ref(), args.server.json),
    };
    show::done(&said, args.server.json)
}

fn list(client: &Client, org: Option<&Org>, json: bool) -> anyhow::Result<Exit> {
    let query = org.map_or_else(String::new, |org| format!("?org={org}"));
    let users = client.get(&format!("/users{query}"))?;
    show::answer(&users, json, |users| rows(users).iter().map(line).collect())
}

fn line(user: &Value) -> String {
    let roles = user.get("roles").and_then(Value::as_object);
    let mut may: Vec<String> = roles
        .into_iter()
        .flatten()
        .map(|(org, role)| format!("{org}:{}", role.as_str().unwrap_or("-")))
        .collect();
    if user.get("owner") == Some(&Value::Bool(true)) {
        may.insert(0, "owner".to_owned());
    }
    format!("{}  {}", field(user, "name"), may.join(" "))
}
