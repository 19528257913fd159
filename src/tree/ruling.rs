//! Carrying verdicts out: what is known of a folder goes to the judge, and what he says into the catalogue, the memory of
//! the unrest, the memory of the choice and the log. Part of the keeper.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::firmware::{HoldReason, ImageKind, Offer};

use super::catalog::{Candidate, Folder, Known, Outcome};
use super::digests::Choice;
use super::govern;
use super::hasher::{self, Examined, Job};
use super::judge::{self, Before, Sight, Verdict, judge};
use super::keeper::{KINDS, Keeper, place};
use super::problem::Problem;

impl Keeper {
    /// A file was examined: the result is taken if it is still about the file that is there.
    pub(super) fn examined(&mut self, examined: Examined) {
        let Examined {
            job, outcome, racy, ..
        } = examined;
        self.hasher.heard(&job);
        let (Some(rel), Some(name)) = (
            job.rel.parent(),
            job.rel.file_name().and_then(|name| name.to_str()),
        ) else {
            return;
        };
        let Some(mut outcome) = outcome else {
            self.touch(rel);
            self.enqueue(rel);
            return;
        };
        if let Outcome::Sound(facts) = &mut outcome {
            self.digests.share_texts(Arc::make_mut(facts));
        }
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
        if let Outcome::Sound(facts) = &file.outcome {
            self.seen
                .add(facts, self.catalog.complete && !self.examining_all);
        }
        self.judge(rel);
    }

    pub(super) fn calm_for(&self, rel: &Path, folder: &Folder) -> Duration {
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
        let mut wake = self.govern(rel, &folder);
        let Some(folder) = self.catalog.at(rel).cloned() else {
            return;
        };
        let calm_for = self.calm_for(rel, &folder);
        let mut problems: Vec<Problem> = govern::problem(&folder).into_iter().collect();
        for kind in KINDS {
            let verdict = match self.ordered(rel, &folder, kind) {
                Some(verdict) => verdict,
                None => self.verdict(rel, &folder, kind, calm_for),
            };
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
            let memory = self.restless.entry(rel.to_owned()).or_default();
            if memory.last_change.is_none() && calm_for < self.settings.patience.settle {
                // From now on the clock that cannot be set counts, whatever the times of the files say.
                memory.last_change = Some(Instant::now());
            }
            self.wake(rel, after);
        }
        self.set_sealing(rel);
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

    pub(super) fn verdict(
        &mut self,
        rel: &Path,
        folder: &Folder,
        kind: ImageKind,
        calm_for: Duration,
    ) -> Verdict {
        let gone_for = self
            .restless
            .get(rel)
            .and_then(|restless| restless.gone_since[place(kind)])
            .map_or(Duration::ZERO, |since| since.elapsed());
        let terms = self.terms(rel, kind);
        let restless = self.restless.get(rel);
        let choice = self.digests.choice(rel, kind);
        let before = offered_before(folder.candidate(kind))
            .or_else(|| restless.and_then(|restless| restless.before[place(kind)].clone()))
            .or_else(|| choice.map(Choice::before));
        let sight = Sight {
            path: rel,
            kind,
            files: &folder.files,
            candidate: folder.candidate(kind),
            before: before.as_ref(),
            rivals: choice.map_or(&[], |choice| &choice.rivals),
            asked: terms.asked(),
            sealing: terms.sealing.as_ref(),
            ordered: terms.ordered,
            calm_for,
            gone_for,
        };
        judge(&sight, self.settings.patience)
    }

    /// Carries a verdict out: catalogue, memory of the unrest, memory of the choice, log.
    pub(super) fn settle(
        &mut self,
        rel: &Path,
        folder: &Folder,
        kind: ImageKind,
        verdict: Verdict,
    ) {
        let old = folder.candidate(kind);
        // A file that only waits to be examined is no unrest; at a cold start all do.
        let restless = verdict.gone
            || !matches!(
                verdict.candidate,
                Candidate::Absent
                    | Candidate::Offered(_)
                    | Candidate::Withheld {
                        reason: HoldReason::NotReady,
                        ..
                    }
            );
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
        if let (Candidate::Offered(offer), true) = (&verdict.candidate, verdict.chosen) {
            self.remember_choice(rel, folder, kind, offer);
            self.remember_seal(rel, kind, offer);
        }
        if *old == verdict.candidate {
            return;
        }
        if let Candidate::Offered(offer) = &verdict.candidate {
            self.tell_drop(rel, kind, old, &offer.image);
        }
        say(
            rel,
            kind,
            &verdict.candidate,
            self.catalog.complete && !self.examining_all,
        );
        self.catalog.edit(rel, |folder| {
            *folder.candidate_mut(kind) = verdict.candidate
        });
        self.changed = true;
    }

    pub(super) fn remember_choice(
        &mut self,
        rel: &Path,
        folder: &Folder,
        kind: ImageKind,
        offer: &Offer,
    ) {
        let mine = folder.files.iter().filter(|file| file.kind == kind).count();
        let known = self.digests.choice(rel, kind);
        if mine < 2 && known.is_none() {
            return;
        }
        let Some(name) = offer.image.path.file_name().and_then(|name| name.to_str()) else {
            return;
        };
        let rivals = judge::rivals(known.map_or(&[], |choice| &choice.rivals), &folder.files);
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
                rivals,
            },
        );
    }

    pub(super) fn want(&mut self, rel: &Path, file: &Known) {
        let Some(root) = self.root.clone() else {
            return;
        };
        if !self.catalog.complete && !self.urgent {
            // The first scan comes first: slots and sizes are known before sums are.
            return;
        }
        let texts = match file.kind {
            ImageKind::Firmware => self.texts(rel),
            ImageKind::Filesystem => Arc::default(),
        };
        let seal = self.seal_to_judge(rel, file);
        let rel = rel.join(&*file.name);
        let job = Job {
            root: root.path,
            rel: rel.into(),
            kind: file.kind,
            stamp: file.stamp,
            texts,
            seal,
        };
        self.hasher.push(
            job,
            self.urgent || (self.catalog.complete && !self.sweeping),
        );
    }

    /// Problems of the files and of what was read; `None` keeps those of the files.
    pub(super) fn set_problems(
        &mut self,
        rel: &Path,
        problems: Arc<[Problem]>,
        judged: Option<&Folder>,
    ) {
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

    /// The catalogue as a map of what changed: problems are logged once, when they appear.
    pub(super) fn say_problems(&mut self, old: &[super::Problem], new: &[super::Problem]) {
        let fresh: Vec<_> = new
            .iter()
            .filter(|problem| !old.contains(problem))
            .collect();
        let over = old.iter().filter(|problem| !new.contains(problem)).count();
        self.problems = (self.problems + fresh.len()).saturating_sub(over);
        for problem in fresh {
            tracing::warn!(path = %problem.path.display(), cure = %problem.cure, "problem: {}", problem.what);
        }
        let text = (self.problems > 0).then(|| {
            format!(
                "{} problems in the tree; `otatree check` names them",
                self.problems
            )
        });
        self.board.progress("problems", text);
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
        // It is over in a moment, or said with its reason.
        Candidate::Withheld {
            reason: HoldReason::NotReady,
            ..
        } => {}
        Candidate::Withheld { reason, file } if complete => {
            tracing::info!(%slot, %kind, file = file.as_deref().unwrap_or("-"), %reason, "withheld: {}", reason.sentence());
        }
        Candidate::Absent if complete => tracing::info!(%slot, %kind, "removed"),
        Candidate::Absent | Candidate::Withheld { .. } | Candidate::Offered(_) => {}
    }
}
