//! Why a query is answered in XDP, passed up or dropped: the engine itself over the published image, bounded as
//! it is in the kernel, with a note of what each stage found.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::PoisonError;

use xdp_common::dns::{query, rtype};
use xdp_common::engine::{compose, exact, find, options, plan, proofs, sequence};
use xdp_common::frame::{Frame as _, SliceFrame};
use xdp_common::image::node::Node;
use xdp_common::image::piece::{OWNER_INSIDE, PART, Piece};
use xdp_common::image::{Address, Bucket, Entry, Store, UNIT, Window, bounds};
use xdp_common::maps::{CHUNK_LEN, Config, Manners};
use xdp_common::state::Step;
use xdp_common::state::made::SYNTHESIS;
use xdp_common::state::plan::{PLAN_LEN, QUESTION, section};
use xdp_common::{Outcome, Scratch, layers};

use super::super::Reader;
use super::lookup::PieceView;
use super::nodes::NodeRecord;
use super::verify::shown;
use crate::zone::Rtype;

/// Room for a frame: what drivers give a packet at the least, a page.
const ROOM: usize = 4096;

/// How often a query is looked at whose image changes meanwhile.
const ATTEMPTS: usize = 4;

/// What becomes of a query, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What each stage found, in their order.
    pub stages: Vec<Stage>,
    /// The pieces of the answer.
    pub pieces: Vec<AnswerPiece>,
    /// What was needed of what the kernel is bounded to.
    pub bounds: Vec<Bound>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Octets of the DNS message that is sent, if one is.
    pub response_octets: Option<usize>,
    /// The frame as it leaves the program.
    pub frame: Vec<u8>,
}

impl Explanation {
    /// What comes over TCP.
    pub fn of_tcp() -> Explanation {
        let outcome = Outcome::NotUdp;
        let found = format!("{}: over TCP the daemon answers", outcome.word());
        Explanation {
            stages: vec![Stage { stage: "decode", found }],
            pieces: Vec::new(),
            bounds: Vec::new(),
            outcome,
            response_octets: None,
            frame: Vec::new(),
        }
    }
}

/// What is done with a packet, in words.
fn fate(outcome: Outcome) -> &'static str {
    match () {
        () if outcome.is_answered() => "answered",
        () if outcome.is_dropped() => "dropped",
        () => "passed up",
    }
}

/// What a stage found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name.
    pub stage: &'static str,
    /// What it found.
    pub found: String,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPiece {
    /// Its section.
    pub section: &'static str,
    /// Octets of it that are sent.
    pub sent_octets: usize,
    /// The piece.
    pub piece: PieceView,
}

/// What was needed of one of the engine's bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The constant of `Store`.
    pub bound: &'static str,
    /// What the query needed, as far as it came.
    pub needed: usize,
    /// What the kernel allows.
    pub limit: usize,
}

/// What XDP does with a frame: what the programs are told is `config` and `manners`, and `now` seconds since
/// 1970, truncated to 32 bits.
pub fn explain(
    reader: &Reader,
    config: &Config,
    manners: &Manners,
    frame: &[u8],
    now: u32,
) -> Explanation {
    let gate = reader.gate();
    let _reading = gate.read().unwrap_or_else(PoisonError::into_inner);
    let mut attempt = 0;
    loop {
        let before = reader.memory().changes();
        let explanation = explain_once(reader, config, manners, frame, now);
        attempt += 1;
        if reader.memory().changes() == before || attempt == ATTEMPTS {
            return explanation;
        }
    }
}

