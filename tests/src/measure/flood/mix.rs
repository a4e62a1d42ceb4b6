//! Questions of one kind.

use anyhow::Result;
use testbed::frames::Frame;
use xdp_common::lab::Template;

use super::wire::Wire;
use crate::{
    dns::Query,
    measure::programs::{Names, template_of},
};

/// A query to be sent through a socket.
pub struct Message {
    /// The message.
    pub octets: Vec<u8>,
    /// The digits of its name that are chosen at random, if there are some.
    pub names: Option<Names>,
}

/// Questions of one kind.
pub struct Mix {
    /// What it is called.
    pub title: &'static str,
    /// They are sent through a socket: on veth, XDP has no room for the answers to such packets.
    pub by_socket: bool,
    /// Response codes that answers have; all of them.
    pub rcode: usize,
    /// Each with the digits of its name that are chosen at random, if there are some.
    pub questions: Vec<(Query, Option<Names>)>,
}

impl Mix {
    /// The questions as frames on a wire.
    pub fn templates(&self, wire: &Wire) -> Result<Vec<Template>> {
        let frame = |query: &Query| -> Result<Frame> {
            Ok(Frame {
                source_mac: wire.client_mac,
                destination_mac: wire.server_mac,
                tags: Vec::new(),
                source: Wire::client_address()?,
                destination: Wire::server_address()?,
                ttl: 64,
                payload: query.message(0x1234),
            })
        };
        let templates = self.questions.iter();
        templates.map(|(query, names)| template_of(&frame(query)?, *names)).collect()
    }

    /// The questions as messages.
    pub fn messages(&self) -> Vec<Message> {
        let messages = self.questions.iter();
        messages
            .map(|(query, names)| Message { octets: query.message(0x1234), names: *names })
            .collect()
    }
}
