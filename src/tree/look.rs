//! Looking at one folder: watch first, then read, then judge. The second half of the keeper.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::firmware::{ImageKind, Offer};

use super::catalog::{Candidate, Folder, Known, Outcome};
use super::digests::Choice;
use super::hasher::{self, Examined, Job};
use super::judge::{self, Before, Sight, Verdict, judge};
use super::keeper::{Keeper, place};
use super::problem::Problem;
use super::read::{self, ReadError, Reading, Root};

const KINDS: [ImageKind; 2] = [ImageKind::Firmware, ImageKind::Filesystem];

/// A folder that could not be read is tried again after this time.
const RETRY: Duration = Duration::from_secs(10);

impl Keeper {
    /// Looks at the root itself: it may be gone, empty, or another one.
    pub(super) fn check_root(&mut self) {
        match Root::find(&self.settings.root) {
            Err(error) => self.shout(format!(
                "the root of the tree {} cannot be read ({error}); what was read before is served on",
                self.settings.root.display()
            )),
            Ok(found) if self.root.as_ref() == Some(&found) => {}
            Ok(found) if self.catalog.complete && is_empty(&found) => self.shout(empty(&self.settings.root)),
            Ok(found) => {
                self.board.trouble("tree", None);
                self.adopt(found);
            }
        }
    }

    fn shout(&self, text: String) {
        self.board.trouble("tree", Some(text));
    }

    /// Watches a folder, reads it, and takes what it holds into the catalogue.
    pub(super) fn look(&mut self, rel: &Path) {
        let Some(root) = self.root.clone() else {
            return;
        };
        let known = self
            .catalog
            .at(rel)
            .map(|folder| (folder.inode, folder.watched));
        let mut watched = known.is_some_and(|(_, watched)| watched);
        if !watched || self.sweeping {
            watched = self.watch(&root, rel);
        }
        let mut reading = read::read_folder(&root, rel);
        if let (Some((inode, true)), Ok(now)) = (known, &reading)
            && inode != now.inode
        {
            // Another folder under the same name: the watch is still on the old one.
            self.let_go(rel);
            watched = self.watch(&root, rel);
            reading = read::read_folder(&root, rel);
        }
        match reading {
            Ok(reading) => self.accept(rel, reading, watched),
            Err(ReadError::Gone) => self.vanish(rel),
            Err(ReadError::Failed(error)) => self.unreadable(rel, &error),
        }
    }

    fn watch(&mut self, root: &Root, rel: &Path) -> bool {
        let mut path = root.path.join(rel);
        if !self.linked.is_empty() && rel.ancestors().any(|above| self.linked.contains(above)) {
            // One inode has one watch and one name: that of the place the link leads to.
            let Ok(target) = std::fs::canonicalize(&path) else {
                return false;
            };
            let Ok(inside) = target.strip_prefix(&root.path) else {
                return false;
            };
            self.aliases
                .entry(inside.to_owned())
                .or_default()
                .insert(rel.to_owned());
            path = target;
        }
        self.watches
            .as_mut()
            .is_some_and(|watches| watches.watch(&path))
    }

    /// Gives up the watch of a folder and of all below it.
    pub(super) fn let_go(&mut self, rel: &Path) {
        let Some(root) = self.root.clone() else {
            return;
        };
        let Some(folder) = self.catalog.at(rel).cloned() else {
            return;
        };
        let mut below = vec![(rel.to_owned(), folder)];
        while let Some((rel, folder)) = below.pop() {
            if folder.watched {
                if let Some(watches) = &mut self.watches {
                    watches.unwatch(&root.path.join(&rel));
                }
                self.catalog.edit(&rel, |folder| folder.watched = false);
            }
            below.extend(
                folder
                    .children
                    .iter()
                    .map(|(name, child)| (rel.join(name.as_ref()), child.clone())),
            );
        }
    }

    /// After a new watcher was made nothing is watched.
    pub(super) fn forget_watches(&mut self) {
        let mut all = Vec::new();
        self.catalog.visit(|rel, folder| {
            if folder.watched {
                all.push(rel.to_owned());
            }
        });
        for rel in all {
            self.catalog.edit(&rel, |folder| folder.watched = false);
        }
    }

    fn unreadable(&mut self, rel: &Path, error: &std::io::Error) {
        if rel.as_os_str().is_empty() {
            self.shout(format!(
                "the root of the tree cannot be read ({error}); what was read before is served on"
            ));
            return;
        }
        let problem = Problem::new(
            rel,
            format!("this folder cannot be read ({error}); what was read before is served on"),
            "make it readable for the server's user",
        );
        self.set_problems(rel, Arc::new([problem]), None);
        self.wake(rel, RETRY);
    }

