//! Which images must be signed, and not before which time. Part of the keeper.

use std::path::Path;
use std::sync::Arc;

use crate::firmware::{ImageKind, Keys, Offer};

use super::OrgKeys;
use super::catalog::Known;
use super::digests::Age;
use super::judge::Sealing;
use super::keeper::{KINDS, Keeper};

impl Keeper {
    fn keys_of(&self, rel: &Path) -> Option<&Arc<Keys>> {
        let org = rel.components().next()?.as_os_str().to_str()?;
        self.settings.keys.get(org)
    }

    /// What is asked of the signatures of a folder.
    pub(super) fn sealing(&self, rel: &Path) -> Option<Sealing> {
        let keys = self.keys_of(rel)?.clone();
        let newest = KINDS.map(|kind| self.digests.age(rel, kind).signed_at);
        Some(Sealing { keys, newest })
    }

    /// Who asks for a file by its name finds it in the catalogue.
    pub(super) fn set_sealing(&mut self, rel: &Path) {
        let sealing = self.sealing(rel);
        if self
            .catalog
            .at(rel)
            .is_some_and(|folder| folder.sealing.as_deref() != sealing.as_ref())
        {
            self.catalog
                .edit(rel, |folder| folder.sealing = sealing.map(Arc::new));
            self.changed = true;
        }
    }

    /// What the examination of a file has to judge of its signature.
    pub(super) fn seal_to_judge(&self, rel: &Path, file: &Known) -> Option<(Arc<Keys>, Box<str>)> {
        let text = file.beside.as_ref()?.signature.clone()?;
        Some((self.keys_of(rel)?.clone(), text))
    }

    /// An image is offered: none that was signed before it is given any more.
    pub(super) fn remember_seal(&mut self, rel: &Path, kind: ImageKind, offer: &Offer) {
        let (Some(_), Some(seal)) = (self.keys_of(rel), &offer.image.facts.seal) else {
            return;
        };
        let age = Age {
            signed_at: seal.signed_at,
            ..self.digests.age(rel, kind)
        };
        self.digests.set_age(rel, kind, age);
    }

    /// Other keys: what they concern is judged again.
    pub(super) fn take_keys(&mut self, keys: OrgKeys) {
        let old = std::mem::replace(&mut self.settings.keys, keys);
        let now = &self.settings.keys;
        let all = old.keys().chain(now.keys());
        let changed = all.filter(|org| old.get(*org) != now.get(*org));
        let changed: Vec<String> = changed.cloned().collect();
        for folder in changed
            .iter()
            .flat_map(|org| self.with_images(Path::new(org)))
            .collect::<Vec<_>>()
        {
            self.judge(&folder);
        }
    }
}
