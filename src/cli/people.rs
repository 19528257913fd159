//! The people of a state folder: opened, or the sentence why not; and the link that makes the first owner.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use otatree::config::Config;
use otatree::disk;
use otatree::doors::people::api::Api;
use otatree::office::Office;
use otatree::people::People;
use otatree::store::Store;
use otatree::tree::Tree;

/// The name of the file with the link, in the state folder.
const FIRST_OWNER: &str = "first-owner";

/// Reads everybody into memory.
pub fn open(state: &Path) -> anyhow::Result<People> {
    Ok(People::open(Store::open(state)?)?)
}

/// The counter for people, or for nobody where there is only the sentence why nobody is known.
pub fn office(config: &Config, people: Result<People, String>, tree: Tree) -> Office {
    let largest = config.tree.largest_image.as_u64();
    Office::new(people, tree, config.tree.root.clone(), largest)
}

/// The API over people; without them it answers 503.
pub fn api(config: &Config, office: Office) -> Api {
    let mut listeners = config.listen.iter();
    let https = listeners.find(|listen| listen.tls && listen.client_ca.is_none());
    Api::new(office, https.map(|listen| listen.address.port()))
}

/// The same for a server, which says where the link for the first owner is.
pub async fn open_serving(state: &Path) -> anyhow::Result<People> {
    let people = open(state)?;
    if let Some(path) = first_owner(&people, state).await? {
        tracing::info!(path = %path.display(), "nobody owns the server: who has this file within an hour makes an owner");
    }
    Ok(people)
}

/// While nobody owns the server: writes a link that makes an owner, and says where it is.
async fn first_owner(people: &People, state: &Path) -> anyhow::Result<Option<PathBuf>> {
    let path = state.join(FIRST_OWNER);
    let Some(link) = people.first_owner_link(Timestamp::now()).await? else {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| path.display().to_string())
            }
            _ => Ok(None),
        };
    };
    let text = format!(
        "{}\n\nWho sends this within an hour becomes the owner of the server; `otatree user add --owner` does without:\n\
         POST {}/first-owner {{\"link\": \"<the first line>\", \"user\": \"<name>\", \"password\": \"<8 bytes or more>\"}}\n",
        link.reveal(),
        otatree::doors::people::api::ROOT,
    );
    disk::place(&path, text.as_bytes(), 0o600).with_context(|| path.display().to_string())?;
    Ok(Some(path))
}
