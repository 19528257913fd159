//! A password: typed without an echo, or one line of stdin. Never an argument, which every user of a machine can read.

use std::io::{BufRead, IsTerminal, Read};

use anyhow::Context;

use super::UsageError;

/// Longer ones are refused by the server.
const LONGEST: u64 = 4096;

/// Asks for a new password.
pub fn ask(name: &str) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let context = "no password can be typed here: give it as one line of stdin";
        let first =
            rpassword::prompt_password(format!("New password for {name}: ")).context(context)?;
        let again = rpassword::prompt_password("Once more: ").context(context)?;
        if first != again {
            return Err(UsageError("the two differ; nothing was changed".to_owned()).into());
        }
        return Ok(first);
    }
    let mut line = String::new();
    stdin
        .lock()
        .take(LONGEST)
        .read_line(&mut line)
        .context("the password could not be read from stdin")?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        let why = "no password: type it at a terminal, or give it as one line of stdin";
        return Err(UsageError(why.to_owned()).into());
    }
    Ok(password.to_owned())
}
