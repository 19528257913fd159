//! What a device hears. In every doubt it is "nothing new": the device asks again in an hour.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Brakes, DeviceFamily, Image, ImageKind, Offer, RunningImage, Standing, Visit};

/// Why an image that is there is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldReason {
    /// Its folder changed a moment ago.
    NotSettled,
    /// Its bytes are not examined yet, or could not be read in time.
    NotReady,
    /// It was removed a moment ago; it may be on its way back (git checkout, rsync, rm and cp).
    JustRemoved,
    /// Truncated, changed or badly built.
    Corrupt,
    /// Sound, but not the app: boot loader, partitions, merged image.
    NotAnApp,
    /// The file or its folder cannot be read.
    Unreadable,
    /// Made for another chip family, for none that its bytes tell, or by another SDK than an ESP8266's Arduino core.
    WrongFamily,
    /// An app where a filesystem was asked for, or the reverse.
    WrongKind,
    /// Larger than the free space, or made for a larger flash.
    DoesNotFit,
    /// Delivered in full several times, and the device still reports something else.
    DoesNotStick,
    /// The device's headers contradict each other, one of them cannot be what it says, or they tell neither what it
    /// runs nor who it is.
    BadReport,
    /// Too many downloads at once.
    Busy,
    /// An `ota.toml` on the device's way says `hold`.
    OnHold,
    /// An `ota.toml` on the device's way cannot be read as a policy.
    BadPolicy,
    /// Older than what the device runs, where `downgrade = "never"`.
    Downgrade,
    /// The device was flashed by hand, and the image is not newer than that.
    ByHand,
    /// It lacks a text of `must_contain`.
    LacksBytes,
    /// Its org has public keys, and it has no valid signature.
    Unsigned,
    /// Its signature is older than that of the image that its slot offered last.
    OldSignature,
}

impl HoldReason {
    /// Its name on the wire, in logs and in JSON.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::NotSettled => "not-settled",
            Self::NotReady => "not-ready",
            Self::JustRemoved => "just-removed",
            Self::Corrupt => "corrupt",
            Self::NotAnApp => "not-an-app",
            Self::Unreadable => "unreadable",
            Self::WrongFamily => "wrong-family",
            Self::WrongKind => "wrong-kind",
            Self::DoesNotFit => "does-not-fit",
            Self::DoesNotStick => "does-not-stick",
            Self::BadReport => "bad-report",
            Self::Busy => "busy",
            Self::OnHold => "on-hold",
            Self::BadPolicy => "bad-policy",
            Self::Downgrade => "downgrade",
            Self::ByHand => "by-hand",
            Self::LacksBytes => "lacks-bytes",
            Self::Unsigned => "unsigned",
            Self::OldSignature => "old-signature",
        }
    }

    /// A person ordered it by an `ota.toml`, whoever asks.
    #[must_use]
    pub const fn is_ordered(self) -> bool {
        matches!(self, Self::OnHold | Self::BadPolicy | Self::LacksBytes)
    }

    /// One sentence for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotSettled => {
                "its folder changed a moment ago; it is offered when the folder has been quiet"
            }
            Self::NotReady => "it is not examined yet, or could not be read in time",
            Self::JustRemoved => "it was removed a moment ago and may be on its way back",
            Self::Corrupt => "the file is truncated, changed or badly built",
            Self::NotAnApp => "the file is not the app",
            Self::Unreadable => "the file or its folder cannot be read",
            Self::WrongFamily => {
                "it was made for another chip family, or is no Arduino image and an Arduino node asks"
            }
            Self::WrongKind => "it is an app where a filesystem was asked for, or the reverse",
            Self::DoesNotFit => {
                "it is larger than the device's free space, or made for a larger flash chip"
            }
            Self::DoesNotStick => {
                "it was delivered in full several times, and the device still reports something else"
            }
            Self::BadReport => {
                "the device's headers contradict each other, its hash cannot be one, or they tell neither what it runs nor who it is"
            }
            Self::Busy => "too many downloads at once",
            Self::OnHold => {
                "an ota.toml above the image or one of the device's slots says hold, or a person does; `otatree which` names it"
            }
            Self::BadPolicy => {
                "an ota.toml above the image or one of the device's slots is broken (`otatree check` says how), or the server's holds.json is (its log and `/healthz` say how)"
            }
            Self::Downgrade => {
                "it is older than what the device runs, and an ota.toml says downgrade = \"never\""
            }
            Self::ByHand => {
                "the device was flashed by hand with what never was in this tree; the next image that is newer is given"
            }
            Self::LacksBytes => "it lacks a text that an ota.toml says it must contain",
            Self::Unsigned => "its org has public keys, and it has no valid .minisig beside it",
            Self::OldSignature => {
                "it was signed before the image that this slot offered last; sign it again if it is meant"
            }
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

/// What the search of the seven slots found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No slot holds a candidate of the kind asked for.
    Nothing,
    /// The first slot that holds a candidate withholds it.
    Withheld(HoldReason),
    /// The first slot that holds a candidate offers it.
    Offered(Offer),
}

