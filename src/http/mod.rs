//! The stairs: an HTTP kit that knows nothing of firmware. Requests with their words decoded once, replies, one byte
//! range against a known length, and the wire that the two share with the connection.

mod body;
mod client;
mod range;
mod reply;
mod request;
mod upload;
mod wire;

pub use body::Body;
pub use client::{Client, Peer, Scheme};
pub use range::{Asked, Span, if_range_holds, none_match, parse_range};
pub use reply::{Answer, HttpDoor, Reply, get_or_head, text};
pub use request::Request;
pub use upload::Upload;
pub use wire::{Delivery, Records, Wire};
