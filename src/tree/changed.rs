//! What people order: their folders stand still while files are exchanged, and what was published counts at once. Part of
//! the keeper.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::firmware::{Facts, ImageKind, Stamp};

use super::catalog::{Candidate, Folder, Outcome};
use super::digests::Age;
use super::give::offer;
use super::judge::{Patience, Sight, Verdict};
use super::keeper::{Keeper, Reply, place};
use super::read::Root;

/// Nothing is waited for.
const AT_ONCE: Patience = Patience {
    settle: Duration::ZERO,
    removal_grace: Duration::ZERO,
    quiet: Duration::ZERO,
};

/// An order that was carried out.
pub struct Done {
    /// The folder, relative to the root.
    pub folder: PathBuf,
    /// What became of it; `None` when it was given up.
    pub what: Option<(ImageKind, What)>,
    /// Hears when the catalogue has it.
    pub reply: Option<Reply<()>>,
}

/// What was done to the files of a kind.
pub enum What {
    /// This file was put there.
    Placed {
        /// Its name.
        name: Box<str>,
        /// Which file it is.
        stamp: Stamp,
        /// What its bytes say.
        facts: Arc<Facts>,
        /// A person ordered this very image, whatever its age.
        ordered: bool,
    },
    /// All of them were removed.
    Removed,
    /// Something else is said of this one.
    Described {
        /// Its name.
        name: Box<str>,
    },
}

impl Keeper {
    /// The root, if it is there and is the one that was read.
    pub(super) fn ground(&mut self) -> Option<Root> {
        self.check_root();
        let known = self.catalog.at(Path::new(""));
        let was_empty = known.is_none_or(|root| root.children.is_empty());
        (!self.lost && (was_empty || self.root_stands()))
            .then(|| self.root.clone())
            .flatten()
    }

    /// Looks at a folder for the last time before an order.
    pub(super) fn stand_still(&mut self, folder: &Path) {
        self.look_if_any(folder);
        self.still.insert(folder.to_owned());
        self.publish(true);
    }

    /// Looks at a folder that is there or was. In a tree that was empty from the start there is nothing to miss.
    fn look_if_any(&mut self, folder: &Path) {
        if self.catalog.at(folder).is_some() || self.settings.root.join(folder).exists() {
            self.look(folder);
        }
    }

    /// Takes in what became of an order, before anybody hears that it was carried out.
    pub(super) fn carried_out(&mut self, mut done: Done) {
        let (folder, reply) = (done.folder.clone(), done.reply.take());
        self.still.remove(&folder);
        if let Some((
            kind,
            What::Placed {
                name,
                facts,
                ordered,
                ..
            },
        )) = &done.what
        {
            let memory = self.restless.entry(folder.clone()).or_default();
            memory.renamed.insert(name.clone());
            memory.placed[place(*kind)] = Some(facts.id());
            let age = Age {
                ordered: ordered.then(|| facts.id()),
                ..self.digests.age(&folder, *kind)
            };
            self.digests.set_age(&folder, *kind, age);
            // Whoever hears that it was carried out may rely on it after a restart, too.
            self.digests.flush();
        }
        self.order = done.what.is_some().then_some(done);
        self.look_if_any(&folder);
        self.order = None;
        // The other files of the folder are judged as ever.
        self.judge(&folder);
        self.publish(true);
        if self.catalog.at(&folder).is_some() {
            self.enqueue(&folder);
        }
        if let Some(reply) = reply {
            // Who does not wait any more is gone.
            let _ = reply.send(());
        }
    }

    /// What an order says of a kind, where the folder is as the order left it.
    pub(super) fn ordered(
        &mut self,
        rel: &Path,
        folder: &Folder,
        kind: ImageKind,
    ) -> Option<Verdict> {
        self.order.as_ref().filter(|order| order.folder == rel)?;
        let terms = self.terms(rel, kind);
        let order = self.order.as_ref()?;
        let (_, what) = order.what.as_ref().filter(|(of, _)| *of == kind)?;
        let file = |name: &str| {
            let mut files = folder.files.iter();
            files.find(|file| file.kind == kind && *file.name == *name)
        };
        let file = match what {
            What::Removed if folder.files.iter().all(|file| file.kind != kind) => {
                return Some(Verdict::new(Candidate::Absent));
            }
            What::Removed => return None,
            What::Placed { name, stamp, .. } => file(name).filter(|file| file.stamp == *stamp)?,
            // What is not offered yet is not offered sooner for a new title.
            What::Described { name } => file(name).filter(|file| match folder.candidate(kind) {
                Candidate::Offered(offer) => offer.image.stamp == file.stamp,
                Candidate::Absent | Candidate::Withheld { .. } => false,
            })?,
        };
        let sight = Sight {
            path: rel,
            kind,
            files: &folder.files,
            candidate: folder.candidate(kind),
            before: None,
            rivals: &[],
            asked: terms.asked(),
            sealing: terms.sealing.as_ref(),
            calm_for: Duration::ZERO,
            gone_for: Duration::ZERO,
            ordered: terms.ordered,
        };
        Some(Verdict {
            chosen: true,
            ..offer(&sight, AT_ONCE, file)
        })
    }

    /// What is known of a file before it is examined: by an order, or from the last run.
    pub(super) fn found_out(
        &mut self,
        rel: &Path,
        name: &str,
        kind: ImageKind,
        stamp: Stamp,
    ) -> (Outcome, bool) {
        match self.order.as_ref().filter(|order| order.folder == rel) {
            Some(Done {
                what:
                    Some((
                        of,
                        What::Placed {
                            name: placed,
                            stamp: it,
                            facts,
                            ..
                        },
                    )),
                ..
                // Whoever writes into it right now may leave its stamp as it is: it is read again in a moment.
            }) if (*of, &**placed, *it) == (kind, name, stamp) => {
                (Outcome::Sound(facts.clone()), true)
            }
            _ => {
                let known = self.digests.take(&rel.join(name), kind, stamp);
                (known.unwrap_or(Outcome::Pending), false)
            }
        }
    }

    /// Removes the drafts that a killed server left in a folder, when it is met for the first time. What is younger than
    /// this server is of another one on the same tree.
    pub(super) fn tidy(&self, folder: &Path, drafts: &[Box<str>]) {
        if !self.settings.live || self.catalog.complete {
            return;
        }
        for draft in drafts {
            let path = folder.join(&**draft);
            let modified = fs::symlink_metadata(&path).and_then(|meta| meta.modified());
            if modified.is_ok_and(|modified| modified < self.started) {
                match fs::remove_file(&path) {
                    Ok(()) => {
                        tracing::info!(path = %path.display(), "removed: half an image that a killed server left");
                    }
                    Err(error) => {
                        tracing::warn!(path = %path.display(), %error, "what a killed server left cannot be removed");
                    }
                }
            }
        }
    }
}
