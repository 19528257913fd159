//! Which file of a slot is given, and whether it is given now. Pure: what was read and how long ago go in, a verdict
//! comes out.
//!
//! 1. No file of the kind: nothing, but a removal counts only after a while.
//! 2. The folder is not quiet: what was offered and is unchanged stays, anything else waits.
//! 3. The lowest rank wins; among several of one rank the choice is kept until bytes new to the slot appear.
//! 4. The chosen file is offered when its bytes are sound and known to be whole.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::firmware::{Facts, HoldReason, ImageKind, Keys, Offer, Seal, Sha256};

use super::catalog::{Candidate, Known, Outcome};
use super::give::offer;
use super::names;
use super::problem::Problem;

/// A racy file is examined again when its last change is this old (Linux keeps times to a few milliseconds).
const RACY: Duration = Duration::from_secs(2);

/// Most ids of former rivals that a slot remembers.
const RIVALS: usize = 64;

/// Times that the operator sets.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A folder is quiet when nothing changed in it for so long.
    pub settle: Duration,
    /// A removal counts after so long.
    pub removal_grace: Duration,
    /// A file that cannot prove that it is whole is taken to be after so long.
    pub quiet: Duration,
}

/// What was chosen before, in this run of the server or the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// The file.
    pub name: Box<str>,
    /// Its id; `None` when it was never examined.
    pub id: Option<Sha256>,
}

/// A slot as it is now, for one kind.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The folder, relative to the root.
    pub path: &'a Path,
    /// The kind in question.
    pub kind: ImageKind,
    /// All candidate files of the folder, of either kind.
    pub files: &'a [Known],
    /// What the catalogue has now.
    pub candidate: &'a Candidate,
    /// What was chosen before.
    pub before: Option<&'a Before>,
    /// Ids that took part in earlier choices.
    pub rivals: &'a [Sha256],
    /// What is asked of the bytes of its images.
    pub asked: Asked<'a>,
    /// What its org asks of signatures.
    pub sealing: Option<&'a Sealing>,
    /// The image that a person ordered for the slot.
    pub ordered: Option<Sha256>,
    /// Since the last change of the folder.
    pub calm_for: Duration,
    /// Since the chosen file was found missing.
    pub gone_for: Duration,
}

/// What policies ask of the bytes of an app.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Texts to look for, here or for other slots of a device.
    pub texts: &'a [Box<str>],
    /// Texts that must be there.
    pub must: &'a [Box<str>],
    /// A text that is missed where nobody says which must be there.
    pub prefix: Option<&'a str>,
}

impl Asked<'_> {
    /// The file was examined before it was known what to look for.
    #[must_use]
    pub fn is_news_to(&self, file: &Known) -> bool {
        match &file.outcome {
            Outcome::Sound(facts) => self
                .texts
                .iter()
                .any(|text| !facts.texts.contains_key(text)),
            Outcome::Pending | Outcome::Defective(_) | Outcome::Unreadable(_) => false,
        }
    }
}

/// What an org that has public keys asks of the images of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealing {
    /// Its keys.
    pub keys: Arc<Keys>,
    /// When the image was signed that was offered last, of each kind.
    pub newest: [u64; 2],
}

impl Sealing {
    /// What came of the signature that lies beside the file now; `None` when that is not known yet.
    #[must_use]
    pub fn verdict<'a>(&self, signature: &str, facts: &'a Facts) -> Option<&'a Seal> {
        let of = self.keys.verdict_of(signature);
        facts.seal.as_deref().filter(|seal| seal.of == of)
    }

    /// The file was examined with another signature, or under other keys.
    #[must_use]
    pub fn is_news_to(&self, file: &Known) -> bool {
        let beside = file.beside.as_deref();
        match (
            &file.outcome,
            beside.and_then(|beside| beside.signature.as_deref()),
        ) {
            (Outcome::Sound(facts), Some(text)) => self.verdict(text, facts).is_none(),
            (_, _) => false,
        }
    }
}

