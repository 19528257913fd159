//! What is ordered on the way of a device or a file: the `ota.toml` of every folder above it and above its slots, and
//! what people hold there. Pure.
//!
//! Nothing here is computed beforehand: a policy in the root would have to be written into every folder of the tree. The
//! walk is at most nineteen names, allocates nothing, and is not made at all while the tree has no policy and nothing is held.

use smallvec::SmallVec;

use crate::firmware::{Device, FilePath, Order, SlotPath};

use super::catalog::Catalog;

/// At most as many folders lie above and at seven slots; what people hold comes on top, and is rare.
pub type Orders<'a> = SmallVec<[&'a Order; 11]>;

impl Catalog {
    /// What is ordered on the way of a device: in every folder above or at one of its seven slots.
    #[must_use]
    pub fn orders(&self, device: &Device) -> Orders<'_> {
        let mut all = Orders::new();
        if self.governed || !self.holds.is_empty() {
            for slot in device.slots() {
                self.collect(slot, &mut all);
            }
        }
        all
    }

    /// What is ordered above a file that is asked for by its name.
    #[must_use]
    pub fn orders_above(&self, path: &FilePath) -> Orders<'_> {
        let mut all = Orders::new();
        if self.governed || !self.holds.is_empty() {
            self.collect(path.slot(), &mut all);
        }
        all
    }

    fn collect<'a>(&'a self, slot: SlotPath<'_>, all: &mut Orders<'a>) {
        for order in self.holds.orders(slot.words()) {
            add(order, all);
        }
        let mut folder = self.root();
        let mut words = slot.words().iter();
        loop {
            if let Some(order) = folder.order.as_deref() {
                add(order, all);
            }
            match words.next().and_then(|word| folder.children.get(word)) {
                Some(child) => folder = child,
                None => return,
            }
        }
    }
}

fn add<'a>(order: &'a Order, all: &mut Orders<'a>) {
    if !all.iter().any(|known| std::ptr::eq(*known, order)) {
        all.push(order);
    }
}