fn explain_once(
    reader: &Reader,
    config: &Config,
    manners: &Manners,
    frame: &[u8],
    now: u32,
) -> Explanation {
    let store = AsKernel { reader, buckets: Cell::new(0) };
    let mut room = vec![0; ROOM.max(frame.len())];
    room[..frame.len()].copy_from_slice(frame);
    let mut recorder = Recorder {
        store: &store,
        manners,
        scratch: Box::default(),
        frame: SliceFrame::new(&mut room, frame.len()),
        stages: Vec::new(),
        planned: 0,
        types: 0,
        encloser_probes: 0,
    };
    let outcome = match recorder.run(config, now) {
        Ok(outcome) | Err(outcome) => outcome,
    };
    let fate = fate(outcome);
    recorder.stages.push(Stage { stage: "outcome", found: format!("{}: {fate}", outcome.word()) });
    let is_answered = outcome.is_answered();
    Explanation {
        pieces: recorder.pieces(),
        bounds: recorder.bounds(),
        outcome,
        response_octets: is_answered.then_some(recorder.scratch.plan.total as usize),
        frame: recorder.frame.octets().to_vec(),
        stages: recorder.stages,
    }
}

/// The engine's state, and what was noted.
struct Recorder<'s, 'r, 'f> {
    store: &'s AsKernel<'r>,
    manners: &'s Manners,
    scratch: Box<Scratch>,
    frame: SliceFrame<'f>,
    stages: Vec<Stage>,
    /// Pieces that were planned when the last stage ended.
    planned: usize,
    /// The most types of a node that was looked through.
    types: usize,
    encloser_probes: usize,
}

