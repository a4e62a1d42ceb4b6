//! The EDNS option edns-tcp-keepalive (RFC 7828): how long a connection may wait for its next query. It is the sockets' alone:
//! over UDP, and so in XDP, it is an option that nobody knows ("MUST ignore the option", section 3.3.1).

use std::time::Duration;

use super::message::{Query, add_option};
use crate::compile::MAX_TCP_MESSAGE;

/// Its code.
const CODE: u16 = 11;

/// What TIMEOUT counts (section 3.1).
const UNIT: Duration = Duration::from_millis(100);

/// Octets of the option: code, length, and TIMEOUT.
const OPTION_LEN: usize = 4 + 2;

/// What a query has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepalive {
    /// Nothing.
    Absent,
    /// The client asks for it.
    Asked,
    /// It has a value: "Clients MUST specify an OPTION-LENGTH of 0" (section 3.2.1).
    Malformed,
}

impl Keepalive {
    /// Looks for it in a message.
    pub fn of(message: &[u8]) -> Keepalive {
        // Without additional records there is none.
        if message.get(10..12).is_none_or(|count| count == [0, 0]) {
            return Keepalive::Absent;
        }
        let query = Query::read(message).filter(|query| query.is_well_formed);
        let mut rest = query.map_or(&[][..], |query| query.options);
        while let Some((&[a, b, c, d], behind)) = rest.split_first_chunk() {
            let len = usize::from(u16::from_be_bytes([c, d]));
            if u16::from_be_bytes([a, b]) == CODE {
                return if len == 0 { Keepalive::Asked } else { Keepalive::Malformed };
            }
            rest = behind.get(len..).unwrap_or_default();
        }
        Keepalive::Absent
    }
}

/// Tells a client that asks for it how long its connection may wait for a query now. A response without an OPT record, and
/// one that is about a malformed query or an unknown opcode, says nothing of it.
pub fn answer(query: &[u8], response: &mut Vec<u8>, idle: Duration) {
    const FORMERR: u8 = 1;
    const NOTIMP: u8 = 4;
    let rcode = response.get(3).map_or(0, |octet| octet & 0x0f);
    let has_room = response.len() + OPTION_LEN <= MAX_TCP_MESSAGE;
    if [FORMERR, NOTIMP].contains(&rcode) || !has_room || Keepalive::of(query) != Keepalive::Asked {
        return;
    }
    // Rounded down: who comes back at the last moment comes in time.
    let timeout = idle.as_millis() / UNIT.as_millis();
    let timeout = u16::try_from(timeout).unwrap_or(u16::MAX);
    add_option(response, CODE, &timeout.to_be_bytes());
}
