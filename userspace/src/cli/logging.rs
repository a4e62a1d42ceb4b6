//! The daemon's log: one line per event on stderr; as JSON, every line is.
//!
//! A log costs its lines and nothing else. Its reader may have gone (a pipe without a reader, a closed
//! terminal), its disk may be full, it may have stopped reading: then lines are lost, and counted, and
//! the thread that wrote them goes on at once.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing_subscriber::EnvFilter;

/// Which events are logged: a filter such as `debug` or `sealdns=debug`.
const LOG_VARIABLE: &str = "SEALDNS_LOG";

/// How long a line waits for a reader that is slow, in milliseconds; none waits behind one that did so in vain.
const PATIENCE_MS: u16 = 1000;

/// Octets written at once. A pipe that is ready has room for as many (PIPE_BUF in pipe(7)), so that the
/// writer does not block.
const AT_ONCE: usize = 4096;

/// Starts logging, as text or as JSON. Colour only on a terminal, and never with `NO_COLOR` set.
pub fn start(json: bool) {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Log { to: io::stderr(), state: &STDERR })
        // It would say so on stderr, and panic there.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && !no_color);
    // A second start (as in tests) leaves the first in place.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

/// What is known of who reads stderr.
static STDERR: State = State { is_stuck: AtomicBool::new(false), lost: AtomicU64::new(0) };

struct State {
    /// Whether the last line found no reader in time.
    is_stuck: AtomicBool,
    /// Lines lost since the last one that was written.
    lost: AtomicU64,
}

/// Writes whole lines, or loses them. Never fails.
struct Log<W> {
    to: W,
    state: &'static State,
}

impl<W: Write + AsFd> Log<W> {
    /// Whether something can be written without waiting for longer than is left.
    fn is_ready(&self) -> bool {
        let patience_ms = if self.state.is_stuck.load(Relaxed) { 0 } else { PATIENCE_MS };
        let mut stderr = [PollFd::new(self.to.as_fd(), PollFlags::POLLOUT)];
        let polled = poll(&mut stderr, PollTimeout::from(patience_ms));
        // Of what cannot be polled writing will tell.
        let is_ready = polled.map_or(true, |ready| ready > 0);
        self.state.is_stuck.store(!is_ready, Relaxed);
        is_ready
    }

    fn try_write(&mut self, text: &[u8]) -> bool {
        text.chunks(AT_ONCE).all(|part| self.is_ready() && self.to.write_all(part).is_ok())
    }
}

impl<W: Write + AsFd> Write for Log<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let lost = self.state.lost.swap(0, Relaxed);
        let notice = format!("{lost} lines of the log could not be written before this one\n");
        let is_written = (lost == 0 || self.try_write(notice.as_bytes())) && self.try_write(line);
        if !is_written {
            self.state.lost.fetch_add(lost + 1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn log(to: io::PipeWriter) -> (Log<io::PipeWriter>, &'static State) {
        let state = State { is_stuck: AtomicBool::new(false), lost: AtomicU64::new(0) };
        let state = Box::leak(Box::new(state));
        (Log { to, state }, state)
    }

    #[test]
    fn a_reader_that_has_gone_costs_lines() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let (mut log, state) = log(writer);
        drop(reader);
        for _ in 0..3 {
            log.write_all(b"nobody reads this\n").expect("writing never fails");
        }
        assert_eq!(state.lost.load(Relaxed), 3);
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up_and_is_told_what_it_missed() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let (mut log, state) = log(writer);
        // More than a pipe holds, of lines longer than what is written at once.
        let line = [&[b'x'; 2 * AT_ONCE][..], b"\n"].concat();
        for _ in 0..100 {
            log.write_all(&line).expect("writing never fails");
        }
        let lost = state.lost.load(Relaxed);
        assert!(lost > 0 && lost < 100, "{lost}");
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).expect("text");
            text
        });
        while state.lost.load(Relaxed) > 0 {
            log.write_all(b"again\n").expect("writing never fails");
        }
        drop(log);
        let text = reading.join().expect("it was read");
        assert!(text.contains("lines of the log could not be written before this one\nagain\n"));
    }
}
