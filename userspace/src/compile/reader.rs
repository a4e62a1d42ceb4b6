//! The engine over an image in the daemon's reach.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use xdp_common::dns::name::MAX_LABELS;
use xdp_common::dns::{MAX_PAYLOAD, QUESTION_TAIL_LEN};
use xdp_common::engine::{Host, MessageContext};
use xdp_common::frame::SliceFrame;
use xdp_common::image::{Address, Bucket, Entry, Store, UNIT, Window};
use xdp_common::limit::response_key::{self, ResponseKey};
use xdp_common::maps::{EdnsSettings, address_words};
use xdp_common::state::made::MAX_MADE;
use xdp_common::state::plan::PLAN_LEN;
use xdp_common::state::scratch::MAX_QUERY;
use xdp_common::{Outcome, Scratch};

use super::answered::{Answered, Cookie};
use super::memory::{self, Memory};
use super::piece::MAX_TCP_MESSAGE;
use super::signatures::{self, SignatureAnswer};

/// Who asks, how and when, and how the server presents itself.
#[derive(Clone, Copy, Debug)]
pub struct QueryContext<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// Whether it asks over TCP.
    pub over_tcp: bool,
    /// The server's largest response in octets; over UDP it is further limited by what the client says, and
    /// to 512 without EDNS.
    pub limit: usize,
    /// Seconds since 1970, truncated to 32 bits.
    pub now: u32,
    /// What options say, and whether names of no zone are refused.
    pub edns_settings: &'a EdnsSettings,
}

/// Answers from what an image held when the reader was made, and from what was published since into the
/// same memory.
pub struct Reader {
    memory: Arc<dyn Memory>,
    seed: u64,
    max_labels: Arc<AtomicU32>,
    gate: Arc<RwLock<()>>,
}

/// What one thread works with: large, and made once.
struct Worker {
    scratch: Box<Scratch>,
    message: Box<[u8]>,
}

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::new(Worker {
        scratch: Box::default(),
        message: vec![0; MAX_TCP_MESSAGE].into(),
    });
}

impl Reader {
    pub(super) fn new(
        memory: Arc<dyn Memory>,
        seed: u64,
        max_labels: Arc<AtomicU32>,
        gate: Arc<RwLock<()>>,
    ) -> Reader {
        Reader { memory, seed, max_labels, gate }
    }

    /// Held for reading while an answer is made: who takes it for writing knows that no reader is left
    /// that may look at what was withdrawn before.
    pub fn gate(&self) -> Arc<RwLock<()>> {
        Arc::clone(&self.gate)
    }

    /// Where the image lies.
    pub(super) fn memory(&self) -> &Arc<dyn Memory> {
        &self.memory
    }

    /// The key of the names' hash.
    pub(super) fn key(&self) -> u64 {
        self.seed
    }

    /// Whether another reader's image lies in the same memory.
    pub fn is_of(&self, other: &Reader) -> bool {
        Arc::ptr_eq(&self.memory, &other.memory)
    }

    /// Answers one DNS message as XDP would, if the server had no edns_settings: see [`Self::respond`].
    pub fn answer(
        &self,
        query: &[u8],
        over_tcp: bool,
        limit: usize,
        now: u32,
        response: &mut Vec<u8>,
    ) -> Outcome {
        let client = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let asked =
            QueryContext { client, over_tcp, limit, now, edns_settings: &EdnsSettings::new() };
        self.respond(query, &asked, response).outcome
    }

    /// Answers one DNS message as XDP would. If the outcome [is answered](Outcome::is_answered), `response`
    /// holds the response; otherwise it is empty and the outcome says why.
    pub fn respond(
        &self,
        query: &[u8],
        asked: &QueryContext<'_>,
        response: &mut Vec<u8>,
    ) -> Answered {
        self.twice_if_changed(query, asked, |worker, context| {
            self.attempt(query, context, worker, response)
        })
        .unwrap_or_else(|outcome| {
            response.clear();
            Answered::of(outcome)
        })
    }

    /// Answers one question for the signatures of a name. `query` asks for a type that no zone has: what it is
    /// answered with is the response, if there are no signatures; else there are only these, as records of the
    /// question's name.
    pub fn signatures(
        &self,
        query: &[u8],
        asked: &QueryContext<'_>,
        response: &mut Vec<u8>,
    ) -> SignatureAnswer {
        self.twice_if_changed(query, asked, |worker, context| {
            self.attempt_signatures(query, context, worker, response)
        })
        .unwrap_or_else(|outcome| {
            response.clear();
            SignatureAnswer { answered: Answered::of(outcome), records: 0 }
        })
    }

