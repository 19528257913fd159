//! The log: to stderr, one line for each thing that a person may want to know.

use std::io::IsTerminal;

use otatree::config::{Level, LogConfig, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;

/// Starts the log. `RUST_LOG` wins over the level, for whoever looks for a fault in one room.
pub fn start(config: &LogConfig, level: Option<Level>) {
    let level = match level.unwrap_or(config.level) {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let filter = EnvFilter::try_from_default_env()
        // rustls says much at debug that helps nobody here, and warns of addresses in SNI, which real nodes send.
        .unwrap_or_else(|_| {
            EnvFilter::new(format!(
                "{level},rustls=error,tokio_rustls=error,notify=warn"
            ))
        });
    let builder = Subscriber::builder()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    // The journal has its own clock.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    match config.format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text if journal => builder.without_time().with_ansi(false).init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}
