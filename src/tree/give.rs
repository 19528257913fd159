//! Whether the chosen file of a slot is given, by what is known of its bytes and of what lies beside it. Pure.

use std::path::Path;
use std::sync::Arc;

use crate::firmware::{DefectKind, Facts, HoldReason, Image, Offer, Sha256};

use super::catalog::{Beside, Candidate, Known, Outcome};
use super::judge::{Patience, Sight, Verdict, withheld};
use super::keeper::place;
use super::names;
use super::problem::Problem;

/// Whether the chosen file is given, by what is known of its bytes.
#[must_use]
pub fn offer(sight: &Sight<'_>, patience: Patience, chosen: &Known) -> Verdict {
    let problem =
        |what: &str, cure: &str| vec![Problem::new(sight.path.join(&*chosen.name), what, cure)];
    match &chosen.outcome {
        Outcome::Pending => Verdict::new(withheld(HoldReason::NotReady, &chosen.name)),
        Outcome::Unreadable(why) => Verdict {
            problems: problem(why, ""),
            ..Verdict::new(withheld(HoldReason::Unreadable, &chosen.name))
        },
        Outcome::Defective(defect) => {
            let reason = match defect.kind {
                DefectKind::Corrupt => HoldReason::Corrupt,
                DefectKind::NotAnApp => HoldReason::NotAnApp,
            };
            Verdict {
                problems: problem(&defect.sentence, ""),
                ..Verdict::new(withheld(reason, &chosen.name))
            }
        }
        Outcome::Sound(facts) => {
            let beside = chosen.beside.as_deref();
            if beside.is_some_and(|beside| contradicts(beside, facts)) {
                return Verdict {
                    problems: problem(
                        "its bytes do not have the sum that the .md5 or .sha256 beside it says",
                        "copy it again, or correct the sum",
                    ),
                    ..Verdict::new(withheld(HoldReason::Corrupt, &chosen.name))
                };
            }
            if let Some((reason, what)) = unsealed(sight, chosen, facts) {
                let problems = what.map_or_else(Vec::new, |what| problem(what, cure_of(reason)));
                return Verdict {
                    problems,
                    ..Verdict::new(withheld(reason, &chosen.name))
                };
            }
            let missing = sight.asked.must.iter();
            let missing = missing.filter_map(|text| Some((text, facts.lacks(text)?)));
            if let Some((text, reason)) =
                missing.min_by_key(|(_, reason)| *reason == HoldReason::NotReady)
            {
                let what =
                    format!("it does not contain {text:?}, as must_contain of an ota.toml asks");
                let cure = "build it with what is missing, or correct the list";
                let known = reason == HoldReason::LacksBytes;
                return Verdict {
                    problems: if known {
                        problem(&what, cure)
                    } else {
                        Vec::new()
                    },
                    ..Verdict::new(withheld(reason, &chosen.name))
                };
            }
            let whole = facts.proves_whole
                || chosen.renamed
                || beside.is_some_and(|beside| beside.md5.is_some() || beside.sha256.is_some())
                || sight.calm_for >= patience.quiet;
            if !whole {
                return Verdict::new(withheld(HoldReason::NotSettled, &chosen.name))
                    .waking(patience.quiet.saturating_sub(sight.calm_for));
            }
            let verdict = Verdict::new(Candidate::Offered(offered(sight, chosen, facts)));
            match sight.asked.prefix {
                Some(prefix) if facts.texts.get(prefix) == Some(&false) => Verdict {
                    problems: problem(
                        &format!(
                            "it does not contain {prefix:?}, so it may not find its way back here for the next update"
                        ),
                        "build it with the updater; or say in an ota.toml what it must contain, must_contain = [] for nothing",
                    ),
                    ..verdict
                },
                Some(_) | None => verdict,
            }
        }
    }
}

/// Why a file is not given in an org that has public keys.
fn unsealed<'a>(
    sight: &Sight<'_>,
    file: &Known,
    facts: &'a Facts,
) -> Option<(HoldReason, Option<&'a str>)> {
    let sealing = sight.sealing?;
    let beside = file.beside.as_deref();
    let Some(text) = beside.and_then(|beside| beside.signature.as_deref()) else {
        return Some((HoldReason::Unsigned, Some("there is no .minisig beside it")));
    };
    let Some(seal) = sealing.verdict(text, facts) else {
        return Some((HoldReason::NotReady, None));
    };
    if let Some(fault) = &seal.fault {
        return Some((HoldReason::Unsigned, Some(fault)));
    }
    let is_old = seal.signed_at < sealing.newest[place(file.kind)];
    (is_old && sight.ordered != Some(facts.id())).then_some((
        HoldReason::OldSignature,
        Some("it was signed before the image that this slot offered last"),
    ))
}

const fn cure_of(reason: HoldReason) -> &'static str {
    match reason {
        HoldReason::OldSignature => "if it is meant, sign it again",
        _ => "sign it with `minisign -Sm`, with a key of its org, and lay the .minisig beside it",
    }
}

fn contradicts(beside: &Beside, facts: &Facts) -> bool {
    beside.md5.is_some_and(|sum| sum != facts.md5)
        || beside.sha256.is_some_and(|sum| sum != facts.sha256)
}

fn offered(sight: &Sight<'_>, chosen: &Known, facts: &Arc<Facts>) -> Offer {
    let twin = sight
        .files
        .iter()
        .find(|file| names::twin_of(&file.name) == Some(&chosen.name));
    let compressed = twin.and_then(|twin| match &twin.outcome {
        Outcome::Sound(packed)
            if unsealed(sight, twin, packed).is_none()
                && packed.inflated_size.is_some()
                && packed.identities.md5.contains(&facts.md5) =>
        {
            Some(Arc::new(image(sight.path, twin, packed, sight.ordered)))
        }
        _ => None,
    });
    let new = Offer {
        image: Arc::new(image(sight.path, chosen, facts, sight.ordered)),
        compressed,
    };
    match sight.candidate {
        // Readers compare pointers; an offer that says the same stays the same.
        Candidate::Offered(old) if *old == new => old.clone(),
        _ => new,
    }
}

/// A file as devices and people are told of it, with what lies beside it. `ordered`: the image that a person ordered for
/// the slot.
pub fn image(folder: &Path, file: &Known, facts: &Arc<Facts>, ordered: Option<Sha256>) -> Image {
    let ordered = ordered == Some(facts.id());
    let beside = file.beside.as_deref();
    let told = beside.filter(|beside| beside.title.is_some() || beside.version.is_some());
    let facts = match told {
        None => facts.clone(),
        Some(beside) => Arc::new(Facts {
            title: beside.title.clone().or_else(|| facts.title.clone()),
            version: beside.version.clone().or_else(|| facts.version.clone()),
            ..Facts::clone(facts)
        }),
    };
    Image {
        kind: file.kind,
        path: folder.join(&*file.name).into(),
        facts,
        stamp: file.stamp,
        note: beside.and_then(|beside| beside.description.clone()),
        ordered,
    }
}
