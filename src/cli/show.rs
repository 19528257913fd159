//! Printing results, and names that several commands show alike.

use std::io::{self, BufWriter, Write};

use otatree::firmware::HoldReason;
use otatree::tree::Candidate;
use serde::Serialize;
use serde_json::Value;

use super::Exit;

/// One JSON document.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    serde_json::to_writer_pretty(&mut out, value)?;
    quietly(writeln!(out).and_then(|()| out.flush()))
}

/// Lines of text.
pub fn lines(lines: &[impl AsRef<str>]) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = lines
        .iter()
        .try_for_each(|line| writeln!(out, "{}", line.as_ref()));
    quietly(written.and_then(|()| out.flush()))
}

/// What a server answered: its JSON, or lines made of it.
pub fn answer(
    answer: &Value,
    as_json: bool,
    text: impl FnOnce(&Value) -> Vec<String>,
) -> anyhow::Result<Exit> {
    if as_json {
        json(answer)?;
    } else {
        lines(&text(answer))?;
    }
    Ok(Exit::Ok)
}

/// That something was done; nothing in JSON, where the exit code says it.
pub fn done(said: &str, as_json: bool) -> anyhow::Result<Exit> {
    if !as_json {
        lines(&[said])?;
    }
    Ok(Exit::Ok)
}

/// `otatree list | head` is no error.
fn quietly(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// What a slot has, in words.
pub fn candidate(candidate: &Candidate) -> String {
    match candidate {
        Candidate::Absent => "nothing of this kind".to_owned(),
        Candidate::Withheld { reason, file } => withheld(*reason, file.as_deref()),
        Candidate::Offered(offer) => {
            let facts = &offer.image.facts;
            let name = offer
                .image
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            format!(
                "{name}, {}, {} bytes, version {}",
                facts.family,
                facts.size,
                facts.version_or_id()
            )
        }
    }
}

fn withheld(reason: HoldReason, file: Option<&str>) -> String {
    let file = file.map_or_else(String::new, |file| format!("{file}, "));
    format!("{file}withheld ({reason}): {}", reason.sentence())
}
