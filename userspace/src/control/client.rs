//! The client's end of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{
    Failure, MAX_RESPONSE, ProtocolError, Request, Response, read_response, write_request,
};
use super::reply::Kind;

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
    /// What it says is not understood.
    #[error("the daemon at {} is not understood: {source}", path.display())]
    Misunderstood {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: ProtocolError,
    },
}

/// Asks the daemon at `path`, and waits no longer than `patience` for each part of the answer.
pub fn call<K: Kind>(path: &Path, request: &Request, patience: Duration) -> Result<K, CallError> {
    let line = exchange(path, request, patience)
        .map_err(|source| CallError::Unreachable { path: path.to_owned(), source })?;
    let protocol_error = |source| CallError::Misunderstood { path: path.to_owned(), source };
    match read_response(&line).map_err(protocol_error)? {
        Response::Reply(reply) => K::of(reply).ok_or_else(|| {
            let message = format!("this is not a reply to {request:?}");
            protocol_error(ProtocolError::Content(message))
        }),
        Response::Error(failure) => Err(failure.into()),
    }
}

fn exchange(path: &Path, request: &Request, patience: Duration) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(&write_request(request)?)?;
    let mut line = String::new();
    if BufReader::new(stream.take(MAX_RESPONSE)).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::control::protocol::{PROTOCOL, VERSION};
    use crate::control::reply::status::Stopping;
    use crate::control::reply::zone::ZoneList;

    /// What a command makes of a daemon that says this.
    fn parse_reply<K: Kind>(line: &str) -> Result<K, CallError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (stream, _) = listener.accept().unwrap();
                let mut asked = String::new();
                BufReader::new(&stream).read_line(&mut asked).unwrap();
                writeln!(&stream, "{line}").unwrap();
            });
            call(&path, &Request::Stop, Duration::from_secs(10))
        })
    }

    fn message<K: Kind + std::fmt::Debug>(line: &str) -> String {
        parse_reply::<K>(line).unwrap_err().to_string()
    }

    #[test]
    fn another_version_is_told_from_an_error() {
        let ours = format!("\"protocol\":{PROTOCOL},\"version\":\"{VERSION}\"");
        let stopping = parse_reply::<Stopping>(&format!(
            "{{{ours},\"reply\":{{\"stopping\":{{\"stopping\":true}}}}}}"
        ));
        assert_eq!(stopping.unwrap(), Stopping { stopping: true });

        // Before there were versions.
        let message_of = message::<Stopping>("{\"data\":{\"stopping\":true}}");
        assert!(message_of.contains("an earlier sealdns"), "{message_of}");
        assert!(message_of.contains(&format!("protocol {PROTOCOL}")), "{message_of}");
        // Later, with what we cannot know.
        let later = "{\"protocol\":99,\"version\":\"9.9.9\",\"reply\":7}";
        let message_of = message::<Stopping>(later);
        assert!(message_of.contains("sealdns 9.9.9, which speaks protocol 99"), "{message_of}");

        for (reply, expected) in [
            ("{\"stopping\":{\"stops\":true}}", "missing field `stopping`"),
            (
                "{\"stopping\":{\"stopping\":true,\"when\":1}}",
                "unknown field `reply.stopping.when`",
            ),
            ("{\"stopped\":{}}", "unknown variant `stopped`"),
            ("{\"zone-list\":{\"zones\":[]}}", "not a reply to Stop"),
        ] {
            let message_of = message::<Stopping>(&format!("{{{ours},\"reply\":{reply}}}"));
            assert!(message_of.contains(expected), "{message_of}");
        }
        let list = parse_reply::<ZoneList>(&format!(
            "{{{ours},\"reply\":{{\"zone-list\":{{\"zones\":[]}}}}}}"
        ));
        assert!(list.unwrap().zones.is_empty());

        let refused = format!(
            "{{{ours},\"error\":{{\"code\":\"busy\",\"message\":\"wait\",\"hint\":null}}}}"
        );
        assert!(matches!(parse_reply::<Stopping>(&refused), Err(CallError::Refused(_))));
    }
}
