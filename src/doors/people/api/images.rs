//! What is sent of slots and their images.

use serde::Serialize;
use utoipa::ToSchema;

use crate::firmware::{Facts, ImageKind};
use crate::office::{
    self, Candidate, Known, Outcome, Published, Removed, SlotView, Undone, Version,
};

/// What the bytes of an image say.
#[derive(Serialize, ToSchema)]
pub struct About {
    /// Its SHA-256.
    id: String,
    md5: String,
    size: u64,
    /// The chip family, such as `ESP8266` or `ESP32-C3`.
    family: String,
    title: Option<String>,
    version: Option<String>,
    signed: bool,
}

impl From<&Facts> for About {
    fn from(facts: &Facts) -> Self {
        let text = |of: &Option<Box<str>>| of.as_deref().map(str::to_owned);
        Self {
            id: facts.id().to_string(),
            md5: facts.md5.to_string(),
            size: facts.size,
            family: facts.family.to_string(),
            title: text(&facts.title),
            version: text(&facts.version),
            signed: facts.signed,
        }
    }
}

/// What a slot has of one kind.
#[derive(Serialize, ToSchema)]
pub struct Image {
    /// The file in the slot; nothing when it was removed a moment ago.
    file: Option<String>,
    /// Why no device gets it now; nothing when it is offered.
    held: Option<&'static str>,
    /// What its bytes say, when they were read and are sound.
    about: Option<About>,
    /// What is wrong with it.
    defect: Option<String>,
    /// What people wrote about it.
    description: Option<String>,
}

fn image(view: &SlotView, kind: ImageKind) -> Option<Image> {
    let known = view.chosen(kind);
    let file = known.map(|known| known.name.to_string());
    let (held, offered) = match view.candidate(kind) {
        Candidate::Absent => return None,
        Candidate::Withheld { reason, .. } => (Some(reason.slug()), None),
        Candidate::Offered(offer) => (None, Some(&offer.image)),
    };
    let outcome = known.map(|known| &known.outcome);
    let about = match (offered, outcome) {
        (Some(image), _) => Some((&*image.facts).into()),
        (None, Some(Outcome::Sound(facts))) => Some((&**facts).into()),
        _ => None,
    };
    let defect = match outcome {
        Some(Outcome::Defective(defect)) => Some(defect.to_string()),
        Some(Outcome::Unreadable(why)) => Some(why.to_string()),
        _ => None,
    };
    Some(Image {
        file,
        held,
        about,
        defect,
        description: known.and_then(description),
    })
}

fn description(known: &Known) -> Option<String> {
    let beside = known.beside.as_ref()?;
    beside.description.as_deref().map(str::to_owned)
}

/// A slot.
#[derive(Serialize, ToSchema)]
pub struct Slot {
    /// How a path of the API names it, such as `lotus:sht30_d1_mini`.
    slot: String,
    /// Its folder in the tree.
    path: String,
    /// Its ETag, without quotes; nothing when it holds no image file.
    revision: Option<String>,
    firmware: Option<Image>,
    filesystem: Option<Image>,
    /// What people hold there and above it, beside the `ota.toml` of the tree: no device gets anything.
    holds: Vec<Hold>,
    /// What is wrong in it, with the cure.
    problems: Vec<String>,
}

/// What somebody holds.
#[derive(Serialize, ToSchema)]
pub struct Hold {
    /// The folder in the tree; empty for everything.
    path: String,
    /// Empty where nobody said it.
    reason: String,
    by: String,
    #[schema(format = DateTime)]
    since: String,
}

impl From<&office::Hold> for Hold {
    fn from(hold: &office::Hold) -> Self {
        Self {
            path: hold.folder.to_string(),
            reason: hold.reason.to_string(),
            by: hold.by.to_string(),
            since: hold.since.to_string(),
        }
    }
}

