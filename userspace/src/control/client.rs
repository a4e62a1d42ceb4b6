//! The client's end of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Failure, MAX_RESPONSE, Request, Response};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there, or we may not ask.
    #[error("no daemon answers at {}: {source}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon says no.
    #[error(transparent)]
    Refused(#[from] Failure),
}

/// Asks the daemon at `path`, and waits no longer than `patience` for each part of the answer.
pub fn call(
    path: &Path,
    request: &Request,
    patience: Duration,
) -> Result<serde_json::Value, CallError> {
    match exchange(path, request, patience) {
        Ok(Response::Data(data)) => Ok(data),
        Ok(Response::Error(failure)) => Err(failure.into()),
        Err(source) => Err(CallError::Unreachable { path: path.to_owned(), source }),
    }
}

fn exchange(path: &Path, request: &Request, patience: Duration) -> io::Result<Response> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut line = String::new();
    if BufReader::new(stream.take(MAX_RESPONSE)).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}
