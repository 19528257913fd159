//! Which texts are looked for in the apps of a folder. Part of the keeper.
//!
//! A device may be given an image under the policy of any folder on its way, and all of them are of its org. So the apps
//! of an org are searched for what any policy of the org, or of the root, asks for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::firmware::{ImageKind, Order, Sha256, Texts};

use super::catalog::{Known, Outcome};
use super::judge::{Asked, Sealing};
use super::keeper::Keeper;

fn org(rel: &Path) -> PathBuf {
    rel.components().take(1).collect()
}

/// What is asked of the images of one slot and kind, whichever way they came: by a policy, by keys, by a person.
pub(super) struct Terms {
    texts: Arc<[Box<str>]>,
    must: Texts,
    prefix: Option<Box<str>>,
    /// The org's keys, and how old a signature may be.
    pub sealing: Option<Sealing>,
    /// The image that a person ordered.
    pub ordered: Option<Sha256>,
}

impl Terms {
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            texts: &self.texts,
            must: &self.must,
            prefix: self.prefix.as_deref(),
        }
    }
}

impl Keeper {
    pub(super) fn terms(&mut self, rel: &Path, kind: ImageKind) -> Terms {
        let (texts, must, prefix) = match kind {
            ImageKind::Firmware => (self.texts(rel), self.must(rel), self.prefix(rel)),
            ImageKind::Filesystem => Default::default(),
        };
        Terms {
            texts,
            must,
            prefix,
            sealing: self.sealing(rel),
            ordered: self.digests.age(rel, kind).ordered,
        }
    }

    /// Texts to look for in apps of this folder.
    pub(super) fn texts(&mut self, rel: &Path) -> Arc<[Box<str>]> {
        let org = org(rel);
        if let Some(texts) = self.texts.get(&org) {
            return texts.clone();
        }
        let of_org = |(folder, _): &(&PathBuf, &Arc<Order>)| {
            folder.as_os_str().is_empty() || folder.starts_with(&org)
        };
        let asked = self.orders.iter().filter(of_org);
        let asked = asked
            .filter_map(|(_, order)| order.must_contain())
            .flatten();
        let mut texts: Vec<Box<str>> = asked.chain(&self.settings.prefix).cloned().collect();
        texts.sort();
        texts.dedup();
        let texts: Arc<[Box<str>]> = texts.into();
        self.texts.insert(org, texts.clone());
        texts
    }

    /// Texts that an app of this folder must contain.
    pub(super) fn must(&self, rel: &Path) -> Texts {
        self.above(rel).flatten().cloned().collect()
    }

    /// The text that is missed where no policy above says what an app must contain.
    pub(super) fn prefix(&self, rel: &Path) -> Option<Box<str>> {
        match self.above(rel).next() {
            Some(_) => None,
            None => self.settings.prefix.clone(),
        }
    }

    /// What the policies above a folder ask for, as far as they say.
    fn above(&self, rel: &Path) -> impl Iterator<Item = &[Box<str>]> {
        let folders = rel.ancestors().filter_map(|folder| self.orders.get(folder));
        folders.filter_map(|order| order.must_contain())
    }

    /// A policy asks for other texts than before: what it concerns is looked at again.
    pub(super) fn seek_anew(&mut self, rel: &Path) {
        self.texts.clear();
        // The first scan ends with a look at all files.
        if !self.catalog.complete {
            return;
        }
        for folder in self.with_images(&org(rel)) {
            self.enqueue(&folder);
        }
    }

    /// Files of the last run's cache may have been searched for other texts, or judged by other keys: they are examined
    /// again.
    pub(super) fn forget_unsought(&mut self) {
        for rel in self.with_images(Path::new("")) {
            let texts = self.texts(&rel);
            let asked = Asked {
                texts: &texts,
                ..Asked::default()
            };
            let sealing = self.sealing(&rel);
            let is_stale = |file: &Known| {
                let unsought = file.kind == ImageKind::Firmware && asked.is_news_to(file);
                let unsealed = sealing
                    .as_ref()
                    .is_some_and(|sealing| sealing.is_news_to(file));
                unsought || unsealed
            };
            let folder = self.catalog.at(&rel);
            if folder.is_some_and(|folder| folder.files.iter().any(is_stale)) {
                self.catalog.edit(&rel, |folder| {
                    for file in &mut folder.files {
                        if is_stale(file) {
                            file.outcome = Outcome::Pending;
                        }
                    }
                });
            }
        }
    }

    /// Folders with images, from this one on.
    pub(super) fn with_images(&self, below: &Path) -> Vec<PathBuf> {
        let mut all = Vec::new();
        self.catalog.visit(|rel, folder| {
            if rel.starts_with(below) && !folder.files.is_empty() {
                all.push(rel.to_owned());
            }
        });
        all
    }
}
