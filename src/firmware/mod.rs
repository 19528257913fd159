//! Ground floor: the words and the decisions. Pure: no async, no files, no clock, no randomness; time is an argument.
//!
//! | file | what lives there |
//! |---|---|
//! | `word` | `Org`, `Project`, `NodeId`, `OtaKey`: the four words of a request |
//! | `digest` | `Md5`, `Sha256` |
//! | `device` | `Device`, `Visit`, `RunningImage`: who asks, and what it says of itself |
//! | `image` | `Facts`, `Image`, `Identities`: what the bytes of a file say |
//! | `format` | reading those facts out of ESP8266 and ESP32 images |
//! | `forge` | small well-formed images for tests, benches and the shipped samples; no server uses it |
//! | `seal` | signatures of dropped images |
//! | `slot` | the seven slots of a device, most specific first |
//! | `place` | `Slot`: a slot as people name it |
//! | `file_path` | a file of a slot, by its path in the tree |
//! | `decision` | `decide`: what a device hears |
//! | `policy`, `order` | `ota.toml`: what people order for folders, and who is stricter |
//! | `standing` | the loop guard: what a node has been given before |

mod decision;
mod device;
mod digest;
mod file_path;
pub mod forge;
pub mod format;
mod image;
mod order;
mod place;
mod policy;
mod seal;
mod slot;
mod standing;
mod word;

pub use decision::{Decision, Found, Guards, HoldReason, decide};
pub use device::{Device, DeviceFamily, RunningImage, Visit};
pub use digest::{Md5, ParseDigestError, Sha256};
pub use file_path::FilePath;
pub use image::{
    Defect, DefectKind, Esp32Chip, Facts, Family, Identities, Image, ImageKind, Offer, Stamp,
};
pub use order::{Brakes, Effective, Order, Said, Word};
pub use place::{ParseSlotError, Slot};
pub use policy::{ByHand, Downgrade, POLICY_FILE, Policy, PolicyError, Texts};
pub use seal::{Keys, KeysError, Seal};
pub use slot::{ANY_PROJECT, Part, SEARCH_ORDER, SlotPath};
pub use standing::{Delivery, Record, Standing};
pub use word::{NodeId, Org, OtaKey, ParseWordError, Project, RESERVED_ORGS};
