//! The command line: one file a command, exit codes in one place.

mod check;
mod client;
mod console;
mod hold;
mod images;
mod inspect;
mod list;
mod log;
mod office;
mod password;
mod people;
mod serve;
mod settings;
mod show;
mod state;
mod which;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use otatree::config::{Config, ConfigError, Level};
use otatree::server::ListenError;
use otatree::server::tls::TlsError;
use serde_json::Value;

/// Drop a .bin into a folder, and every matching ESP8266/ESP32 node updates itself.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    /// The configuration [default: ./config.toml, then /etc/otatree/config.toml]
    #[arg(
        long,
        short,
        global = true,
        env = "OTATREE_CONFIG",
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
    /// What is worth a line in the log: error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL", value_parser = level)]
    log_level: Option<Level>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the tree (what happens without a command)
    Serve,
    /// Say what is wrong: with the configuration, or else with certificates and tree
    Check(check::Args),
    /// Say what a device would get, from which slot, and why
    Which(which::Args),
    /// List the slots of the tree with their images
    List(list::Args),
    /// Say what the bytes of a file are
    Inspect(inspect::Args),
    /// Publish an image: looked at, sent, and offered to devices before this returns
    Publish(images::publish::Args),
    /// Move the image of a slot to another one
    Promote(images::promote::Args),
    /// Put an earlier image of a slot back
    Rollback(images::rollback::Args),
    /// Delete the image of a slot; a copy is kept
    Delete(images::delete::Args),
    /// List the images that a slot had, as far as copies are kept
    Versions(images::versions::Args),
    /// Hold updates: the emergency brake, at once and until it is released
    Hold(hold::HoldArgs),
    /// Release what was held
    Release(hold::ReleaseArgs),
    /// Say who may sign in, and what they may do
    User(office::user::Args),
    /// Make, list and end tokens for programs
    Token(office::token::Args),
    /// Make and list orgs
    Org(office::org::Args),
    /// Give devices secrets
    Device(office::device::Args),
    /// Say who did what, when, from where
    Audit(office::audit::Args),
}

/// How a command ended, as `sysexits.h` has it where it has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Ok = 0,
    Problems = 1,
    Usage = 2,
    Runtime = 70,
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A field of an answer as text; `-` where there is nothing.
fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

/// The rows of a list.
fn rows(answer: &Value) -> &[Value] {
    answer.as_array().map_or(&[], Vec::as_slice)
}

/// What was looked at is wrong; nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct FoundWrong(String);

/// What the person typed cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

fn level(text: &str) -> Result<Level, String> {
    Ok(match text {
        "error" => Level::Error,
        "warn" => Level::Warn,
        "info" => Level::Info,
        "debug" => Level::Debug,
        "trace" => Level::Trace,
        _ => return Err("one of error, warn, info, debug, trace".to_owned()),
    })
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and go to stdout.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            let _ = error.print();
            return exit.into();
        }
    };
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("otatree: {error:#}");
            exit_of(&error).into()
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let path = cli.config.unwrap_or_else(default_config);
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&path, cli.log_level),
        Command::Check(args) => check::run(&path, &args),
        Command::Which(args) => which::run(&Config::load(&path)?, &args),
        Command::List(args) => list::run(&Config::load(&path)?, &args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Publish(args) => images::publish::run(&path, &args),
        Command::Promote(args) => images::promote::run(&path, &args),
        Command::Rollback(args) => images::rollback::run(&path, &args),
        Command::Delete(args) => images::delete::run(&path, &args),
        Command::Versions(args) => images::versions::run(&path, &args),
        Command::Hold(args) => hold::hold(&path, &args),
        Command::Release(args) => hold::release(&path, &args),
        Command::User(args) => office::user::run(&path, &args),
        Command::Token(args) => office::token::run(&path, &args),
        Command::Org(args) => office::org::run(&path, &args),
        Command::Device(args) => office::device::run(&path, &args),
        Command::Audit(args) => office::audit::run(&path, &args),
    }
}

fn default_config() -> PathBuf {
    let here = PathBuf::from("config.toml");
    let system = PathBuf::from("/etc/otatree/config.toml");
    if !here.exists() && system.exists() {
        system
    } else {
        here
    }
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if error.is::<UsageError>() {
        Exit::Usage
    } else if error.is::<client::Refused>() || error.is::<FoundWrong>() {
        Exit::Problems
    } else if error.is::<ConfigError>()
        || error.is::<TlsError>()
        || matches!(error.downcast_ref(), Some(ListenError::Unasked(_)))
    {
        Exit::Config
    } else {
        Exit::Runtime
    }
}