/// What becomes of a slot.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the catalogue has from now on.
    pub candidate: Candidate,
    /// Files to examine, as indices into `files`.
    pub wants: Vec<usize>,
    /// Look again after this time, if nothing happens before.
    pub wake: Option<Duration>,
    /// The chosen file is missing: the clock of the removal runs.
    pub gone: bool,
    /// All files were compared. Otherwise what was offered before only stays, and the others have not lost against it.
    pub chosen: bool,
    /// What a person should know.
    pub problems: Vec<Problem>,
}

impl Verdict {
    pub(super) fn new(candidate: Candidate) -> Self {
        Self {
            candidate,
            wants: Vec::new(),
            wake: None,
            gone: false,
            chosen: false,
            problems: Vec::new(),
        }
    }

    pub(super) fn waking(mut self, after: Duration) -> Self {
        self.wake = Some(after);
        self
    }
}

pub(super) fn withheld(reason: HoldReason, file: &str) -> Candidate {
    Candidate::Withheld {
        reason,
        file: Some(file.into()),
    }
}

/// Decides what a slot offers of one kind.
#[must_use]
pub fn judge(sight: &Sight<'_>, patience: Patience) -> Verdict {
    let mine: Vec<(usize, &Known)> = sight
        .files
        .iter()
        .enumerate()
        .filter(|(_, file)| file.kind == sight.kind && !is_twin(sight.files, file))
        .collect();
    let Some(rank) = mine.iter().map(|(_, file)| file.rank).min() else {
        return match sight.candidate {
            Candidate::Absent => Verdict::new(Candidate::Absent),
            Candidate::Withheld { .. } | Candidate::Offered(_) => {
                gone(sight, patience, Verdict::new(Candidate::Absent))
            }
        };
    };
    let best: Vec<&Known> = mine
        .iter()
        .map(|(_, file)| *file)
        .filter(|file| file.rank == rank)
        .collect();
    let unchanged = unchanged_offer(sight.candidate, &best);

    if sight.calm_for < patience.settle {
        let candidate = match unchanged {
            Some(offer) => Candidate::Offered(offer.clone()),
            None => withheld(HoldReason::NotSettled, &newest(&best).name),
        };
        return Verdict::new(candidate).waking(patience.settle.saturating_sub(sight.calm_for));
    }

    let wants: Vec<usize> = wanted(sight, &mine);
    let pending = mine
        .iter()
        .any(|(_, file)| file.outcome == Outcome::Pending);
    if pending {
        let candidate = match unchanged {
            Some(offer) => Candidate::Offered(offer.clone()),
            None => withheld(HoldReason::NotReady, &newest(&best).name),
        };
        return Verdict {
            wants,
            ..Verdict::new(candidate)
        };
    }

    let chosen = choose(sight, &best);
    let mut verdict = offer(sight, patience, chosen);
    verdict.wants = wants;
    verdict.chosen = true;
    if best.len() > 1 {
        verdict.problems.push(several(sight.path, &best, chosen));
    }
    if sight.files.iter().any(|file| file.racy) {
        verdict.wake = Some(verdict.wake.unwrap_or(RACY).min(RACY));
    }
    if replaces_what_is_gone(sight, &mine, chosen) {
        gone(sight, patience, verdict)
    } else {
        verdict
    }
}

/// Holds a slot whose chosen file is missing until the removal counts; then it is as `after` says.
fn gone(sight: &Sight<'_>, patience: Patience, after: Verdict) -> Verdict {
    if sight.gone_for >= patience.removal_grace {
        return after;
    }
    let left = patience.removal_grace.saturating_sub(sight.gone_for);
    let wake = after.wake.unwrap_or(left).min(left);
    let candidate = Candidate::Withheld {
        reason: HoldReason::JustRemoved,
        file: None,
    };
    Verdict {
        candidate,
        gone: true,
        ..after
    }
    .waking(wake)
}

