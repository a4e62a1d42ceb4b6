//! NOTIFY messages sent and their answers received, over UDP: made and read by hickory-proto, signed by `transfer::tsig`.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{self, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::targets::{Notifier, Targets};
use crate::clock::Clock;
use crate::server::Shared;
use crate::transfer::tsig::{Keys, Verifier, sign_request};
use crate::zone::{Name, Serial};

/// Messages that are sent at once; the next ones after [`PAUSE`], so that a start with many zones floods nobody.
const BURST: usize = 50;
const PAUSE: Duration = Duration::from_millis(50);

/// How long an answer is waited for: longer than until the next message.
const ANSWER_WAIT: Duration = Duration::from_secs(120);

/// How long nothing is looked at while nothing is due.
const REST: Duration = Duration::from_secs(1);

/// The largest answer that is read: a header, a question, an SOA record and a TSIG record fit.
const MAX_ANSWER: usize = 4096;

/// A message that is not answered yet.
struct Sent {
    zone: Name,
    serial: Serial,
    verifier: Option<Verifier>,
    at: Instant,
}

/// The messages that are not answered yet, by server and id.
type Unanswered = HashMap<(SocketAddr, u16), Sent>;

/// Tells other servers of new serials until `stop` says true. To be called within a tokio runtime.
pub async fn serve(
    notifier: Arc<Notifier>,
    shared: Arc<Shared>,
    clock: Clock,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let ipv4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    // A host may have no IPv6.
    let ipv6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.ok();
    let mut unanswered = Unanswered::new();
    let (mut buffer4, mut buffer6) = (vec![0; MAX_ANSWER], vec![0; MAX_ANSWER]);
    loop {
        let now = clock.monotonic();
        unanswered.retain(|_, sent| now.duration_since(sent.at) < ANSWER_WAIT);
        let keys = shared.get().tsig_keys();
        for outgoing in notifier.take_due(now, &keys, &clock) {
            let Outgoing { address, message, id, sent } = outgoing;
            let socket = if address.is_ipv4() { Some(&ipv4) } else { ipv6.as_ref() };
            let is_sent = match socket {
                Some(socket) => socket.send_to(&message, address).await.map(drop),
                None => Err(io::Error::other("this host has no IPv6")),
            };
            match is_sent {
                Ok(()) => drop(unanswered.insert((address, id), sent)),
                Err(error) => notifier.fail(&sent, address, format!("sending failed: {error}")),
            }
        }
        let rest = notifier.rest(now);
        let received = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = tokio::time::sleep(rest) => continue,
            () = notifier.wake.notified() => continue,
            received = ipv4.recv_from(&mut buffer4) => received.map(|one| (one, &buffer4)),
            received = receive(ipv6.as_ref(), &mut buffer6) => received.map(|one| (one, &buffer6)),
        };
        // What the network says of a message that did not arrive is an error of the socket: the message is sent again.
        let Ok(((len, address), buffer)) = received else { continue };
        let mut answer = buffer[..len].to_vec();
        notifier.take_answer(&mut unanswered, address, &mut answer, &clock);
    }
}

async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

/// A message that is to be sent.
struct Outgoing {
    address: SocketAddr,
    message: Vec<u8>,
    id: u16,
    sent: Sent,
}

impl Notifier {
    /// The messages that are to be sent now.
    fn take_due(&self, now: Instant, keys: &Keys, clock: &Clock) -> Vec<Outgoing> {
        let mut outgoing = Vec::new();
        let mut zones = self.zones.hold();
        for (zone, known) in zones.iter_mut() {
            let due: Vec<_> = known.targets.due(now).take(BURST - outgoing.len()).collect();
            for (address, serial) in due {
                if !known.targets.send(address, now) {
                    let (serial, server) = (serial.0, address);
                    tracing::warn!(%zone, serial, %server, "a server does not answer NOTIFY");
                    continue;
                }
                let sent = Sent { zone: zone.clone(), serial, verifier: None, at: now };
                match message(zone, &known.soa) {
                    Ok((id, mut message)) => {
                        let key = known.key.as_ref().and_then(|name| keys.get(name));
                        let seconds = clock.wall().seconds();
                        let verifier = key.map(|key| sign_request(key, &mut message, seconds));
                        let sent = Sent { verifier, ..sent };
                        outgoing.push(Outgoing { address, message, id, sent });
                    }
                    Err(error) => known.targets.fail(address, serial, error),
                }
            }
            if outgoing.len() >= BURST {
                break;
            }
        }
        outgoing
    }

