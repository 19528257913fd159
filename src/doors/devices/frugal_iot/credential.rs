//! What a device shows of itself: HTTP Basic, as the updaters' `setAuthorization` and the userinfo of a URL send it, or
//! Bearer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use crate::desk::{Credential, DeviceAnswer};
use crate::http::{Reply, text};

/// A credential as it was sent.
pub struct Shown {
    user: Option<String>,
    secret: String,
}

impl Shown {
    /// Reads it; `None` where there is none, or none that can be read.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, rest) = value.split_once(' ')?;
        let rest = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self {
                user: None,
                secret: rest.to_owned(),
            });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        let (user, secret) = pair.split_once(':')?;
        Some(Self {
            user: Some(user.to_owned()),
            secret: secret.to_owned(),
        })
    }

    /// The same in the words of the desk.
    pub fn credential(&self) -> Credential<'_> {
        Credential {
            user: self.user.as_deref(),
            secret: &self.secret,
        }
    }
}

/// What a device hears that may not ask; `None` for one that may. The updaters know both: 401 is "authentication failed",
/// 403 is "forbidden" (`ESP8266httpUpdate.cpp`, `HTTPUpdate.cpp`).
pub fn refusal(answer: DeviceAnswer) -> Option<Reply> {
    match answer {
        DeviceAnswer::Allowed => None,
        DeviceAnswer::Missing => {
            let said = "this org asks devices for a secret: HTTP Basic, the user is the node\n";
            let mut reply = text(StatusCode::UNAUTHORIZED, said);
            let how = HeaderValue::from_static("Basic realm=\"otatree\"");
            reply.headers_mut().insert(WWW_AUTHENTICATE, how);
            Some(reply)
        }
        DeviceAnswer::Wrong => {
            let said = "the device's secret is wrong, or the user is not its node\n";
            Some(text(StatusCode::FORBIDDEN, said))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> Option<(Option<String>, String)> {
        let value = HeaderValue::from_str(value).ok()?;
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        Shown::read(&headers).map(|shown| (shown.user, shown.secret))
    }

    #[test]
    fn basic_and_bearer_are_read_in_any_case() {
        let pair = (Some("node1".to_owned()), "a:b".to_owned());
        for scheme in ["Basic", "basic", "BASIC"] {
            assert_eq!(read(&format!("{scheme} bm9kZTE6YTpi")), Some(pair.clone()));
        }
        for scheme in ["Bearer", "bearer"] {
            assert_eq!(
                read(&format!("{scheme}  abc ")),
                Some((None, "abc".to_owned()))
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        for value in [
            "",
            "Basic",
            "Basic ",
            "Basic bm9kZTE=",
            "Basic !",
            "Basic /w==",
            "Digest a",
        ] {
            assert_eq!(read(value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_fall(value in "(Basic |Bearer )?\\PC{0,60}") {
            let _ = read(&value);
        }

        #[test]
        fn every_pair_comes_back(user in "[^:]{0,30}", secret in ".{0,60}") {
            let sent = format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")));
            prop_assert_eq!(read(&sent), Some((Some(user), secret)));
        }
    }
}
