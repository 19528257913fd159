//! The judge is held to his rules.

use super::*;
use crate::firmware::{Defect, Family, Identities, Md5, Stamp};
use crate::tree::catalog::Beside;
use proptest::prelude::*;

const PATIENCE: Patience = Patience {
    settle: Duration::from_secs(2),
    removal_grace: Duration::from_secs(60),
    quiet: Duration::from_secs(30),
};

const LONG: Duration = Duration::from_secs(3600);

fn file(name: &str, bytes: u8, modified: i64) -> Known {
    let facts = Facts {
        size: 1,
        md5: Md5::of(&[bytes]),
        sha256: Sha256::of(&[bytes]),
        family: Family::Unknown,
        version: None,
        title: None,
        flash_size: None,
        inflated_size: None,
        espressif_sdk: false,
        signed: false,
        proves_whole: true,
        texts: Default::default(),
        seal: None,
        identities: Identities::default(),
    };
    let names::Role::Candidate(kind, rank) = names::role(name) else {
        panic!("{name} is no candidate")
    };
    Known {
        name: name.into(),
        kind,
        rank,
        stamp: Stamp {
            inode: 1,
            size: 1,
            modified,
            changed: modified,
        },
        outcome: Outcome::Sound(Arc::new(facts)),
        racy: false,
        renamed: false,
        beside: None,
    }
}

fn with(mut file: Known, outcome: Outcome) -> Known {
    file.outcome = outcome;
    file
}

fn opaque(mut file: Known) -> Known {
    if let Outcome::Sound(facts) = &mut file.outcome {
        Arc::make_mut(facts).proves_whole = false;
    }
    file
}

/// A slot that is judged again and again, as the keeper does it.
#[derive(Default)]
struct Slot {
    files: Vec<Known>,
    candidate: Candidate,
    before: Option<Before>,
    rivals: Box<[Sha256]>,
}

impl Slot {
    fn of(files: &[Known]) -> Self {
        let mut slot = Self {
            files: files.to_vec(),
            ..Self::default()
        };
        slot.judge(LONG, Duration::ZERO);
        slot
    }

    fn judge(&mut self, calm_for: Duration, gone_for: Duration) -> Verdict {
        let verdict = judge(
            &Sight {
                path: Path::new("dev/key"),
                kind: ImageKind::Firmware,
                files: &self.files,
                candidate: &self.candidate,
                before: self.before.as_ref(),
                asked: Asked::default(),
                sealing: None,
                ordered: None,
                rivals: &self.rivals,
                calm_for,
                gone_for,
            },
            PATIENCE,
        );
        self.candidate = verdict.candidate.clone();
        if let (Candidate::Offered(offer), true) = (&self.candidate, verdict.chosen) {
            let name = offer.image.path.file_name().unwrap().to_str().unwrap();
            self.before = Some(Before {
                name: name.into(),
                id: Some(offer.image.facts.id()),
            });
            self.rivals = rivals(&self.rivals, &self.files);
        }
        verdict
    }

    /// The name of the file that is offered, or why none is.
    fn says(&mut self, calm_for: Duration, gone_for: Duration) -> String {
        match self.judge(calm_for, gone_for).candidate {
            Candidate::Offered(offer) => {
                let name = offer.image.path.file_name().unwrap();
                name.to_str().unwrap().to_owned()
            }
            Candidate::Withheld { reason, .. } => format!("held {reason}"),
            Candidate::Absent => "absent".to_owned(),
        }
    }
}

#[test]
fn an_unchanged_sound_file_stays_offered_while_others_come_and_go() {
    let a = file("a.bin", 1, 10);
    let mut slot = Slot::of(std::slice::from_ref(&a));
    slot.files = vec![a.clone(), with(file("b.bin", 2, 20), Outcome::Pending)];
    assert_eq!(slot.says(Duration::ZERO, Duration::ZERO), "a.bin");
    assert_eq!(slot.says(LONG, Duration::ZERO), "a.bin");
    slot.files = vec![a, file("b.bin", 2, 20)];
    assert_eq!(slot.says(Duration::from_secs(1), Duration::ZERO), "a.bin");
    assert_eq!(slot.says(LONG, Duration::ZERO), "b.bin");
}

#[test]
fn a_changed_file_waits_until_its_folder_is_quiet() {
    let mut slot = Slot::of(&[file("a.bin", 1, 10)]);
    slot.files = vec![file("a.bin", 2, 20)];
    let verdict = slot.judge(Duration::from_millis(500), Duration::ZERO);
    assert_eq!(verdict.candidate, withheld(HoldReason::NotSettled, "a.bin"));
    assert_eq!(verdict.wake, Some(Duration::from_millis(1500)));
    assert_eq!(slot.says(PATIENCE.settle, Duration::ZERO), "a.bin");
}

#[test]
fn a_removal_counts_after_the_grace_and_a_replacement_at_once() {
    let (a, b) = (file("a.bin", 1, 10), file("b.bin", 2, 20));
    let mut slot = Slot::of(&[a.clone(), b]);
    assert_eq!(slot.says(LONG, Duration::ZERO), "b.bin");
    slot.files = vec![a];
    let verdict = slot.judge(LONG, Duration::from_secs(59));
    assert!(verdict.gone);
    assert_eq!(verdict.wake, Some(Duration::from_secs(1)));
    assert_eq!(
        slot.says(LONG, Duration::from_secs(59)),
        "held just-removed"
    );
    assert_eq!(slot.says(LONG, Duration::from_secs(60)), "a.bin");
    slot.files = vec![file("c.bin", 3, 1)];
    assert_eq!(slot.says(LONG, Duration::ZERO), "c.bin");
    slot.files.clear();
    assert_eq!(slot.says(LONG, Duration::ZERO), "held just-removed");
    assert_eq!(slot.says(LONG, Duration::from_secs(60)), "absent");
}

