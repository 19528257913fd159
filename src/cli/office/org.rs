//! `otatree org`: the folders at the top of the tree, each for people of its own.

use std::path::Path;

use clap::Subcommand;
use hyper::Method;
use otatree::firmware::Org;
use otatree::people::Role;
use serde_json::{Value, json};

use super::{Scope, field, rows, token};
use crate::cli::client::{Client, ServerArgs};
use crate::cli::{Exit, show};

/// Arguments of `org`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make an org
    Add {
        name: Org,
        /// Give it to a developer of this name at once: prints a token that publishes there
        #[arg(long = "for", value_name = "NAME")]
        developer: Option<String>,
    },
    /// List the orgs
    List,
}

/// Does it, and says what was done.
pub fn run(config: &Path, args: &Args) -> anyhow::Result<Exit> {
    let client = Client::open(&args.server, config)?;
    let json = args.server.json;
    match &args.what {
        What::Add { name, developer } => {
            client.tell(Method::POST, "/orgs", &json!({ "name": name.as_str() }))?;
            let Some(developer) = developer else {
                return show::done(&format!("{name} is there"), json);
            };
            let scope = Scope {
                org: name.clone(),
                project: None,
            };
            let made = token::add(&client, &scope, developer, Role::Publisher, None)?;
            show::answer(&made, json, |made| vec![field(made, "token").to_owned()])
        }
        What::List => {
            let orgs = client.get("/orgs")?;
            show::answer(&orgs, json, |orgs| rows(orgs).iter().map(line).collect())
        }
    }
}

fn line(org: &Value) -> String {
    format!("{}  {}", field(org, "name"), field(org, "role"))
}
