//! What several folders order together, and who is stricter.
//!
//! A device hears the strictest of all that is said on its way: in the folders above the image, and in all folders that
//! are above or at its seven slots. So no folder can loosen what another one holds.

use std::path::Path;

use super::{ByHand, Downgrade, HoldReason, Image, ImageKind, Policy};

/// What the `ota.toml` of one folder comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A policy.
    Policy(Policy),
    /// It cannot be read as one, and nobody knows what was meant; why, in words for people.
    Bad(Box<str>),
    /// It was found a moment ago, and nothing was known of the folder before.
    Fresh,
}

/// What one folder says, and in which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The file, relative to the root of the tree; or who ordered it, where it is in no file of the tree.
    pub file: Box<Path>,
    /// What it says.
    pub word: Word,
}

/// A value, and the file that says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said<'a, T> {
    /// The value.
    pub value: T,
    /// The file, relative to the root of the tree.
    pub file: &'a Path,
}

/// The strictest of two. Of equals the one nearer to the root, so that the order of asking does not count.
fn strictest<'a, T: Ord + Copy>(
    one: Option<Said<'a, T>>,
    other: Option<Said<'a, T>>,
) -> Option<Said<'a, T>> {
    let rank = |said: &Said<'a, T>| {
        let nearness = std::cmp::Reverse((said.file.components().count(), said.file));
        (said.value, nearness)
    };
    match (one, other) {
        (Some(one), Some(other)) => Some(if rank(&one) >= rank(&other) {
            one
        } else {
            other
        }),
        (one, other) => one.or(other),
    }
}

/// What several folders say together. Nothing is allocated: every poll of a tree with policies makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effective<'a> {
    /// A file that cannot be read as a policy: it holds.
    pub bad: Option<Said<'a, ()>>,
    /// A file that was found a moment ago: it holds until it is known.
    pub fresh: Option<Said<'a, ()>>,
    /// The emergency brake, with its reason.
    pub hold: Option<Said<'a, &'a str>>,
    /// Older versions.
    pub downgrade: Option<Said<'a, Downgrade>>,
    /// Nodes that were flashed by hand.
    pub by_hand: Option<Said<'a, ByHand>>,
}

impl<'a> Effective<'a> {
    /// What one folder says.
    #[must_use]
    pub fn of(order: &'a Order) -> Self {
        let file = &*order.file;
        let all = Self::default();
        match &order.word {
            Word::Bad(_) => Self {
                bad: Some(Said { value: (), file }),
                ..all
            },
            Word::Fresh => Self {
                fresh: Some(Said { value: (), file }),
                ..all
            },
            Word::Policy(policy) => Self {
                hold: policy.hold.as_deref().map(|value| Said { value, file }),
                downgrade: policy.downgrade.map(|value| Said { value, file }),
                by_hand: policy.by_hand.map(|value| Said { value, file }),
                ..all
            },
        }
    }

    /// What several folders say.
    #[must_use]
    pub fn together(orders: &[&'a Order]) -> Self {
        let all = orders.iter().map(|order| Self::of(order));
        all.fold(Self::default(), Self::and)
    }

    /// Both together: of each key the strictest value.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            bad: strictest(self.bad, other.bad),
            fresh: strictest(self.fresh, other.fresh),
            hold: strictest(self.hold, other.hold),
            downgrade: strictest(self.downgrade, other.downgrade),
            by_hand: strictest(self.by_hand, other.by_hand),
        }
    }

    /// Why nothing at all is given, whatever the image.
    #[must_use]
    pub const fn holds(&self) -> Option<HoldReason> {
        match self {
            Self { bad: Some(_), .. } => Some(HoldReason::BadPolicy),
            Self { hold: Some(_), .. } => Some(HoldReason::OnHold),
            Self { fresh: Some(_), .. } => Some(HoldReason::NotSettled),
            Self { .. } => None,
        }
    }
}

impl Order {
    /// The texts that it asks of an app; `None` where it does not say.
    #[must_use]
    pub fn must_contain(&self) -> Option<&[Box<str>]> {
        match &self.word {
            Word::Policy(policy) => policy.must_contain.as_deref(),
            Word::Bad(_) | Word::Fresh => None,
        }
    }
}

/// What the decision wants to know of all that is said on a device's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Brakes {
    /// Nothing is given, and why.
    pub held: Option<HoldReason>,
    /// No older version than the one that runs.
    pub no_downgrade: bool,
    /// A node that was flashed by hand is updated all the same.
    pub updates_by_hand: bool,
}

