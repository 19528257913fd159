//! One byte range against a known length, and the conditions of RFC 9110 that go with it.

/// Bytes `from..to`, never empty, within the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub from: u64,
    /// One past the last byte.
    pub to: u64,
}

/// What a `Range` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Everything: no header, several ranges, or one we do not understand (RFC 9110, 14.2: ignore it).
    All,
    /// These bytes.
    Part(Span),
    /// Nothing that is there: 416.
    Beyond,
}

/// Reads a `Range` header. An end past the last byte is clamped: the last piece of an ESP-IDF partial download ends one
/// past the end (`esp_https_ota.c`).
#[must_use]
pub fn parse_range(header: Option<&[u8]>, length: u64) -> Asked {
    let Some(text) = header.and_then(|header| std::str::from_utf8(header).ok()) else {
        return Asked::All;
    };
    let Some((unit, set)) = text.split_once('=') else {
        return Asked::All;
    };
    let Some((first, last)) = set.trim().split_once('-') else {
        return Asked::All;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Asked::All;
    }
    let number = |text: &str| -> Option<u64> {
        // `parse` alone would take "+1".
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", "") => Asked::All,
        ("", suffix) => match number(suffix) {
            None => Asked::All,
            Some(0) => Asked::Beyond,
            Some(_) if length == 0 => Asked::Beyond,
            Some(count) => Asked::Part(Span {
                from: length.saturating_sub(count),
                to: length,
            }),
        },
        (first, last) => {
            let end = if last.is_empty() {
                Some(u64::MAX)
            } else {
                number(last)
            };
            match (number(first), end) {
                (Some(from), Some(end)) if from > end => Asked::All,
                (Some(from), Some(_)) if from >= length => Asked::Beyond,
                (Some(from), Some(end)) => Asked::Part(Span {
                    from,
                    to: end.saturating_add(1).min(length),
                }),
                _ => Asked::All,
            }
        }
    }
}

/// An `If-None-Match` header names this tag, or any.
#[must_use]
pub fn none_match(header: Option<&[u8]>, tag: &str) -> bool {
    let Some(text) = header.and_then(|header| std::str::from_utf8(header).ok()) else {
        return false;
    };
    text.split(',')
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// The range counts: there is no `If-Range`, or it names this very tag. A date never does: two images of one second
/// would be mixed.
#[must_use]
pub fn if_range_holds(header: Option<&[u8]>, tag: &str) -> bool {
    header.is_none_or(|header| header.trim_ascii() == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(from: u64, to: u64) -> Asked {
        Asked::Part(Span { from, to })
    }

    #[test]
    fn ranges_of_real_clients() {
        for (header, wanted) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-", part(0, 1000)),
            ("bytes=500-", part(500, 1000)),
            ("bytes=0-499", part(0, 500)),
            ("bytes=900-1000", part(900, 1000)),
            ("bytes=900-99999999999999999999999", part(900, 1000)),
            ("bytes=-100", part(900, 1000)),
            ("bytes=-5000", part(0, 1000)),
            ("Bytes = 1-2", part(1, 3)),
            ("bytes=1000-", Asked::Beyond),
            ("bytes=1000-1000", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=5-4", Asked::All),
            ("bytes=0-1,4-5", Asked::All),
            ("bytes=", Asked::All),
            ("bytes=-", Asked::All),
            ("bytes=+1-2", Asked::All),
            ("bytes=a-b", Asked::All),
            ("lines=1-2", Asked::All),
            ("", Asked::All),
        ] {
            assert_eq!(
                parse_range(Some(header.as_bytes()), 1000),
                wanted,
                "{header:?}"
            );
        }
        assert_eq!(parse_range(None, 1000), Asked::All);
    }

    #[test]
    fn conditions_compare_tags() {
        assert!(none_match(Some(b"\"a\", W/\"b\""), "\"b\""));
        assert!(none_match(Some(b"*"), "\"b\""));
        assert!(!none_match(Some(b"\"a\""), "\"b\""));
        assert!(!none_match(None, "\"b\""));
        assert!(if_range_holds(None, "\"b\""));
        assert!(if_range_holds(Some(b"\"b\""), "\"b\""));
        assert!(!if_range_holds(Some(b"W/\"b\""), "\"b\""));
        assert!(!if_range_holds(
            Some(b"Sat, 01 Jan 2000 00:00:00 GMT"),
            "\"b\""
        ));
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_beyond(header: Vec<u8>, length: u64) {
            if let Asked::Part(span) = parse_range(Some(&header), length) {
                prop_assert!(span.from < span.to && span.to <= length);
            }
        }

        #[test]
        fn every_first_and_last_is_answered(first: u64, last: u64, length in 1u64..) {
            let header = format!("bytes={first}-{last}");
            match parse_range(Some(header.as_bytes()), length) {
                Asked::Part(span) => prop_assert_eq!((span.from, span.to), (first, last.saturating_add(1).min(length))),
                Asked::Beyond => prop_assert!(first >= length && first <= last),
                Asked::All => prop_assert!(first > last),
            }
        }
    }
}