    fn accept(&mut self, rel: &Path, reading: Reading, watched: bool) {
        if rel.as_os_str().is_empty() {
            let known = self
                .catalog
                .at(rel)
                .is_some_and(|root| !root.children.is_empty());
            if known && reading.folders.is_empty() {
                self.shout(empty(&self.settings.root));
                return;
            }
            self.board.trouble("tree", None);
        }
        let before = self.catalog.at(rel).cloned().unwrap_or_default();
        let first = before.inode == 0;
        let Reading {
            inode,
            files,
            folders,
            links,
            problems,
        } = reading;
        for link in links {
            self.aliases
                .entry(link.folder)
                .or_default()
                .insert(if link.to_folder {
                    rel.join(&*link.name)
                } else {
                    rel.to_owned()
                });
            if link.to_folder {
                self.linked.insert(rel.join(&*link.name));
            }
        }
        self.accept_folders(rel, &before, &folders);

        let files = self.accept_files(rel, &before, files);
        let same = files.len() == before.files.len()
            && files.iter().zip(&before.files).all(|(new, old)| {
                (&new.name, new.stamp, &new.beside) == (&old.name, old.stamp, &old.beside)
            });
        if !first && !same {
            self.touch(rel);
        }
        let read_problems: Arc<[Problem]> = problems.into();
        if first
            || !same
            || before.watched != watched
            || before.inode != inode
            || before.read_problems != read_problems
        {
            let files: Box<[Known]> = files.into();
            self.catalog.edit(rel, |folder| {
                folder.inode = inode;
                folder.watched = watched;
                folder.files = files;
                folder.read_problems = read_problems;
            });
            self.changed = true;
        }
        self.judge(rel);
    }

    fn accept_folders(&mut self, rel: &Path, before: &Folder, folders: &[(Box<str>, u64)]) {
        // Those that left first: a folder that was renamed must be let go before it is watched under its new name.
        let there = |name: &str| {
            folders
                .binary_search_by(|(other, _)| (**other).cmp(name))
                .is_ok()
        };
        let left: Vec<PathBuf> = before
            .children
            .iter()
            .filter(|(name, _)| !there(name))
            .map(|(name, _)| rel.join(name.as_ref()))
            .collect();
        for child in left {
            self.vanish(&child);
        }
        for (name, inode) in folders {
            let child = rel.join(&**name);
            if self.sweeping {
                self.enqueue_sweep(child);
            } else if before
                .children
                .get(name)
                .is_none_or(|old| old.inode != *inode || !old.watched)
            {
                self.enqueue(&child);
            }
        }
    }

    fn accept_files(&mut self, rel: &Path, before: &Folder, files: Vec<read::Seen>) -> Vec<Known> {
        let renamed = self
            .restless
            .get(rel)
            .map(|restless| restless.renamed.clone())
            .unwrap_or_default();
        files
            .into_iter()
            .map(|seen| {
                let read::Seen {
                    name,
                    kind,
                    rank,
                    stamp,
                    beside,
                } = seen;
                let old = before
                    .files
                    .iter()
                    .find(|old| old.name == name && old.stamp == stamp && old.kind == kind);
                let (outcome, racy) = match old {
                    // What could not be read may be readable now.
                    Some(Known {
                        outcome: Outcome::Unreadable(_),
                        ..
                    }) => (Outcome::Pending, false),
                    Some(old) => (old.outcome.clone(), old.racy),
                    None => (
                        self.digests
                            .take(&rel.join(&*name), kind, stamp)
                            .unwrap_or(Outcome::Pending),
                        false,
                    ),
                };
                let renamed = renamed.contains(&name) || old.is_some_and(|old| old.renamed);
                Known {
                    name,
                    kind,
                    rank,
                    stamp,
                    outcome,
                    racy,
                    renamed,
                    beside,
                }
            })
            .collect()
    }

    /// A folder is not there any more: its images are removed, each after its grace, and then the folder is.
    fn vanish(&mut self, rel: &Path) {
        let Some(folder) = self.catalog.at(rel).cloned() else {
            return;
        };
        if rel.as_os_str().is_empty() {
            return;
        }
        if folder.inode != 0 {
            self.let_go(rel);
            self.touch(rel);
            self.catalog.edit(rel, |folder| {
                folder.inode = 0;
                folder.files = Box::default();
                folder.read_problems = Arc::default();
            });
            self.changed = true;
        }
        let children: Vec<PathBuf> = folder
            .children
            .iter()
            .map(|(name, _)| rel.join(name.as_ref()))
            .collect();
        for child in children {
            self.vanish(&child);
        }
        self.judge(rel);
        self.drop_if_over(rel);
    }

