//! The daemon's log: one line per event on stderr; as JSON, every line is.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Which events are logged: a filter such as `debug` or `sealdns=debug`.
const LOG_VARIABLE: &str = "SEALDNS_LOG";

/// Starts logging, as text or as JSON. Colour only on a terminal, and never with `NO_COLOR` set.
pub fn start(json: bool) {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal() && !no_color);
    // A second start (as in tests) leaves the first in place.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
    if json {
        std::panic::set_hook(Box::new(|panic| tracing::error!("a fault of this program: {panic}")));
    }
}