impl Recorder<'_, '_, '_> {
    /// The steps of the programs, in their order.
    fn run(&mut self, config: &Config, now: u32) -> Result<Outcome, Outcome> {
        self.decode(config)?;
        let step = self.find()?;
        let outcome = self.plan(step)?;
        self.scratch.plan.outcome = outcome.index() as u32;
        self.options(now)?;
        if config.limits != 0 {
            let decides = "earlier queries decide: see `sealdns ratelimit explain`";
            self.note("limit", decides.to_owned());
        }
        let (message_at, limit) = (
            self.scratch.layers.message_at(),
            self.scratch.query.payload_limit(config.payload_limit as usize),
        );
        let total = plan::measure(self.store, &mut self.scratch, limit, now);
        let total = match total {
            Ok(total) => total,
            Err(outcome) => {
                let why = match outcome {
                    Outcome::Expired => format!("a signature has expired: now is {now}"),
                    _ => "a piece exceeds what the kernel writes".to_owned(),
                };
                self.note("measure", why);
                return Err(outcome);
            }
        };
        let is_truncated = self.scratch.plan.truncated != 0;
        let truncated = if is_truncated { ": TC is set, and nothing else sent" } else { "" };
        let measured = format!("{total} octets of message; {limit} may be sent{truncated}");
        self.note("measure", measured);

        let before = self.frame.len();
        let keep = message_at + compose::records_at(self.scratch.query.name_len as usize);
        let resized = self.frame.resize(message_at + total, keep);
        let grown = (message_at + total) as i64 - before as i64;
        self.note("room", format!("the frame of {before} octets grows by {grown}"));
        resized?;

        let payload = config.payload_limit as u16;
        let (frame, scratch) = (&mut self.frame, &mut self.scratch);
        let sum = compose::write(self.store, frame, message_at, payload, scratch);
        let sum = sum.ok_or(Outcome::Torn)?;
        layers::reply(frame, &scratch.layers, total, sum).ok_or(Outcome::Torn)?;
        self.note("send", format!("a frame of {} octets", message_at + total));
        Ok(Outcome::ALL[self.scratch.plan.said()])
    }

    /// Reads the options of the query and makes those of the response.
    fn options(&mut self, now: u32) -> Result<(), Outcome> {
        if !options::are_due(&self.scratch.query, &self.scratch.plan) {
            return Ok(());
        }
        let made = options::answer(self.store, &mut self.scratch, self.manners, now);
        let found = match made {
            Ok(()) if self.scratch.plan.outcome == Outcome::FormErr.index() as u32 => {
                "the cookie is malformed".to_owned()
            }
            Ok(()) => format!("{} octets of options are sent", self.scratch.options.len()),
            Err(outcome) => format!("{}: it goes no further", outcome.word()),
        };
        self.note("options", found);
        made
    }

    fn decode(&mut self, config: &Config) -> Result<(), Outcome> {
        let scratch = &mut *self.scratch;
        let (layers, forgotten) = (&mut scratch.layers, &mut scratch.cells.forgotten);
        let decoded = layers::decode(&self.frame, config, layers, forgotten).and_then(|()| {
            let (at, len) = (scratch.layers.message_at(), scratch.layers.message_len());
            let sum = query::decode(&self.frame, at, len, config.seed, scratch)?;
            match layers::checksum_holds(&mut scratch.layers, sum) {
                true => Ok(()),
                false => Err(Outcome::BadChecksum),
            }
        });
        let found = match decoded {
            Ok(()) => {
                let query = &self.scratch.query;
                let family = if self.scratch.layers.ipv6 != 0 { "IPv6" } else { "IPv4" };
                let edns = match query.edns {
                    0 => "no EDNS".to_owned(),
                    _ => format!("EDNS {}, DO={}", query.payload, query.dnssec_ok),
                };
                let (name, rtype) = (self.name(query.name_len as usize), Rtype(query.qtype as u16));
                format!(
                    "{family}, a query of {} octets for {name} {rtype}, {edns}",
                    self.query_len()
                )
            }
            Err(outcome) => format!("{}: it goes no further", outcome.word()),
        };
        self.note("decode", found);
        decoded
    }

    fn query_len(&self) -> usize {
        self.scratch.layers.message_len()
    }

    fn find(&mut self) -> Result<Step, Outcome> {
        self.scratch.plan.clear();
        self.scratch.options.clear();
        if self.scratch.query.version != 0 {
            self.note("find", "an EDNS version that is not known".to_owned());
            let Scratch { plan, absence, .. } = &mut *self.scratch;
            return Ok(options::bad_version(plan, absence));
        }
        let Scratch { query, name, cells, .. } = &mut *self.scratch;
        let found = find::question(self.store, query, name, cells).ok_or(Outcome::Broken)?;
        let text = match found {
            0 => "the name has no node".to_owned(),
            found => self.looked_through(found),
        };
        self.note("find", text);
        let Scratch { query, plan, absence, .. } = &mut *self.scratch;
        Ok(exact::first(query, plan, absence, found))
    }

    fn plan(&mut self, first: Step) -> Result<Outcome, Outcome> {
        let mut step = match first {
            Step::At(found, context) => {
                let Scratch { query, plan, absence, cells, .. } = &mut *self.scratch;
                let next = exact::run(self.store, query, plan, absence, cells, found, context);
                self.step("answer", next)?
            }
            step => step,
        };
        loop {
            let stage = match step {
                Step::Done(outcome) => {
                    let Scratch { plan, absence, cells, .. } = &mut *self.scratch;
                    let finished = proofs::finish::<AsKernel<'_>>(plan, absence, cells, outcome);
                    if finished.is_err() {
                        self.note("finish", format!("{} pieces", self.scratch.plan.count));
                    }
                    return finished;
                }
                Step::At(..) | Step::Chase(_) => "follow",
                Step::Absent(..) => "encloser",
                Step::Redirect => "redirect",
                Step::Hash => "hash",
                Step::Conclude => "conclude",
            };
            let next = match sequence::take(self.store, &mut self.scratch, step) {
                Err(Outcome::NotOurs) if self.manners.refuse != 0 => {
                    let Scratch { plan, absence, .. } = &mut *self.scratch;
                    Ok(options::refuse(plan, absence))
                }
                next => next,
            };
            step = self.step(stage, next)?;
        }
    }

    /// Notes what a step of planning found.
    fn step(&mut self, stage: &'static str, next: Result<Step, Outcome>) -> Result<Step, Outcome> {
        let mut found: Vec<String> = Vec::new();
        let absence = self.scratch.absence;
        match stage {
            "encloser" if absence.encloser() != 0 || next.is_err() => {
                self.encloser_probes = self.encloser_probes.max(self.store.buckets.get());
                if next.is_ok() {
                    found.push(format!("closest encloser: {}", self.node(absence.encloser())));
                }
            }
            "hash" => {
                let at = absence.next_closer();
                let name = self.scratch.name.octets.get(at..absence.context().len as usize);
                found.push(format!("next closer name {}", shown(name.unwrap_or_default())));
            }
            "conclude" => {
                let encloser = self.store.record(absence.encloser()).map(Node::new);
                if let Some(source) = encloser.map(Node::wildcard).filter(|source| *source != 0) {
                    found.push(format!("source of synthesis: {}", self.looked_through(source)));
                }
            }
            _ => {}
        }
        let count = self.scratch.plan.count as usize;
        for place in self.planned..count.min(PLAN_LEN) {
            let piece = self.piece(place);
            found
                .push(format!("{}: {} of {}", piece.section, piece.piece.types, piece.piece.owner));
        }
        self.planned = count;
        found.push(match &next {
            Ok(Step::Done(outcome)) => format!("the plan is complete: {}", outcome.word()),
            Ok(Step::At(..)) => "it leads to a name whose node is known".to_owned(),
            Ok(Step::Chase(_)) => "it leads to a name that must be looked up".to_owned(),
            Ok(Step::Absent(..)) => "the name does not exist".to_owned(),
            Ok(Step::Redirect) => "a DNAME stands there".to_owned(),
            Ok(Step::Hash) => "the next closer name must be hashed".to_owned(),
            Ok(Step::Conclude) => "wildcard or NXDOMAIN is concluded from there".to_owned(),
            Err(outcome) => format!("{}: it goes no further", outcome.word()),
        });
        self.note(stage, found.join("; "));
        next
    }

    fn note(&mut self, stage: &'static str, found: String) {
        self.store.buckets.set(0);
        self.stages.push(Stage { stage, found });
    }

    //--- In words

    /// A node whose types are looked through.
    fn looked_through(&mut self, address: Address) -> String {
        let reader = self.store.reader;
        let node = NodeRecord::read(&**reader.memory(), address, reader.key());
        self.types = self.types.max(node.map_or(0, |node| node.types.len()));
        self.node(address)
    }

    /// A node that a stage found.
    fn node(&self, address: Address) -> String {
        let reader = self.store.reader;
        match NodeRecord::read(&**reader.memory(), address, reader.key()) {
            Ok(node) => {
                format!("{} ({}, {} types)", shown(&node.wire), node.kind(), node.types.len())
            }
            Err(fault) => format!("a damaged node: {fault}"),
        }
    }

    /// The first octets of the name that is looked up.
    fn name(&self, len: usize) -> String {
        shown(self.scratch.name.octets.get(..len).unwrap_or_default())
    }

    fn piece(&self, place: usize) -> AnswerPiece {
        let part = self.scratch.plan.parts[place];
        let section = match part.section {
            section::ANSWER => "answer",
            section::AUTHORITY => "authority",
            _ => "additional",
        };
        // Pieces are about names of which only the length is known here: their own owner names will do.
        let context = self.context_of(place);
        let mut piece =
            PieceView::new(&**self.store.reader.memory(), section.into(), part.address, &context);
        if part.address == SYNTHESIS {
            let made = Piece::new(self.scratch.made.first());
            piece = PieceView {
                types: "CNAME".into(),
                owner: shown(&context),
                records: [1; 2],
                octets: [made.len(0), made.len(1)],
                problem: None,
                ..piece
            };
        }
        AnswerPiece { section, sent_octets: part.len as usize, piece }
    }

    /// The name that a piece is about: the question's, or the target of the CNAME that leads to it.
    fn context_of(&self, place: usize) -> Vec<u8> {
        let part = self.scratch.plan.parts[place];
        let question = self.scratch.question.get(..self.scratch.query.name_len as usize);
        let question = question.unwrap_or_default().to_ascii_lowercase();
        let Some(cname) = (part.context as usize).checked_sub(1).filter(|cname| *cname < place)
        else {
            return question;
        };
        let cname = self.scratch.plan.parts[cname];
        let window = match cname.address {
            SYNTHESIS => Some(self.scratch.made.first()),
            address => self.store.record(address),
        };
        let target = window.and_then(|window| {
            let at = Piece::new(window).body_at() + xdp_common::image::piece::RDATA_AT;
            window.get(at..at + part.context_len as usize)
        });
        target.map_or(question, <[u8]>::to_ascii_lowercase)
    }

    fn pieces(&self) -> Vec<AnswerPiece> {
        (0..(self.scratch.plan.count as usize).min(PLAN_LEN))
            .map(|place| self.piece(place))
            .collect()
    }

    /// What the plan needs of each bound.
    fn bounds(&self) -> Vec<Bound> {
        let scratch = &self.scratch;
        let dnssec = scratch.query.dnssec_ok as usize & 1;
        let parts = &scratch.plan.parts[..(scratch.plan.count as usize).min(PLAN_LEN)];
        let pieces: Vec<(Piece<'_>, u32)> = parts
            .iter()
            .filter_map(|part| match part.address {
                SYNTHESIS => Some((Piece::new(scratch.made.first()), part.context)),
                address => Some((Piece::new(self.store.record(address)?), part.context)),
            })
            .collect();
        let most =
            |of: &dyn Fn(&(Piece<'_>, u32)) -> usize| pieces.iter().map(of).max().unwrap_or(0);
        let owners = most(&|(piece, context)| {
            let stays =
                piece.owner() == OWNER_INSIDE || (piece.owner() == 0 && *context == QUESTION);
            if stays { 0 } else { piece.count(dnssec) }
        });
        let is_cname = |piece: Piece<'_>| {
            xdp_common::frame::window_be16(piece.window(), piece.body_at() + 2) == rtype::CNAME
        };
        let cnames = pieces.iter().filter(|(piece, _)| is_cname(*piece)).count();
        let needed = [
            ("MAX_PIECES", pieces.len(), bounds::MAX_PIECES),
            ("MAX_TYPES", self.types, bounds::MAX_TYPES),
            ("MAX_CHAIN", cnames, bounds::MAX_CHAIN),
            ("MAX_ENCLOSER_STEPS", self.encloser_probes, bounds::MAX_ENCLOSER_STEPS),
            ("MAX_PARTS", most(&|(piece, _)| piece.len(dnssec).div_ceil(PART)), bounds::MAX_PARTS),
            ("MAX_FIXUPS", most(&|(piece, _)| piece.fixups(dnssec)), bounds::MAX_FIXUPS),
            ("MAX_FIXUPS_BEFORE", most(&|(piece, _)| piece.fixups(1)), bounds::MAX_FIXUPS_BEFORE),
            ("MAX_OWNERS", owners, bounds::MAX_OWNERS),
        ];
        needed.into_iter().map(|(bound, needed, limit)| Bound { bound, needed, limit }).collect()
    }
}

/// The image as the programs in the kernel see it, with their bounds.
struct AsKernel<'a> {
    reader: &'a Reader,
    /// Look-ups in the table since this was last set to 0.
    buckets: Cell<usize>,
}