    /// Takes a vanished folder out when nothing is left to wait for, and then its parents.
    fn drop_if_over(&mut self, rel: &Path) {
        let mut rel = rel.to_owned();
        while !rel.as_os_str().is_empty()
            && let Some(folder) = self.catalog.at(&rel)
        {
            let absent = KINDS
                .iter()
                .all(|kind| *folder.candidate(*kind) == Candidate::Absent);
            if folder.inode != 0 || !absent || !folder.children.is_empty() {
                return;
            }
            self.catalog.remove(&rel);
            self.restless.remove(&rel);
            self.changed = true;
            rel.pop();
        }
    }

    /// A file was examined: the result is taken if it is still about the file that is there.
    pub(super) fn examined(&mut self, examined: Examined) {
        let Examined { job, outcome, racy } = examined;
        let (Some(rel), Some(name)) = (
            job.rel.parent(),
            job.rel.file_name().and_then(|name| name.to_str()),
        ) else {
            return;
        };
        let Some(outcome) = outcome else {
            self.touch(rel);
            self.enqueue(rel);
            return;
        };
        let there =
            |file: &Known| *file.name == *name && file.stamp == job.stamp && file.kind == job.kind;
        let Some(at) = self
            .catalog
            .at(rel)
            .and_then(|folder| folder.files.iter().position(there))
        else {
            return;
        };
        let file = self.catalog.edit(rel, |folder| {
            let file = &mut folder.files[at];
            file.outcome = outcome;
            file.racy = racy;
            file.clone()
        });
        self.changed = true;
        self.digests.add(&job.rel, &file);
        self.judge(rel);
    }

    fn calm_for(&self, rel: &Path, folder: &Folder) -> Duration {
        match self
            .restless
            .get(rel)
            .and_then(|restless| restless.last_change)
        {
            Some(last) => last.elapsed(),
            None => folder
                .files
                .iter()
                .map(|file| hasher::age(file.stamp))
                .min()
                .unwrap_or(Duration::MAX),
        }
    }

    /// Judges both kinds of a slot by what is known of its files now.
    pub(super) fn judge(&mut self, rel: &Path) {
        let Some(folder) = self.catalog.at(rel).cloned() else {
            return;
        };
        let calm_for = self.calm_for(rel, &folder);
        let mut problems = Vec::new();
        let mut wake: Option<Duration> = None;
        for kind in KINDS {
            let verdict = self.verdict(rel, &folder, kind, calm_for);
            for at in &verdict.wants {
                self.want(rel, &folder.files[*at]);
            }
            wake = match (wake, verdict.wake) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            problems.extend_from_slice(&verdict.problems);
            self.settle(rel, &folder, kind, verdict);
        }
        if let Some(after) = wake {
            if !self.restless.contains_key(rel) {
                // The clock of the first look starts now, whatever the times of the files say.
                self.restless.entry(rel.to_owned()).or_default();
                if calm_for < self.settings.patience.settle {
                    self.touch(rel);
                }
            }
            self.wake(rel, after);
        }
        self.set_problems(rel, problems.into(), Some(&folder));
        let at_rest = |kind: &ImageKind| match self
            .catalog
            .at(rel)
            .map(|folder| folder.candidate(*kind).clone())
        {
            None | Some(Candidate::Absent | Candidate::Offered(_)) => true,
            Some(Candidate::Withheld { .. }) => false,
        };
        if wake.is_none() && KINDS.iter().all(at_rest) {
            self.restless.remove(rel);
        }
        if folder.inode == 0 {
            self.drop_if_over(rel);
        }
    }

    fn verdict(
        &mut self,
        rel: &Path,
        folder: &Folder,
        kind: ImageKind,
        calm_for: Duration,
    ) -> Verdict {
        let restless = self.restless.get(rel);
        let gone_for = restless
            .and_then(|restless| restless.gone_since[place(kind)])
            .map_or(Duration::ZERO, |since| since.elapsed());
        let choice = self.digests.choice(rel, kind);
        let before = offered_before(folder.candidate(kind))
            .or_else(|| restless.and_then(|restless| restless.before[place(kind)].clone()))
            .or_else(|| choice.map(Choice::before));
        let rivals = match choice {
            Some(choice) if folder.rivals.is_empty() => &choice.rivals,
            _ => &folder.rivals,
        };
        let sight = Sight {
            path: rel,
            kind,
            files: &folder.files,
            candidate: folder.candidate(kind),
            before: before.as_ref(),
            rivals,
            calm_for,
            gone_for,
        };
        judge(&sight, self.settings.patience)
    }

