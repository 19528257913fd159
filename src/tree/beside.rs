//! The small files beside an image: its note and its sums.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Deserialize;

use super::catalog::Beside;
use super::read;

/// Nobody writes more than this beside an image.
const LARGEST_BESIDE: u64 = 64 * 1024;

/// `<image>.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    title: Option<Box<str>>,
    version: Option<Box<str>>,
    description: Option<Box<str>>,
}

/// The names of all small files beside an image end in these.
pub(super) const ENDS: [&str; 4] = [".toml", ".md5", ".sha256", ".minisig"];

/// The text of `<image>.minisig`, where there is one that can be read.
pub(super) fn signature(image: &Path) -> Option<Box<str>> {
    let mut path = image.as_os_str().to_owned();
    path.push(".minisig");
    let mut text = String::new();
    let file = read::open(Path::new(&path)).ok()?;
    file.take(LARGEST_BESIDE).read_to_string(&mut text).ok()?;
    Some(text.into())
}

/// Reads one small file beside an image.
///
/// # Errors
/// What is wrong with it, in words for people.
pub fn read_beside(folder: &Path, name: &str, beside: &mut Beside) -> Result<(), String> {
    let path = folder.join(name);
    let text = match fs::metadata(&path) {
        Ok(meta) if meta.len() > LARGEST_BESIDE => {
            return Err(format!(
                "it has {} bytes, too many for what it is",
                meta.len()
            ));
        }
        Ok(_) => {
            let mut text = String::new();
            read::open(&path)
                .and_then(|file| file.take(LARGEST_BESIDE).read_to_string(&mut text))
                .map_err(|error| format!("it cannot be read ({error})"))?;
            text
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("it cannot be read ({error})")),
    };
    // `md5sum` and `sha256sum` write the sum first, then the name.
    let sum = text.split_whitespace().next().unwrap_or_default();
    if name.ends_with(".md5") {
        beside.md5 = Some(
            sum.parse()
                .map_err(|error| format!("it holds no MD5 sum ({error})"))?,
        );
    } else if name.ends_with(".sha256") {
        beside.sha256 = Some(
            sum.parse()
                .map_err(|error| format!("it holds no SHA-256 sum ({error})"))?,
        );
    } else {
        let note: Note =
            toml::from_str(&text).map_err(|error| error.to_string().trim().replace('\n', " "))?;
        beside.title = note.title;
        beside.version = note.version;
        beside.description = note.description;
    }
    Ok(())
}
