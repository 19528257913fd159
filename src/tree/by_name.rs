//! What one file gives that was asked for by its name, whichever file of its slot is the choice. Pure.

use std::path::Path;
use std::time::Duration;

use crate::firmware::{FilePath, Found, HoldReason, Offer};

use super::catalog::{Candidate, Catalog, Folder, Known};
use super::give::offer;
use super::judge::{Asked, Patience, Sight};

/// A rival is judged by its bytes and by what lies beside it alone: how long its slot has been quiet is not known here.
const NOW: Duration = Duration::ZERO;
const NEVER: Patience = Patience {
    settle: NOW,
    removal_grace: NOW,
    quiet: Duration::MAX,
};

impl Catalog {
    /// What a client finds that names a file. So far as a folder on the way could not be read, nobody knows.
    #[must_use]
    pub fn find_file(&self, path: &FilePath) -> Found {
        let tried = self.reach(path.slot());
        let unread = match tried.unread {
            true => Found::Withheld(HoldReason::Unreadable),
            false => Found::Nothing,
        };
        let Some(folder) = tried.folder else {
            return unread;
        };
        folder
            .files
            .iter()
            .find(|file| *file.name == *path.name())
            .map_or(unread, |file| by_name(&path.folder(), folder, file))
    }
}

fn by_name(path: &Path, folder: &Folder, file: &Known) -> Found {
    let is = |name: Option<&str>| name == Some(&*file.name);
    match folder.candidate(file.kind) {
        Candidate::Offered(offer)
            if is(offer.image.path.file_name().and_then(|name| name.to_str())) =>
        {
            alone(offer.clone())
        }
        Candidate::Withheld { reason, file } if is(file.as_deref()) => Found::Withheld(*reason),
        // The slot as a whole is not at rest.
        Candidate::Withheld {
            reason:
                reason @ (HoldReason::NotSettled | HoldReason::NotReady | HoldReason::JustRemoved),
            ..
        } => Found::Withheld(*reason),
        candidate @ (Candidate::Absent | Candidate::Offered(_) | Candidate::Withheld { .. }) => {
            let sight = Sight {
                path,
                kind: file.kind,
                files: &folder.files,
                candidate,
                before: None,
                rivals: &[],
                asked: Asked::default(),
                sealing: folder.sealing.as_deref(),
                ordered: None,
                calm_for: NOW,
                gone_for: NOW,
            };
            match offer(&sight, NEVER, file).candidate {
                Candidate::Offered(offer) => alone(offer),
                Candidate::Withheld { reason, .. } => Found::Withheld(reason),
                Candidate::Absent => Found::Nothing,
            }
        }
    }
}

/// Who names a file means that file, and not its compressed twin.
fn alone(offer: Offer) -> Found {
    Found::Offered(Offer {
        compressed: None,
        ..offer
    })
}