    /// Carries a verdict out: catalogue, memory of the unrest, memory of the choice, log.
    fn settle(&mut self, rel: &Path, folder: &Folder, kind: ImageKind, verdict: Verdict) {
        let old = folder.candidate(kind);
        let restless =
            verdict.gone || !matches!(verdict.candidate, Candidate::Absent | Candidate::Offered(_));
        if restless || self.restless.contains_key(rel) {
            let memory = self.restless.entry(rel.to_owned()).or_default();
            let since = &mut memory.gone_since[place(kind)];
            *since = if verdict.gone {
                since.or_else(|| Some(Instant::now()))
            } else {
                None
            };
            if let Some(before) = offered_before(old) {
                memory.before[place(kind)] = Some(before);
            }
        }
        if let Candidate::Offered(offer) = &verdict.candidate {
            self.remember_choice(rel, folder, kind, offer);
        }
        if *old == verdict.candidate {
            return;
        }
        say(rel, kind, &verdict.candidate, self.catalog.complete);
        self.catalog.edit(rel, |folder| {
            *folder.candidate_mut(kind) = verdict.candidate
        });
        self.changed = true;
    }

    fn remember_choice(&mut self, rel: &Path, folder: &Folder, kind: ImageKind, offer: &Offer) {
        let mine = folder.files.iter().filter(|file| file.kind == kind).count();
        let known = self.digests.choice(rel, kind);
        if mine < 2 && known.is_none() {
            return;
        }
        let Some(name) = offer.image.path.file_name().and_then(|name| name.to_str()) else {
            return;
        };
        let rivals = judge::rivals(
            known.map_or(&folder.rivals, |choice| &choice.rivals),
            &folder.files,
        );
        let id = Some(offer.image.facts.id());
        if known.is_some_and(|choice| {
            *choice.name == *name && choice.id == id && choice.rivals == rivals
        }) {
            return;
        }
        self.digests.choose(
            rel,
            kind,
            Choice {
                name: name.into(),
                id,
                rivals: rivals.clone(),
            },
        );
        self.catalog.edit(rel, |folder| folder.rivals = rivals);
    }

    fn want(&self, rel: &Path, file: &Known) {
        let Some(root) = &self.root else { return };
        let rel = rel.join(&*file.name);
        let job = Job {
            path: root.path.join(&rel),
            rel,
            kind: file.kind,
            stamp: file.stamp,
        };
        self.hasher.push(
            job,
            self.urgent || (self.catalog.complete && !self.sweeping),
        );
    }

    /// Problems of the files and of what was read; `None` keeps those of the files.
    fn set_problems(&mut self, rel: &Path, problems: Arc<[Problem]>, judged: Option<&Folder>) {
        let Some(folder) = self.catalog.at(rel).cloned() else {
            return;
        };
        let all: Arc<[Problem]> = match judged {
            Some(_) if folder.read_problems.is_empty() => problems,
            Some(_) => folder
                .read_problems
                .iter()
                .chain(problems.iter())
                .cloned()
                .collect(),
            None => problems,
        };
        if folder.problems == all {
            return;
        }
        self.say_problems(&folder.problems, &all);
        self.catalog.edit(rel, |folder| folder.problems = all);
        self.changed = true;
    }
}

fn offered_before(candidate: &Candidate) -> Option<Before> {
    let Candidate::Offered(offer) = candidate else {
        return None;
    };
    let name = offer.image.path.file_name()?.to_str()?;
    Some(Before {
        name: name.into(),
        id: Some(offer.image.facts.id()),
    })
}

fn is_empty(root: &Root) -> bool {
    read::read_folder(root, Path::new("")).map_or(true, |reading| reading.folders.is_empty())
}

fn empty(root: &Path) -> String {
    format!(
        "the root of the tree {} is suddenly empty (is it mounted?); what was read before is served on",
        root.display()
    )
}

fn say(rel: &Path, kind: ImageKind, candidate: &Candidate, complete: bool) {
    let slot = rel.display();
    match candidate {
        Candidate::Offered(offer) if complete => {
            let facts = &offer.image.facts;
            tracing::info!(
                path = %offer.image.path.display(), %kind, family = %facts.family, size = facts.size,
                version = facts.version_or_id(), "offered"
            );
        }
        Candidate::Withheld { reason, file } if complete => {
            tracing::info!(%slot, %kind, file = file.as_deref().unwrap_or("-"), %reason, "withheld: {}", reason.sentence());
        }
        Candidate::Absent if complete => tracing::info!(%slot, %kind, "removed"),
        Candidate::Absent | Candidate::Withheld { .. } | Candidate::Offered(_) => {}
    }
}