impl Brakes {
    /// What these orders come to, for this image.
    #[must_use]
    pub fn of(orders: &[&Order], image: Option<&Image>) -> Self {
        let together = Effective::together(orders);
        let by_hand = together.by_hand.map(|said| said.value);
        Self {
            held: together.holds().or_else(|| lacks(orders, image?)),
            no_downgrade: together.downgrade.map(|said| said.value) == Some(Downgrade::Never),
            updates_by_hand: by_hand == Some(ByHand::Update),
        }
    }
}

/// The image lacks a text that one of the orders asks for, or nobody has looked for it yet.
fn lacks(orders: &[&Order], image: &Image) -> Option<HoldReason> {
    if image.kind != ImageKind::Firmware {
        return None;
    }
    let texts = orders.iter().filter_map(|order| order.must_contain());
    texts.flatten().find_map(|text| image.facts.lacks(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Policy {
        Policy::parse(text).unwrap()
    }

    fn order(file: &str, word: Word) -> Order {
        Order {
            file: Path::new(file).into(),
            word,
        }
    }

    fn policy(file: &str, text: &str) -> Order {
        order(file, Word::Policy(parse(text)))
    }

    #[test]
    fn no_folder_loosens_what_another_one_holds() {
        let strict = policy(
            "ota.toml",
            "hold = true\ndowngrade = \"never\"\nby_hand = \"hold\"",
        );
        let loose = policy(
            "dev/ota.toml",
            "hold = false\ndowngrade = \"allow\"\nby_hand = \"update\"",
        );
        for orders in [[&strict, &loose], [&loose, &strict]] {
            let brakes = Brakes::of(&orders, None);
            assert_eq!(brakes.held, Some(HoldReason::OnHold));
            assert!(brakes.no_downgrade && !brakes.updates_by_hand);
        }
        let brakes = Brakes::of(&[&loose], None);
        assert_eq!(brakes.held, None);
        assert!(!brakes.no_downgrade && brakes.updates_by_hand);
    }

    #[test]
    fn of_equal_words_the_one_nearer_to_the_root_is_named() {
        let (near, far) = (
            policy("ota.toml", "downgrade = \"never\""),
            policy("dev/ota.toml", "downgrade = \"never\""),
        );
        let both = Effective::of(&far).and(Effective::of(&near));
        assert_eq!(both.downgrade.unwrap().file, Path::new("ota.toml"));
    }

    #[test]
    fn what_cannot_be_read_holds() {
        let bad = order("ota.toml", Word::Bad("line 1".into()));
        let fresh = order("ota.toml", Word::Fresh);
        let held = |order: &Order| Brakes::of(&[order], None).held;
        assert_eq!(held(&bad), Some(HoldReason::BadPolicy));
        assert_eq!(held(&fresh), Some(HoldReason::NotSettled));
    }

    fn any_order() -> impl Strategy<Value = Order> {
        let word = prop_oneof![
            Just(Word::Bad("line 1".into())),
            Just(Word::Fresh),
            (
                prop_oneof![Just(None), Just(Some("".into())), Just(Some("why".into()))],
                prop_oneof![
                    Just(None),
                    Just(Some(Downgrade::Allow)),
                    Just(Some(Downgrade::Never))
                ],
                prop_oneof![
                    Just(None),
                    Just(Some(ByHand::Update)),
                    Just(Some(ByHand::Hold))
                ],
            )
                .prop_map(|(hold, downgrade, by_hand)| Word::Policy(Policy {
                    hold,
                    downgrade,
                    by_hand,
                    must_contain: None,
                })),
        ];
        (0..4_usize, word).prop_map(|(at, word)| {
            order(
                [
                    "ota.toml",
                    "dev/ota.toml",
                    "dev/a/ota.toml",
                    "dev/b/ota.toml",
                ][at],
                word,
            )
        })
    }

    proptest! {
        #[test]
        fn the_strictest_wins_in_any_order_and_however_often_it_is_said(
            a in any_order(), b in any_order(), c in any_order(),
        ) {
            let (a, b, c) = (Effective::of(&a), Effective::of(&b), Effective::of(&c));
            prop_assert_eq!(a.and(b), b.and(a));
            prop_assert_eq!(a.and(b).and(c), a.and(b.and(c)));
            prop_assert_eq!(a.and(a), a);
            prop_assert!(a.holds().is_none() || a.and(b).holds().is_some());
        }
    }
}
