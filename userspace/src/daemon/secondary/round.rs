//! One round: the primaries of a zone are asked one after the other, until one has what is wanted or nothing newer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::at_server::SerialListener;
use crate::daemon::life::refresh::Wanted;
use crate::daemon::state::Incoming;
use crate::transfer::client::{self, ClientError, Peer};
use crate::transfer::incoming::{AskedKind, Limits, TransferError, Transferred};
use crate::zone::{Name, Serial};

/// What is asked of the primaries of a zone.
pub struct Round {
    /// The zone.
    pub name: Name,
    /// Which zone of that name.
    pub identity: Arc<()>,
    /// What is wanted.
    pub wanted: Wanted,
    /// The serial, at the primaries, of the version that is here.
    pub since: Option<Serial>,
    /// Whom to ask, the first one first; or why one cannot be.
    pub primaries: Vec<(SocketAddr, Result<Peer, String>)>,
    /// How much a transfer may have.
    pub limits: Limits,
    /// How long it may take.
    pub within: Duration,
    /// In front of another server, who is told what that says of its serial before anything else is done.
    pub listener: Option<Arc<dyn SerialListener>>,
}

/// What came of a round.
pub struct RoundEnd {
    /// Who has failed, and why.
    pub failures: Vec<(SocketAddr, String)>,
    /// Who has answered, and what; none if nobody has.
    pub answer: Option<(SocketAddr, Answer)>,
}

/// What a primary has.
pub enum Answer {
    /// The version that is here.
    UpToDate,
    /// A version that is to be put in place.
    Incoming(Incoming),
}

/// Why a primary has given nothing that is of use.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("it has serial {theirs}, which is older than {ours}, the serial that is here")]
    Older { theirs: Serial, ours: Serial },
    #[error("what it has sent could not be looked at")]
    Lost,
}

impl From<TransferError> for Unanswered {
    fn from(error: TransferError) -> Unanswered {
        Unanswered::Client(error.into())
    }
}

impl Round {
    /// Asks. Of transfers no more go on at once than `transfers` allows.
    pub async fn run(&self, transfers: &Semaphore) -> RoundEnd {
        let mut failures = Vec::new();
        for (address, peer) in &self.primaries {
            let asked = match peer {
                Ok(peer) => self.ask(peer, transfers).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.clone()),
            };
            match asked {
                Ok(answer) => return RoundEnd { failures, answer: Some((*address, answer)) },
                Err(why) => failures.push((*address, why)),
            }
        }
        RoundEnd { failures, answer: None }
    }

    async fn ask(&self, peer: &Peer, transfers: &Semaphore) -> Result<Answer, Unanswered> {
        let ours = self.since.filter(|_| self.wanted != Wanted::Any);
        let since = self.since.filter(|_| self.wanted == Wanted::Newer);
        let (mut ours, mut since) = (ours, since);
        if let Some(known) = since {
            let said = client::serial(peer, &self.name).await;
            self.tell(&said).await;
            let theirs = said?;
            if theirs == known {
                return Ok(Answer::UpToDate);
            }
            if !theirs.is_newer_than(known) {
                if self.listener.is_none() {
                    return Err(Unanswered::Older { theirs, ours: known });
                }
                // What the server has is what is answered, whatever its serial.
                (ours, since) = (None, None);
            }
        }
        let _permit = transfers.acquire().await;
        let transferred = match since {
            None => self.transfer(peer, AskedKind::Zone).await?,
            Some(serial) => match self.transfer(peer, AskedKind::Since(serial)).await {
                Err(Unanswered::Client(error)) if error.may_try_whole() => {
                    tracing::debug!(zone = %self.name, "all of it is asked for: IXFR: {error}");
                    self.transfer(peer, AskedKind::Zone).await?
                }
                transferred => transferred?,
            },
        };
        match (&transferred, ours) {
            (Transferred::UpToDate(_), _) => Ok(Answer::UpToDate),
            (Transferred::Zone(zone), Some(ours)) if ours.is_newer_than(zone.serial()) => {
                Err(Unanswered::Older { theirs: zone.serial(), ours })
            }
            _ => Ok(Answer::Incoming(Incoming { transferred, since })),
        }
    }

    /// Tells who listens what a server has said. One that has said nothing may still have what it had.
    async fn tell(&self, said: &Result<Serial, ClientError>) {
        let Some(listener) = self.listener.clone() else { return };
        let said = match said {
            Ok(serial) => Ok(*serial),
            Err(error @ (ClientError::Transfer(_) | ClientError::Tsig(_))) => {
                Err(error.to_string())
            }
            Err(_) => return,
        };
        let (name, identity) = (self.name.clone(), Arc::clone(&self.identity));
        let told = tokio::task::spawn_blocking(move || listener.hear(&name, &identity, said));
        let _ = told.await;
    }

    async fn transfer(&self, peer: &Peer, kind: AskedKind) -> Result<Transferred, Unanswered> {
        let stream = client::transfer(peer, &self.name, kind, self.limits, self.within).await?;
        // A large zone takes seconds to be put in order.
        let finished = tokio::task::spawn_blocking(move || stream.finish()).await;
        Ok(finished.map_err(|_| Unanswered::Lost)??)
    }
}