impl Found {
    /// The image that is offered.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        match self {
            Self::Offered(offer) => Some(&offer.image),
            Self::Nothing | Self::Withheld(_) => None,
        }
    }
}

/// The answer to a visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// No slot of the device holds an image.
    NoImage,
    /// It runs the image that it would get.
    UpToDate,
    /// There is an image, and it is not given.
    Held(HoldReason),
    /// It gets this image.
    Update(Arc<Image>),
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoImage => f.write_str("no-image"),
            Self::UpToDate => f.write_str("up-to-date"),
            Self::Held(reason) => write!(f, "held {reason}"),
            Self::Update(_) => f.write_str("update"),
        }
    }
}

/// Rules that an operator sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guards {
    /// Complete downloads without effect after which an image is held; 0 is off.
    pub loop_limit: u32,
}

/// Decides one visit. `brakes` are what the policies on its way say. `standing` is asked only when the answer depends on what the device was given before; `None` is a
/// device of which nothing can be remembered.
pub fn decide(
    found: &Found,
    visit: &Visit,
    guards: Guards,
    brakes: Brakes,
    standing: impl FnOnce(&Image) -> Option<Standing>,
) -> Decision {
    let offer = match found {
        Found::Nothing => return Decision::NoImage,
        Found::Withheld(reason) => return Decision::Held(*reason),
        Found::Offered(offer) => offer,
    };
    if !visit.is_updater() {
        return match (brakes.held, visit.takes(&offer.image.facts)) {
            (Some(reason), _) => Decision::Held(reason),
            (None, true) => Decision::Update(offer.image.clone()),
            (None, false) => Decision::Held(HoldReason::WrongFamily),
        };
    }
    if visit.running == RunningImage::Unreadable {
        return Decision::Held(HoldReason::BadReport);
    }
    // The slots are searched by kind; a file that is asked for by its name may be of the other.
    if visit.kind != offer.image.kind {
        return Decision::Held(HoldReason::WrongKind);
    }
    if visit.runs(offer) {
        return Decision::UpToDate;
    }
    if let Some(reason) = brakes.held {
        return Decision::Held(reason);
    }
    if visit.kind == ImageKind::Firmware && !visit.takes(&offer.image.facts) {
        return Decision::Held(HoldReason::WrongFamily);
    }
    if brakes.no_downgrade && !offer.image.ordered && is_downgrade(&offer.image, visit) {
        return Decision::Held(HoldReason::Downgrade);
    }
    let Some(image) = fitting(offer, visit) else {
        return Decision::Held(HoldReason::DoesNotFit);
    };
    let Some(standing) = standing(image) else {
        // Given now, it would be given at every poll.
        return match reports_nothing_of(visit) {
            true => Decision::Held(HoldReason::BadReport),
            false => Decision::Update(image.clone()),
        };
    };
    if standing.latest && reports_nothing_of(visit) {
        return Decision::UpToDate;
    }
    if standing.by_hand && !brakes.updates_by_hand {
        return Decision::Held(HoldReason::ByHand);
    }
    if standing.does_not_stick(guards.loop_limit) {
        return Decision::Held(HoldReason::DoesNotStick);
    }
    Decision::Update(image.clone())
}

/// The image is older than what the device says it runs. Only versions of the form that has an order can be compared.
fn is_downgrade(image: &Image, visit: &Visit) -> bool {
    let version = |text: Option<&str>| semver::Version::parse(text?).ok();
    let running = version(visit.version.as_deref());
    match (version(image.facts.version.as_deref()), running) {
        // What stands behind `+` has no order.
        (Some(offered), Some(running)) => offered.cmp_precedence(&running).is_lt(),
        (None, _) | (_, None) => false,
    }
}

/// What the device reports cannot tell whether it runs such an image, so one complete download has to do.
const fn reports_nothing_of(visit: &Visit) -> bool {
    matches!(visit.kind, ImageKind::Filesystem) || matches!(visit.running, RunningImage::Unhashed)
}

/// The image, or its compressed twin for an ESP8266 that is short of space; `None` when neither fits.
fn fitting<'a>(offer: &'a Offer, visit: &Visit) -> Option<&'a Arc<Image>> {
    if fits(&offer.image, visit) {
        return Some(&offer.image);
    }
    let twin = offer.compressed.as_ref()?;
    (visit.family == DeviceFamily::Esp8266 && fits(twin, visit)).then_some(twin)
}

fn fits(image: &Image, visit: &Visit) -> bool {
    // The free space is that of the app; a filesystem has its own partition, whose size no request tells.
    let space = image.kind == ImageKind::Filesystem
        || visit.free_space.is_none_or(|free| image.facts.size <= free);
    // Only the ESP8266 core compares the two, and refuses the image after the download has begun.
    let flash = visit.family != DeviceFamily::Esp8266
        || match (image.facts.flash_size, visit.chip_size) {
            (Some(made_for), Some(chip)) => made_for <= chip,
            (None, _) | (_, None) => true,
        };
    space && flash
}
