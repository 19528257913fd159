//! Asking a server: `--server URL`, else the control socket, else, if nothing runs, the same routes in this process over the
//! locked database. Every way speaks HTTP/1.1, so that a command does not know which one it went.

mod credential;
mod here;
mod payload;
mod remote;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use otatree::config::Config;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;

use super::UsageError;
use here::Way;
pub use payload::Payload;
use remote::Remote;

/// What every path begins with.
const ROOT: &str = "/api/v1/admin";

/// Larger answers are not ours.
const LARGEST: usize = 64 * 1024 * 1024;

/// How long an answer may take once everything was sent.
const PATIENCE: Duration = Duration::from_secs(300);

/// Which server is asked.
#[derive(clap::Args)]
pub struct ServerArgs {
    /// Ask this server [default: the one of the configuration, on this machine]
    #[arg(long, global = true, env = "OTATREE_SERVER", value_name = "URL")]
    server: Option<Remote>,
    /// Trust only the certificates in this PEM file, such as the server's own root
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// The token for --server [default: OTATREE_TOKEN, then ~/.config/otatree/token]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Machine-readable
    #[arg(long, global = true)]
    pub json: bool,
}

/// The server understood, and said no.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Refused {
    /// The number of its answer.
    pub status: StatusCode,
    detail: String,
}

/// Bytes both ways.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Somebody to ask.
pub struct Client {
    way: Way,
    token: Option<HeaderValue>,
    runtime: Runtime,
}

impl Client {
    /// The server that the arguments name, or that of the configuration.
    pub fn open(args: &ServerArgs, config: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let Some(server) = &args.server else {
            if args.cacert.is_some() || args.token_file.is_some() {
                let why = "--cacert and --token-file are for --server; the server of this machine needs neither";
                return Err(UsageError(why.to_owned()).into());
            }
            let config = Config::load(config)?;
            let way = runtime.block_on(here::way(config))?;
            return Ok(Self {
                way,
                token: None,
                runtime,
            });
        };
        let token = credential::find(args.token_file.as_deref())?;
        let way = Way::Remote(server.clone().trusting(args.cacert.as_deref())?);
        Ok(Self {
            way,
            token: Some(token),
            runtime,
        })
    }

    /// Asks for something.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, &[], Payload::empty())
    }

    /// Says something in JSON.
    pub fn tell(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        self.send(method, path, &json, Payload::whole(body.to_string()))
    }

    /// Does something that needs no words.
    pub fn act(&self, method: Method, path: &str) -> anyhow::Result<Value> {
        self.send(method, path, &[], Payload::empty())
    }

    /// One request and its answer; `Null` where that is empty.
    ///
    /// # Errors
    /// [`Refused`] when the server says no.
    pub fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        payload: Payload,
    ) -> anyhow::Result<Value> {
        let (status, bytes) = self
            .runtime
            .block_on(self.exchange(method, path, headers, payload))?;
        if status.is_success() {
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&bytes)
                .context("the server's answer is not JSON; is it an otatree?");
        }
        Err(refusal(status, &bytes).into())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        payload: Payload,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{ROOT}{path}"))
            .header(HOST, self.way.host())
            .header(CONTENT_LENGTH, payload.len());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(payload)?;
        let stream = self.way.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let lost = || format!("{} ended the connection before it answered", self.way);
        let answered = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
        let response = answered
            .with_context(|| format!("{} does not answer", self.way))?
            .with_context(lost)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect();
        let bytes = tokio::time::timeout(PATIENCE, body)
            .await
            .with_context(|| format!("{} does not end its answer", self.way))?
            .map_err(anyhow::Error::from_boxed)
            .with_context(lost)?
            .to_bytes();
        Ok((status, bytes))
    }
}

/// What the server says of its no: a problem (RFC 9457), or else its text.
fn refusal(status: StatusCode, bytes: &[u8]) -> Refused {
    let problem: Option<Value> = serde_json::from_slice(bytes).ok();
    let detail = problem.and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()));
    let detail = detail.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(500)]);
        format!("the server answered {status}: {}", text.trim())
    });
    Refused { status, detail }
}
