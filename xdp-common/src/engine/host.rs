//! The host's driver of the sequence: all stages over one message in memory.

use crate::Outcome;
use crate::dns::query;
use crate::engine::sequence::{self, Driver, Stage};
use crate::frame::Frame;
use crate::image::Store;
use crate::state::{EdnsSettings, Query, Scratch};

/// What an answer depends on besides the image and the message.
#[derive(Clone, Copy, Debug)]
pub struct MessageContext<'a> {
    /// The largest response in octets.
    pub response: usize,
    /// Whether the client's payload size counts; over TCP it does not.
    pub over_udp: bool,
    /// Seconds since 1970 modulo 2^32: signatures that expire before are not sent.
    pub now_s: u32,
    /// The payload size that responses announce, in octets.
    pub payload: u16,
    /// The client's address as [`address_words`](crate::address::address_words) has it.
    pub client: [u64; 2],
    /// What options of responses say, and whether names of no zone are refused.
    pub edns_settings: &'a EdnsSettings,
}

/// The host, which takes all stages over one message.
pub struct Host<'a, S> {
    /// Where the image is.
    pub store: &'a S,
    /// What is known besides the message.
    pub context: &'a MessageContext<'a>,
}

impl<S: Store> Driver for Host<'_, S> {
    type Store = S;
    type Entered = Stage;
    const FRAMED: bool = false;

    fn store(&self) -> &S {
        self.store
    }

    fn edns_settings(&self) -> Option<&EdnsSettings> {
        Some(self.context.edns_settings)
    }

    fn now_s(&self) -> u32 {
        self.context.now_s
    }

    fn changes(&self) -> Option<u64> {
        Some(0)
    }

    fn response_limit(&self, query: &Query) -> usize {
        let limit = self.context.response;
        if self.context.over_udp { query.payload_limit(limit) } else { limit }
    }

    fn payload(&self) -> u16 {
        self.context.payload
    }

    fn limit_bits(&self) -> u32 {
        0
    }

    fn is_stream(&self) -> bool {
        !self.context.over_udp
    }

    fn enter(&mut self, stage: Stage) -> Option<Stage> {
        Some(stage)
    }
}

impl<S: Store> Host<'_, S> {
    /// Reads the DNS message of `len` octets at the start of `frame`.
    pub fn read<F: Frame>(
        &self,
        frame: &F,
        len: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Outcome> {
        query::decode(frame, 0, len, self.store.seed(), || false, scratch)?;
        scratch.layers.source = self.context.client;
        Ok(())
    }

    /// Answers the DNS message of `len` octets at the start of `frame` in place. If the outcome
    /// [is answered](Outcome::is_answered) the frame holds the response; otherwise it is as it was.
    pub fn answer<F: Frame>(
        &mut self,
        frame: &mut F,
        len: usize,
        scratch: &mut Scratch,
    ) -> Result<Outcome, Outcome> {
        self.read(frame, len, scratch)?;
        let first = sequence::plan(self, scratch)?;
        sequence::run(self, frame, scratch, first)
    }
}
