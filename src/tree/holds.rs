//! Holds that people order beside the files of the tree: `holds.json` in the state folder, and whom they concern.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::firmware::{Order, Policy, Word};
use crate::health::Board;

use super::catalog::Catalog;
use super::change::PublishError;
use super::keeper::Message;
use super::{Settings, Tree};

/// The file in the state folder.
const FILE: &str = "holds.json";

/// People may read what they are held by.
const MODE: u32 = 0o644;

/// Nothing is given in a folder and below, by a person's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The folder, with `/` between its words; empty for the whole tree.
    pub folder: Box<str>,
    /// Why, for people; empty where nobody said it.
    pub reason: Box<str>,
    /// Who ordered it.
    pub by: Box<str>,
    /// When.
    pub since: Timestamp,
}

impl Hold {
    /// It is at this folder, or above it.
    fn covers(&self, words: &[&str]) -> bool {
        let mut own = self.folder.split('/').filter(|word| !word.is_empty());
        let mut words = words.iter();
        own.all(|word| words.next() == Some(&word))
    }

    fn order(&self) -> Order {
        let origin = format!("held by {} since {}", self.by, self.since);
        Order {
            file: Path::new(&origin).into(),
            word: Word::Policy(Policy {
                hold: Some(self.reason.clone()),
                ..Policy::default()
            }),
        }
    }
}

/// All holds that people ordered. Never changed: another one takes its place.
#[derive(Debug, Default)]
pub struct Holds {
    all: Vec<(Hold, Order)>,
    /// Nobody knows what was held, so everything is.
    bad: Option<Order>,
}

impl Holds {
    fn of(mut holds: Vec<Hold>) -> Self {
        holds.sort_by(|a, b| a.folder.cmp(&b.folder));
        let all = holds.into_iter().map(|hold| {
            let order = hold.order();
            (hold, order)
        });
        Self {
            all: all.collect(),
            bad: None,
        }
    }

    pub(super) fn load(settings: &Settings) -> Self {
        let path = settings.state.join(FILE);
        let read = std::fs::read(&path)
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from));
        match read {
            Ok(holds) => Self::of(holds),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::default(),
            // Who only looks may be somebody who does not see the state folder.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && !settings.live => {
                Self::default()
            }
            Err(error) => Self {
                all: Vec::new(),
                bad: Some(Order {
                    word: Word::Bad(error.to_string().into()),
                    file: path.into(),
                }),
            },
        }
    }

    /// What is wrong with the file, for people.
    pub(super) fn trouble(&self) -> Option<String> {
        let Order {
            file,
            word: Word::Bad(why),
        } = self.bad.as_ref()?
        else {
            return None;
        };
        Some(format!(
            "{} cannot be read ({why}), so everything is held: correct it or remove it, then restart",
            file.display()
        ))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.bad.is_none()
    }

    /// What holds a folder.
    pub(super) fn orders(&self, words: &[&str]) -> impl Iterator<Item = &Order> {
        let all = self.all.iter();
        let own = all.filter(|(hold, _)| hold.covers(words));
        self.bad.iter().chain(own.map(|(_, order)| order))
    }

    /// The holds of a folder and of those above it.
    pub(super) fn over(&self, words: &[&str]) -> Vec<Hold> {
        let all = self.all.iter().filter(|(hold, _)| hold.covers(words));
        all.map(|(hold, _)| hold.clone()).collect()
    }
}

impl Catalog {
    /// Nothing is known of the tree yet, but what is held.
    pub(super) fn holding(settings: &Settings, board: &Board) -> Self {
        let holds = Holds::load(settings);
        board.trouble("holds", holds.trouble());
        let mut catalog = Self::default();
        catalog.holds = Arc::new(holds);
        catalog
    }
}

/// The file, for one writer at a time.
pub(super) struct Book {
    path: PathBuf,
    turn: Mutex<()>,
}

impl Book {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            path: settings.state.join(FILE),
            turn: Mutex::default(),
        }
    }
}

impl Tree {
    /// Holds a folder and all below it, from now on and over restarts. Gives the hold that it replaces. It blocks.
    ///
    /// # Errors
    /// When it cannot be written down. Then nothing was changed.
    pub fn hold(&self, hold: Hold) -> Result<Option<Hold>, PublishError> {
        let folder = hold.folder.clone();
        self.exchange_hold(&folder, Some(hold))
    }

    /// Takes the hold of a folder back; those above it stay. Gives the hold that was there. It blocks.
    ///
    /// # Errors
    /// When it cannot be written down. Then nothing was changed.
    pub fn release(&self, folder: &str) -> Result<Option<Hold>, PublishError> {
        self.exchange_hold(folder, None)
    }

    fn exchange_hold(&self, folder: &str, new: Option<Hold>) -> Result<Option<Hold>, PublishError> {
        let book = &self.holds;
        let _turn = book.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.catalog().holds.clone();
        if let Some(why) = known.trouble() {
            return Err(PublishError::of(&book.path, io::Error::other(why)));
        }
        let all = known.all.iter().map(|(hold, _)| hold.clone());
        let (old, mut all): (Vec<Hold>, Vec<Hold>) = all.partition(|hold| *hold.folder == *folder);
        if old.is_empty() && new.is_none() {
            return Ok(None);
        }
        all.extend(new);
        serde_json::to_vec_pretty(&all)
            .map_err(io::Error::from)
            .and_then(|text| disk::place(&book.path, &text, MODE))
            .map_err(|error| PublishError::of(&book.path, error))?;
        let holds = Arc::new(Holds::of(all));
        self.hands.ask(|reply| Message::Holds(holds, reply))?;
        Ok(old.into_iter().next())
    }
}
