//! `otatree check`: what is wrong with the configuration, or else all problems of certificates and tree at once.

use std::path::Path;
use std::time::SystemTime;

use otatree::config::Config;
use otatree::server::tls::{self, TlsProblem};
use serde::Serialize;

use super::{Exit, settings, show};

/// Arguments of `check`.
#[derive(clap::Args)]
pub struct Args {
    /// Machine-readable
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Finding {
    room: &'static str,
    /// It keeps something from working; otherwise it is advice.
    serious: bool,
    text: String,
}

/// Looks at everything and changes nothing.
pub fn run(path: &Path, args: &Args) -> anyhow::Result<Exit> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            let error = anyhow::Error::from(error);
            if args.json {
                show::json(&[Finding {
                    room: "configuration",
                    serious: true,
                    text: format!("{error:#}"),
                }])?;
            }
            return Err(error);
        }
    };
    let mut findings = Vec::new();
    if let Some(settings) = settings::tls(&config) {
        for problem in tls::check(&settings, SystemTime::now()) {
            let (serious, text) = match problem {
                TlsProblem::Error(error) => (true, format!("{:#}", anyhow::Error::from(error))),
                TlsProblem::Warning(warning) => (false, warning.to_string()),
            };
            findings.push(Finding {
                room: "certificates",
                serious,
                text,
            });
        }
    }
    match settings::read_tree(&config) {
        Ok(catalog) => {
            for problem in catalog.problems() {
                findings.push(Finding {
                    room: "tree",
                    serious: true,
                    text: problem.to_string(),
                });
            }
        }
        Err(error) => findings.push(Finding {
            room: "tree",
            serious: true,
            text: format!("{error:#}"),
        }),
    }
    if args.json {
        show::json(&findings)?;
    } else {
        let mut lines: Vec<String> = findings
            .iter()
            .map(|finding| {
                format!(
                    "{}: {}{}",
                    finding.room,
                    if finding.serious { "" } else { "advice: " },
                    finding.text
                )
            })
            .collect();
        if findings.is_empty() {
            lines.push("no problems".to_owned());
        }
        show::lines(&lines)?;
    }
    Ok(if findings.iter().any(|finding| finding.serious) {
        Exit::Problems
    } else {
        Exit::Ok
    })
}