    /// How long there is nothing to send.
    fn rest(&self, now: Instant) -> Duration {
        let zones = self.zones.hold();
        let next = zones.values().filter_map(|known| known.targets.next()).min();
        next.map_or(REST, |next| next.saturating_duration_since(now).clamp(PAUSE, REST))
    }

    fn fail(&self, sent: &Sent, address: SocketAddr, error: String) {
        self.with_targets(&sent.zone, |targets| targets.fail(address, sent.serial, error));
    }

    fn with_targets(&self, zone: &Name, act: impl FnOnce(&mut Targets)) {
        if let Some(known) = self.zones.hold().get_mut(zone) {
            act(&mut known.targets);
        }
    }

    /// An answer has come: from whoever, and whatever it says.
    fn take_answer(
        &self,
        unanswered: &mut Unanswered,
        address: SocketAddr,
        answer: &mut Vec<u8>,
        clock: &Clock,
    ) {
        let Some(id) = answer.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)) else { return };
        let Some(sent) = unanswered.get_mut(&(address, id)) else { return };
        let said = match &mut sent.verifier {
            // What cannot be verified may be anybody's: the right answer may come yet, once at most.
            Some(verifier) => verifier
                .check(answer, clock.wall().seconds())
                .map_err(|error| error.to_string())
                .and_then(|()| said(answer, &sent.zone)),
            None => said(answer, &sent.zone),
        };
        let Some(sent) = unanswered.remove(&(address, id)) else { return };
        let (zone, serial) = (&sent.zone, sent.serial);
        match said {
            Ok(()) => {
                tracing::debug!(%zone, serial = serial.0, server = %address, "NOTIFY acknowledged");
                let at = clock.wall().signature_time();
                self.with_targets(zone, |targets| targets.acknowledge(address, serial, at));
            }
            Err(error) => self.fail(&sent, address, error),
        }
    }
}

/// A NOTIFY message and its id (RFC 1996 section 3): the question is for the SOA record, which is told as well.
fn message(zone: &Name, soa: &[u8]) -> Result<(u16, Vec<u8>), String> {
    let mut id = [0; 2];
    SystemRandom::new().fill(&mut id).map_err(|_| "there is no random number".to_owned())?;
    let id = u16::from_be_bytes(id);
    let name = rr::Name::from_bytes(zone.as_wire()).map_err(|error| error.to_string())?;
    let mut message = Message::new(id, MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    message.add_query(Query::query(name, RecordType::SOA));
    let mut message = message.to_vec().map_err(|error| error.to_string())?;
    // The record is octets already. Its owner is the question's name.
    message.extend_from_slice(&[0xc0, 12]);
    message.extend_from_slice(soa);
    message[7] = 1;
    Ok((id, message))
}

/// Whether an answer acknowledges the message.
fn said(answer: &[u8], zone: &Name) -> Result<(), String> {
    let answer = Message::from_vec(answer).map_err(|error| format!("malformed: {error}"))?;
    let is_answer = answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == OpCode::Notify;
    let is_of_zone = answer.queries.first().is_none_or(|query| {
        let name = rr::Name::from_bytes(zone.as_wire());
        name.is_ok_and(|name| name == *query.name())
    });
    if !is_answer || !is_of_zone {
        return Err("it answers something else".to_owned());
    }
    match answer.metadata.response_code {
        ResponseCode::NoError => Ok(()),
        code => Err(format!("it answers {code}")),
    }
}
