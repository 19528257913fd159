//! Failed logins slow the next ones down: per account and per address. Pure: time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::UserName;

/// Failures that cost nothing: typing errors.
const FREE: u32 = 3;
/// An account is never shut for longer, or strangers could lock its owner out.
const LONGEST_ACCOUNT: i64 = 30;
/// An address may wait longer.
const LONGEST_ADDRESS: i64 = 900;
/// After this time a failure is forgotten.
const MEMORY: SignedDuration = SignedDuration::from_hours(1);
/// Accounts and addresses remembered.
const MOST: usize = 10_000;

/// How long to wait before the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(SignedDuration);

impl Wait {
    /// In whole seconds, at least one: for `Retry-After`.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.as_secs().max(0) + 1
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Account(UserName),
    Address(IpAddr),
}

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Failures {
    fn wait(&self, longest: i64, now: Timestamp) -> Option<Wait> {
        let over = self.count.checked_sub(FREE)?;
        let seconds = 1_i64
            .checked_shl(over.min(32))
            .unwrap_or(longest)
            .min(longest);
        let left = SignedDuration::from_secs(seconds) - now.duration_since(self.last);
        // A clock that was set back must not lock anybody out.
        let left = left.min(SignedDuration::from_secs(seconds));
        (left > SignedDuration::ZERO).then_some(Wait(left))
    }
}

/// Remembers failures; bounded.
#[derive(Debug, Default)]
pub(super) struct Limiter(HashMap<Key, Failures>);

fn keys(user: &UserName, address: Option<IpAddr>) -> Vec<(Key, i64)> {
    let mut keys = vec![(Key::Account(user.clone()), LONGEST_ACCOUNT)];
    // A site of IPv6 has a whole /64 for itself.
    let network = address.map(|address| match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    });
    keys.extend(network.map(|network| (Key::Address(network), LONGEST_ADDRESS)));
    keys
}

impl Limiter {
    /// Counts a try as failed before it is made, so that many tries at once gain nothing.
    pub fn begin(
        &mut self,
        user: &UserName,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), Wait> {
        let keys = keys(user, address);
        let wait = keys
            .iter()
            .filter_map(|(key, longest)| self.0.get(key)?.wait(*longest, now))
            .max_by_key(|wait| wait.0);
        if let Some(wait) = wait {
            return Err(wait);
        }
        self.make_room(now);
        for (key, _) in keys {
            let failures = self.0.entry(key).or_insert(Failures {
                count: 0,
                last: now,
            });
            if now.duration_since(failures.last) > MEMORY {
                failures.count = 0;
            }
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
        Ok(())
    }

    /// The try was good: nothing is held against the account; of the address, only this try is forgotten, or one own
    /// account would open all others.
    pub fn succeeded(&mut self, user: &UserName, address: Option<IpAddr>) {
        for (key, _) in keys(user, address) {
            if matches!(key, Key::Account(_)) {
                self.0.remove(&key);
            } else if let Some(failures) = self.0.get_mut(&key) {
                failures.count = failures.count.saturating_sub(1);
            }
        }
    }

    fn make_room(&mut self, now: Timestamp) {
        if self.0.len() + 2 <= MOST {
            return;
        }
        self.0
            .retain(|_, failures| now.duration_since(failures.last) <= MEMORY);
        if self.0.len() + 2 > MOST {
            // Half goes, the oldest first, so that the work is rare.
            let mut times: Vec<Timestamp> = self.0.values().map(|failures| failures.last).collect();
            times.sort_unstable();
            let middle = times[times.len() / 2];
            self.0.retain(|_, failures| failures.last > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn user(name: &str) -> UserName {
        name.parse().unwrap()
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn three_errors_are_free_and_then_the_wait_doubles() {
        let mut limiter = Limiter::default();
        let (ada, here) = (user("ada"), address("192.0.2.1"));
        for _ in 0..3 {
            assert!(limiter.begin(&ada, here, at(0)).is_ok());
        }
        assert!(limiter.begin(&ada, here, at(0)).is_err());
        assert!(limiter.begin(&ada, here, at(1)).is_ok());
        assert!(limiter.begin(&ada, here, at(2)).is_err());
        assert!(limiter.begin(&ada, here, at(3)).is_ok());
    }

    #[test]
    fn an_account_is_slow_from_anywhere_and_an_address_for_any_account() {
        let mut limiter = Limiter::default();
        for last in 1..=3 {
            let from = address(&format!("192.0.2.{last}"));
            assert!(limiter.begin(&user("ada"), from, at(0)).is_ok());
        }
        assert!(
            limiter
                .begin(&user("ada"), address("192.0.2.9"), at(0))
                .is_err()
        );
        let mut limiter = Limiter::default();
        for last in 1..=3 {
            let from = address(&format!("2001:db8::{last}"));
            assert!(
                limiter
                    .begin(&user(&format!("u{last}")), from, at(0))
                    .is_ok()
            );
        }
        assert!(
            limiter
                .begin(&user("eve"), address("2001:db8::ffff"), at(0))
                .is_err()
        );
        assert!(
            limiter
                .begin(&user("eve"), address("2001:db8:0:1::1"), at(0))
                .is_ok()
        );
    }

    #[test]
    fn success_clears_the_account() {
        let mut limiter = Limiter::default();
        for _ in 0..10 {
            assert!(
                limiter
                    .begin(&user("ada"), address("192.0.2.1"), at(0))
                    .is_ok()
            );
            limiter.succeeded(&user("ada"), address("192.0.2.1"));
        }
    }

    #[test]
    fn a_flood_of_names_stays_in_bounds() {
        let mut limiter = Limiter::default();
        for n in 0..3 * MOST {
            assert!(
                limiter
                    .begin(&user(&format!("u{n}")), None, at(n as i64 / 1000))
                    .is_ok()
            );
            assert!(limiter.0.len() <= MOST);
        }
    }

    proptest! {
        #[test]
        fn nobody_is_locked_out_for_ever(tries in proptest::collection::vec(0_i64..100, 0..60)) {
            let mut limiter = Limiter::default();
            let mut now = 0;
            for step in tries {
                now += step;
                let _ = limiter.begin(&user("ada"), address("192.0.2.1"), at(now));
            }
            prop_assert!(limiter.begin(&user("ada"), address("192.0.2.2"), at(now + LONGEST_ACCOUNT)).is_ok());
            prop_assert!(limiter.begin(&user("bob"), address("192.0.2.1"), at(now + LONGEST_ADDRESS)).is_ok());
        }
    }
}
