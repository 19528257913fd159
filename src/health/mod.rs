//! The status board: what a person should know now, said once in the log when it begins and once when it ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A lasting state of the server. Cheap to share behind an `Arc`.
#[derive(Debug, Default)]
pub struct Board {
    conditions: Mutex<BTreeMap<&'static str, String>>,
}

impl Board {
    /// Nothing to say.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that something is wrong, or is not any more (`None`). Logged when it begins, changes and ends.
    pub fn trouble(&self, name: &'static str, text: Option<String>) {
        if self.set(name, text.clone()) {
            match text {
                Some(text) => tracing::warn!(condition = name, "{text}"),
                None => tracing::info!(condition = name, "this is over"),
            }
        }
    }

    /// Says what is under way, or that it is done (`None`). Not logged: whoever does it logs what matters.
    pub fn progress(&self, name: &'static str, text: Option<String>) {
        self.set(name, text);
    }

    fn set(&self, name: &'static str, text: Option<String>) -> bool {
        let mut conditions = self
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match text {
            Some(text) => conditions
                .insert(name, text.clone())
                .is_none_or(|old| old != text),
            None => conditions.remove(name).is_some(),
        }
    }

    /// Everything that is to be said now, by name.
    #[must_use]
    pub fn now(&self) -> BTreeMap<&'static str, String> {
        self.conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