#[test]
fn a_broken_file_of_the_best_rank_is_held_and_nothing_is_given_in_its_place() {
    let broken = || {
        with(
            file("firmware.bin", 9, 5),
            Outcome::Defective(Arc::new(Defect::corrupt("it ends early"))),
        )
    };
    let mut slot = Slot::of(&[file("a.bin", 1, 10), broken()]);
    assert_eq!(slot.says(LONG, Duration::ZERO), "held corrupt");
    let unreadable = with(
        file("firmware.bin", 9, 5),
        Outcome::Unreadable("no permission".into()),
    );
    slot.files = vec![file("a.bin", 1, 10), unreadable];
    assert_eq!(slot.says(LONG, Duration::ZERO), "held unreadable");
}

#[test]
fn a_file_that_cannot_prove_that_it_is_whole_needs_quiet_a_rename_or_a_sum() {
    let bare = opaque(file("a.bin", 1, 10));
    let mut slot = Slot {
        files: vec![bare.clone()],
        ..Slot::default()
    };
    assert_eq!(
        slot.says(Duration::from_secs(29), Duration::ZERO),
        "held not-settled"
    );
    assert_eq!(slot.says(Duration::from_secs(30), Duration::ZERO), "a.bin");
    let renamed = Known {
        renamed: true,
        ..bare.clone()
    };
    let summed = |sum| Known {
        beside: Some(Box::new(Beside {
            md5: Some(sum),
            ..Beside::default()
        })),
        ..bare.clone()
    };
    for (file, says) in [
        (renamed, "a.bin"),
        (summed(Md5::of(&[1])), "a.bin"),
        (summed(Md5::of(&[2])), "held corrupt"),
    ] {
        let mut slot = Slot {
            files: vec![file],
            ..Slot::default()
        };
        assert_eq!(slot.says(PATIENCE.settle, Duration::ZERO), says);
    }
}

/// What may happen to a slot without new bytes.
#[derive(Debug, Clone)]
enum Step {
    Touch(usize, i64),
    RemoveAndRestore(usize, i64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_usize, 0..100_i64).prop_map(|(at, time)| Step::Touch(at, time)),
        (0..4_usize, 0..100_i64).prop_map(|(at, time)| Step::RemoveAndRestore(at, time)),
        (0..10_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn without_new_bytes_no_sequence_of_touches_and_restores_changes_the_choice(
        times in proptest::collection::vec(0..100_i64, 4),
        steps in proptest::collection::vec(step(), 0..40),
    ) {
        let files: Vec<Known> = times
            .iter()
            .zip(0_u8..)
            .map(|(time, n)| file(&format!("{n}.bin"), n, *time))
            .collect();
        let mut slot = Slot::of(&files);
        let choice = slot.says(LONG, Duration::ZERO);
        for step in steps {
            match step {
                Step::Touch(at, time) => {
                    let outcome = slot.files[at].outcome.clone();
                    slot.files[at] = with(file(&format!("{at}.bin"), 0, time), Outcome::Pending);
                    slot.judge(Duration::ZERO, Duration::ZERO);
                    slot.judge(LONG, Duration::ZERO);
                    slot.files[at].outcome = outcome;
                }
                Step::RemoveAndRestore(at, time) => {
                    let gone = slot.files.remove(at);
                    let says = slot.says(Duration::from_secs(5), Duration::from_secs(5));
                    prop_assert!(says == choice || says == "held just-removed", "{says}");
                    let mut back = file(&gone.name, 0, time);
                    back.outcome = gone.outcome;
                    slot.files.insert(at, back);
                }
                Step::Wait(seconds) => {
                    slot.judge(Duration::from_secs(seconds), Duration::ZERO);
                }
            }
            prop_assert_eq!(slot.says(LONG, Duration::ZERO), choice.clone());
        }
    }

    #[test]
    fn a_slot_with_any_file_of_the_kind_is_never_absent(
        ranks in proptest::collection::vec(0..3_usize, 1..4),
        outcomes in proptest::collection::vec(0..4_u8, 4),
        calm in 0..100_u64,
        gone in 0..100_u64,
    ) {
        let mut slot = Slot::default();
        for (n, rank) in (0_u8..).zip(ranks) {
            let name = ["firmware.bin".to_owned(), format!("{n}.ino.bin"), format!("{n}.bin")][rank].clone();
            let sound = file(&name, n, i64::from(n));
            let outcome = match outcomes[usize::from(n)] {
                0 => sound.outcome.clone(),
                1 => Outcome::Pending,
                2 => Outcome::Unreadable("why".into()),
                _ => Outcome::Defective(Arc::new(Defect::corrupt("what"))),
            };
            slot.files.push(with(sound, outcome));
        }
        let says = slot.says(Duration::from_secs(calm), Duration::from_secs(gone));
        prop_assert_ne!(says, "absent");
    }
}