    /// Does something with a query; an error if it is longer than any.
    fn twice_if_changed<T>(
        &self,
        query: &[u8],
        asked: &QueryContext<'_>,
        mut attempt: impl FnMut(&mut Worker, &MessageContext<'_>) -> T,
    ) -> Result<T, Outcome> {
        if query.len() > MAX_TCP_MESSAGE {
            return Err(Outcome::TooLong);
        }
        let context = MessageContext {
            response: asked.limit.min(MAX_TCP_MESSAGE),
            over_udp: !asked.over_tcp,
            now_s: asked.now,
            payload: asked.limit.min(MAX_PAYLOAD.into()) as u16,
            client: address_words(asked.client),
            edns_settings: asked.edns_settings,
        };
        WORKER.with_borrow_mut(|worker| {
            let _reading = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            let before = self.memory.changes();
            let first = attempt(worker, &context);
            if self.memory.changes() == before {
                return Ok(first);
            }
            // A name may have come between the look-up of the question and that of its encloser, whose
            // newer version does not prove the name's absence. By now it is there to be found.
            Ok(attempt(worker, &context))
        })
    }

    fn attempt(
        &self,
        query: &[u8],
        context: &MessageContext<'_>,
        Worker { scratch, message }: &mut Worker,
        response: &mut Vec<u8>,
    ) -> Answered {
        response.clear();
        message[..query.len()].copy_from_slice(query);
        let mut frame = SliceFrame::new(message, query.len());
        match (Host { store: self, context }).answer(&mut frame, query.len(), scratch) {
            Ok(outcome) => {
                response.extend_from_slice(frame.octets());
                self.answered(outcome, scratch)
            }
            Err(outcome) => Answered::of(outcome),
        }
    }

    fn attempt_signatures(
        &self,
        query: &[u8],
        context: &MessageContext<'_>,
        Worker { scratch, message }: &mut Worker,
        response: &mut Vec<u8>,
    ) -> SignatureAnswer {
        message[..query.len()].copy_from_slice(query);
        let mut frame = SliceFrame::new(message, query.len());
        let found = signatures::respond(self, &mut frame, query.len(), context, scratch, response);
        let (outcome, records) = match found {
            Ok(found) => found,
            Err(outcome) => return SignatureAnswer { answered: Answered::of(outcome), records: 0 },
        };
        if records == 0 {
            response.clear();
            response.extend_from_slice(frame.octets());
        }
        SignatureAnswer { answered: self.answered(outcome, scratch), records }
    }

    /// What was said, besides the response itself.
    fn answered(&self, outcome: Outcome, scratch: &mut Scratch) -> Answered {
        let Scratch { query, plan, absence, options, cells, .. } = scratch;
        let class = response_key::class(query, plan, cells, plan.outcome as usize);
        let name = response_key::name(self, query, absence, class).unwrap_or_default();
        let key = ResponseKey { class: class as u32, name };
        let cookie = (query.has_cookie != 0).then(|| Cookie {
            is_valid: query.has_valid_cookie != 0,
            option: options.cookie().to_vec(),
        });
        Answered {
            outcome,
            key,
            cookie,
            question_octets: query.name_len as usize + QUESTION_TAIL_LEN,
            dnssec_ok: (query.edns != 0).then_some(query.dnssec_ok != 0),
        }
    }
}

/// A copy of a bucket.
struct Copied(Bucket);

impl Deref for Copied {
    type Target = Bucket;

    fn deref(&self) -> &Bucket {
        &self.0
    }
}

impl Store for Reader {
    const MAX_PIECES: usize = PLAN_LEN;
    const MAX_TYPES: usize = xdp_common::image::node::MAX_TYPES;
    const MAX_MADE: usize = MAX_MADE;
    const MAX_CHAIN: usize = MAX_MADE - 2;
    const MAX_ENCLOSER_STEPS: usize = 9 + MAX_LABELS;
    const MAX_PARTS: usize = MAX_TCP_MESSAGE / xdp_common::image::piece::PART + 1;
    const MAX_FIXUPS: usize = xdp_common::image::piece::MARKED;
    const MAX_FIXUPS_BEFORE: usize = xdp_common::image::piece::MARKED;
    // The shortest record is an owner pointer, ten octets and no RDATA.
    const MAX_OWNERS: usize = MAX_TCP_MESSAGE / 12;
    // The shortest option has no value.
    const MAX_OPTIONS: usize = MAX_QUERY / 4;
    const SYNTHESIS: bool = true;
    const UNBOUNDED: bool = true;

    fn seed(&self) -> u64 {
        self.seed
    }

    fn max_labels(&self) -> usize {
        self.max_labels.load(Relaxed) as usize
    }

    fn bucket(&self, hash: u64, probe: usize) -> Option<impl Deref<Target = Bucket>> {
        let index = (hash as u32).wrapping_add(probe as u32) as usize;
        Some(Copied(self.memory.bucket(index & (self.memory.bucket_count() - 1))))
    }

    fn record(&self, address: Address) -> Option<&Window> {
        memory::window(&*self.memory, address)
    }

    fn entry(&self, address: Address) -> Option<&Entry> {
        self.memory.read(address as usize * UNIT, size_of::<Entry>())?.try_into().ok()
    }
}