impl From<&SlotView> for Slot {
    fn from(view: &SlotView) -> Self {
        Self {
            slot: view.slot.below_org(),
            path: view.slot.to_string(),
            revision: view.revision.map(|sum| sum.to_string()),
            firmware: image(view, ImageKind::Firmware),
            filesystem: image(view, ImageKind::Filesystem),
            holds: view.holds.iter().map(Hold::from).collect(),
            problems: view.problems().iter().map(ToString::to_string).collect(),
        }
    }
}

/// An image that is in its slot now.
#[derive(Serialize, ToSchema)]
pub struct Done {
    /// How a path of the API names the slot.
    slot: String,
    /// `firmware` or `filesystem`.
    kind: String,
    /// The file in the tree.
    path: String,
    /// The id of the image that the slot gave before.
    before: Option<String>,
    about: About,
    /// Files that stay in the slot and are not given while this one is there.
    shadowed: Vec<String>,
    /// Why no device gets it now; nothing when it is offered.
    held: Option<&'static str>,
    /// The slot's new ETag, without quotes.
    revision: Option<String>,
}

impl From<Published> for Done {
    fn from(done: Published) -> Self {
        Self {
            slot: done.slot.below_org(),
            kind: done.kind.to_string(),
            path: done.path.display().to_string(),
            before: done.before.map(|id| id.to_string()),
            about: (&*done.facts).into(),
            shadowed: done.shadowed.iter().map(ToString::to_string).collect(),
            held: done.held.map(crate::firmware::HoldReason::slug),
            revision: done.revision.map(|sum| sum.to_string()),
        }
    }
}

/// What is gone.
#[derive(Serialize, ToSchema)]
pub struct Gone {
    /// The files, in the tree.
    files: Vec<String>,
    /// The id of the image that the slot gave before.
    before: Option<String>,
}

impl From<Removed> for Gone {
    fn from(gone: Removed) -> Self {
        Self {
            files: gone
                .files
                .iter()
                .map(|file| file.display().to_string())
                .collect(),
            before: gone.before.map(|id| id.to_string()),
        }
    }
}

/// A kept image of a slot.
#[derive(Serialize, ToSchema)]
pub struct Kept {
    /// Its SHA-256.
    id: String,
    /// `firmware` or `filesystem`.
    kind: String,
    /// When it was kept.
    #[schema(format = DateTime)]
    kept: Option<String>,
    /// In bytes, as far as it is known.
    size: Option<u64>,
    /// The chip family, as far as it is known.
    family: Option<String>,
    title: Option<String>,
    version: Option<String>,
    description: Option<String>,
    /// The slot gives it now.
    current: bool,
}

impl From<Version> for Kept {
    fn from(version: Version) -> Self {
        Self {
            id: version.id.to_string(),
            kind: version.kind.to_string(),
            kept: version.kept.map(|at| at.to_string()),
            size: version.size,
            family: version.family.map(|family| family.to_string()),
            title: version.title.map(Into::into),
            version: version.version.map(Into::into),
            description: version.note.map(Into::into),
            current: version.current,
        }
    }
}

/// What became of one slot that a revoked token had changed.
#[derive(Serialize, ToSchema)]
pub struct Back {
    /// The slot's folder in the tree.
    path: String,
    /// `firmware` or `filesystem`.
    kind: String,
    /// What it went back to; nothing: it is empty, as it was.
    back_to: Option<String>,
    /// Why it was left as it is.
    failed: Option<String>,
}

impl From<Undone> for Back {
    fn from(undone: Undone) -> Self {
        Self {
            path: undone.slot.to_string(),
            kind: undone.kind.to_string(),
            back_to: undone.back_to.map(|id| id.to_string()),
            failed: undone.failed,
        }
    }
}

/// The fields of an upload; the file is the last one.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "it is the description of a form, which is read part by part"
)]
pub struct Form {
    /// `firmware` or `filesystem`.
    kind: Option<String>,
    title: Option<String>,
    version: Option<String>,
    description: Option<String>,
    /// `true`: also over an image for another chip family.
    force_family: Option<String>,
    /// The text of its .minisig.
    signature: Option<String>,
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}
