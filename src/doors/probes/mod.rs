//! `/healthz` and `/readyz`: for monitors and load balancers.
//!
//! `/healthz` is 200 as long as the process answers, and says what a person should know. `/readyz` is 503 while the server
//! ends, so that a balancer sends nobody here any more.

use std::sync::Arc;

use hyper::{Method, StatusCode};

use crate::health::Board;
use crate::http::{Answer, HttpDoor, Request, get_or_head, text};

/// Name of the condition that the server sets while it drains.
pub const DRAINING: &str = "draining";

/// The door.
pub struct Door {
    board: Arc<Board>,
}

impl Door {
    /// Answers from this board.
    #[must_use]
    pub const fn new(board: Arc<Board>) -> Self {
        Self { board }
    }
}

impl HttpDoor for Door {
    fn answer(&self, request: &Request) -> Answer {
        let ready = match request.path() {
            "/healthz" => false,
            "/readyz" => true,
            _ => return Answer::NotMine,
        };
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return Answer::Now(get_or_head());
        }
        let conditions = self.board.now();
        let status = if ready && conditions.contains_key(DRAINING) {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        let mut lines = String::from(if status == StatusCode::OK {
            "ok\n"
        } else {
            "not ready\n"
        });
        for (name, said) in conditions {
            lines.push_str(&format!("{name}: {said}\n"));
        }
        Answer::Now(text(status, lines))
    }
}