impl AsKernel<'_> {
    /// Whether what is that long lies in one chunk: what the kernel reads does.
    fn is_in_chunk(address: Address, len: usize) -> bool {
        address as usize * UNIT % CHUNK_LEN <= CHUNK_LEN - len
    }
}

impl Store for AsKernel<'_> {
    // Of the programs two expect a piece made from a DNAME: those that one can come to.
    const SYNTHESIS: bool = true;
    const UNBOUNDED: bool = false;

    fn seed(&self) -> u64 {
        self.reader.seed()
    }

    fn max_labels(&self) -> usize {
        self.reader.max_labels()
    }

    fn bucket(&self, hash: u64, probe: usize) -> Option<impl Deref<Target = Bucket>> {
        // What goes on in the next bucket is the same probe.
        self.buckets.set(self.buckets.get() + usize::from(probe == 0));
        self.reader.bucket(hash, probe)
    }

    fn record(&self, address: Address) -> Option<&Window> {
        let is_in_chunk = AsKernel::is_in_chunk(address, size_of::<Window>());
        self.reader.record(address).filter(|_| is_in_chunk)
    }

    fn entry(&self, address: Address) -> Option<&Entry> {
        let is_in_chunk = AsKernel::is_in_chunk(address, size_of::<Entry>());
        self.reader.entry(address).filter(|_| is_in_chunk)
    }
}
