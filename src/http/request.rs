//! A request as doors see it: words of the path, decoded once, and headers.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName};
use hyper::http::request::Parts;
use hyper::{Method, Version};
use smallvec::SmallVec;

use super::{Client, Scheme, Upload, Wire};

/// The words of a path; a device's path has no more than eight.
pub type Words<'a> = SmallVec<[Cow<'a, str>; 8]>;

/// A request. Its body is read by the door that wants it, and dropped unread by all others.
pub struct Request {
    parts: Parts,
    body: Mutex<Option<Incoming>>,
    wire: Arc<Wire>,
    client: Client,
    scheme: Scheme,
}

impl Request {
    /// A request that came over this wire, sent by `client` over `scheme`. The two differ from the wire's own where a trusted
    /// proxy says so.
    #[must_use]
    pub const fn new(
        parts: Parts,
        body: Option<Incoming>,
        wire: Arc<Wire>,
        client: Client,
        scheme: Scheme,
    ) -> Self {
        Self {
            parts,
            body: Mutex::new(body),
            wire,
            client,
            scheme,
        }
    }

    /// The same request with its body, in the words of the `http` crate. The body is there once.
    #[must_use]
    pub fn with_body(&self) -> hyper::Request<Upload> {
        let body = self
            .body
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut request = hyper::Request::new(Upload::new(body, self.wire.clone()));
        request.method_mut().clone_from(&self.parts.method);
        request.uri_mut().clone_from(&self.parts.uri);
        *request.version_mut() = self.parts.version;
        request.headers_mut().clone_from(&self.parts.headers);
        request
    }

    /// Who asks.
    #[must_use]
    pub const fn client(&self) -> Client {
        self.client
    }

    /// How it was sent.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// GET, HEAD, …
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.parts.method
    }

    /// HTTP/1.0 or 1.1.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.parts.version
    }

    /// The connection.
    #[must_use]
    pub const fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// All headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The first header of this name, as bytes.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&[u8]> {
        self.parts.headers.get(name).map(|value| value.as_bytes())
    }

    /// The path as it was sent, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The words of the path, percent-decoded one by one, so that a decoded slash does not split; one slash at the end is
    /// tolerated. `None` where the escapes are wrong or do not give UTF-8.
    #[must_use]
    pub fn words(&self) -> Option<Words<'_>> {
        let path = self.path().strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut words = Words::new();
        let mut start = 0;
        let mut escaped = false;
        // One pass over the bytes: every poll comes through here.
        for (at, byte) in path.bytes().enumerate() {
            match byte {
                b'/' => {
                    words.push(decode(&path[start..at], escaped)?);
                    (start, escaped) = (at + 1, false);
                }
                b'%' => escaped = true,
                _ => {}
            }
        }
        words.push(decode(&path[start..], escaped)?);
        Some(words)
    }
}

fn decode(word: &str, escaped: bool) -> Option<Cow<'_, str>> {
    if !escaped {
        return Some(Cow::Borrowed(word));
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::http::Records;

    fn words(path: &str) -> Option<Vec<String>> {
        let (parts, ()) = hyper::Request::builder()
            .uri(path)
            .body(())
            .unwrap()
            .into_parts();
        let client = Client::from(IpAddr::from([127, 0, 0, 1]));
        let wire = Wire::new(IpAddr::from([127, 0, 0, 1]), false, Records::Middle);
        Some(
            Request::new(parts, None, wire, client, Scheme::Http)
                .words()?
                .into_iter()
                .map(Cow::into_owned)
                .collect(),
        )
    }

    /// A word with some of its bytes as escapes, in either case.
    fn escaped(word: &str, all: bool, upper: bool) -> String {
        word.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' if !all => {
                    char::from(byte).to_string()
                }
                _ if upper => format!("%{byte:02X}"),
                _ => format!("%{byte:02x}"),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn words_come_back_as_they_were_escaped(
            sent in prop::collection::vec(any::<String>(), 1..6),
            all in any::<bool>(),
            upper in any::<bool>(),
            slash in any::<bool>(),
        ) {
            let mut path: String =
                sent.iter().map(|word| format!("/{}", escaped(word, all, upper))).collect();
            // An empty last word is itself a slash at the end.
            if slash || sent.last().is_some_and(String::is_empty) {
                path.push('/');
            }
            prop_assert_eq!(words(&path), Some(sent), "{}", path);
        }

        #[test]
        fn no_path_gives_words_that_it_does_not_have(path in "/([a-c/+.]|%[0-9a-fA-F]{2}|%[0-9g]?){0,24}") {
            let Some(words) = words(&path) else {
                // Refused only for an escape.
                prop_assert!(path.contains('%'), "{}", path);
                return Ok(());
            };
            // Escaped in full, both say the same bytes, slash for slash.
            let bytes = |text: &str| {
                text.split('%').enumerate().map(|(at, part)| {
                    let (escape, plain) = part.split_at(if at == 0 { 0 } else { 2 });
                    format!("{}{}", escape.to_lowercase(), plain.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())
                }).collect::<String>()
            };
            let inner = path.strip_prefix('/').unwrap();
            let inner = inner.strip_suffix('/').unwrap_or(inner);
            let sent: Vec<String> = inner.split('/').map(bytes).collect();
            let heard: Vec<String> =
                words.iter().map(|word| escaped(word, true, false).replace('%', "")).collect();
            prop_assert_eq!(heard, sent, "{}", path);
        }
    }

    #[test]
    fn words_are_decoded_once_and_one_by_one() {
        assert_eq!(
            words("/a/b%2Fc/d%252e/?q=/x").unwrap(),
            ["a", "b/c", "d%2e"]
        );
        assert_eq!(words("/a//b/").unwrap(), ["a", "", "b"]);
        assert_eq!(words("/%2e%2e/+/x%00").unwrap(), ["..", "+", "x\0"]);
        assert_eq!(words("/").unwrap(), [""]);
        for wrong in ["/%", "/%4", "/%zz", "/%ff"] {
            assert_eq!(words(wrong), None, "{wrong}");
        }
    }
}