/// The chosen file vanished, and what would be given instead lay beside it before: a removal, not a replacement.
fn replaces_what_is_gone(sight: &Sight<'_>, mine: &[(usize, &Known)], chosen: &Known) -> bool {
    let Some(before) = sight.before else {
        return false;
    };
    let missing = !mine.iter().any(|(_, file)| file.name == before.name);
    missing && id(chosen).is_some_and(|id| sight.rivals.contains(&id) && before.id != Some(id))
}

fn is_twin(files: &[Known], file: &Known) -> bool {
    names::twin_of(&file.name).is_some_and(|plain| {
        files
            .iter()
            .any(|other| *other.name == *plain && other.kind == file.kind)
    })
}

fn wanted(sight: &Sight<'_>, mine: &[(usize, &Known)]) -> Vec<usize> {
    let calm = sight.calm_for >= RACY;
    let twins = sight
        .files
        .iter()
        .enumerate()
        .filter(|(_, file)| file.kind == sight.kind && is_twin(sight.files, file));
    mine.iter()
        .copied()
        .chain(twins)
        .filter(|(_, file)| {
            let unsealed = sight
                .sealing
                .is_some_and(|sealing| sealing.is_news_to(file));
            let stale = sight.asked.is_news_to(file) || unsealed || (file.racy && calm);
            file.outcome == Outcome::Pending || stale
        })
        .map(|(at, _)| at)
        .collect()
}

fn unchanged_offer<'a>(candidate: &'a Candidate, best: &[&Known]) -> Option<&'a Offer> {
    let Candidate::Offered(offer) = candidate else {
        return None;
    };
    let name = offer.image.path.file_name()?.to_str()?;
    best.iter()
        .any(|file| *file.name == *name && file.stamp == offer.image.stamp)
        .then_some(offer)
}

fn id(file: &Known) -> Option<Sha256> {
    match &file.outcome {
        Outcome::Sound(facts) => Some(facts.id()),
        Outcome::Pending | Outcome::Defective(_) | Outcome::Unreadable(_) => None,
    }
}

fn newest<'a>(files: &[&'a Known]) -> &'a Known {
    files
        .iter()
        .copied()
        .max_by(|a, b| (a.stamp.modified, &a.name).cmp(&(b.stamp.modified, &b.name)))
        .expect("judge asks only for groups that hold a file")
}

/// The file of a group of one rank. Times alone never change a choice: a restore, a clone or a wrong clock would
/// downgrade a fleet.
fn choose<'a>(sight: &Sight<'_>, best: &[&'a Known]) -> &'a Known {
    let Some(kept) = sight
        .before
        .and_then(|before| best.iter().copied().find(|file| file.name == before.name))
    else {
        return newest(best);
    };
    let known = |file: &Known| match id(file) {
        Some(id) => sight.rivals.contains(&id),
        // A broken file has no id; it counts as new when it is younger than what is offered.
        None => file.stamp.modified <= kept.stamp.modified,
    };
    let new: Vec<&Known> = best
        .iter()
        .copied()
        .filter(|file| file.name == kept.name || !known(file))
        .collect();
    newest(&new)
}

fn several(path: &Path, best: &[&Known], chosen: &Known) -> Problem {
    let names: Vec<&str> = best.iter().map(|file| &*file.name).collect();
    Problem::new(
        path,
        format!(
            "{} images could be meant: {}; {} is taken",
            best.len(),
            names.join(", "),
            chosen.name
        ),
        "leave one, or name the right one firmware.bin",
    )
}

/// The rivals that a slot remembers after a choice: those it knew and those that are there now.
#[must_use]
pub fn rivals(known: &[Sha256], files: &[Known]) -> Box<[Sha256]> {
    if files.len() < 2 && known.is_empty() {
        return Box::default();
    }
    let mut here: Vec<Sha256> = files.iter().filter_map(id).collect();
    here.sort_unstable();
    here.dedup();
    // What is gone is forgotten first, the oldest of it; what is here never is.
    let gone: Vec<Sha256> = known
        .iter()
        .filter(|id| !here.contains(id))
        .copied()
        .collect();
    let forgotten = gone.len().saturating_sub(RIVALS.saturating_sub(here.len()));
    gone[forgotten..].iter().copied().chain(here).collect()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
