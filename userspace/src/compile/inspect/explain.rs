//! Why a query is answered in XDP, passed up or dropped: the engine itself over the published image, bounded as
//! it is in the kernel, with a note of what each stage found.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::PoisonError;

use xdp_common::engine::sequence::{self, Driver, FrameDriver, StageResult};
use xdp_common::frame::{Frame, SliceFrame};
use xdp_common::image::node::Node;
use xdp_common::image::piece::{OWNER_INSIDE, PART, Piece};
use xdp_common::image::{Address, Bucket, Entry, Store, UNIT, Window, bounds};
use xdp_common::maps::{CHUNK_LEN, Config, EdnsSettings};
use xdp_common::rtype;
use xdp_common::state::made::SYNTHESIS;
use xdp_common::state::plan::{PLAN_LEN, QUESTION, section};
use xdp_common::state::{Query, Step};
use xdp_common::{Outcome, Scratch};

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

/// What XDP does with a frame: what the programs are told is `config` and `edns_settings`, and `now` seconds since
/// 1970, truncated to 32 bits.
pub fn explain(
    reader: &Reader,
    config: &Config,
    edns_settings: &EdnsSettings,
    frame: &[u8],
    now: u32,
) -> Explanation {
    let gate = reader.gate();
    let _reading = gate.read().unwrap_or_else(PoisonError::into_inner);
    let mut attempt = 0;
    loop {
        let before = reader.memory().changes();
        let explanation = explain_once(reader, config, edns_settings, frame, now);
        attempt += 1;
        if reader.memory().changes() == before || attempt == ATTEMPTS {
            return explanation;
        }
    }
}

fn explain_once(
    reader: &Reader,
    config: &Config,
    edns_settings: &EdnsSettings,
    frame: &[u8],
    now: u32,
) -> Explanation {
    let store = AsKernel { reader, buckets: Cell::new(0) };
    let mut room = vec![0; ROOM.max(frame.len())];
    room[..frame.len()].copy_from_slice(frame);
    let mut scratch: Box<Scratch> = Box::default();
    let mut sent = SliceFrame::new(&mut room, frame.len());
    let mut recorder = Recorder {
        store: &store,
        config,
        edns_settings,
        now,
        octets: frame.len(),
        stages: Vec::new(),
        planned: 0,
        types: 0,
        encloser_probes: 0,
    };
    let outcome = match sequence::answer_frame(&mut recorder, &mut sent, &mut scratch) {
        Ok(outcome) | Err(outcome) => outcome,
    };
    let fate = fate(outcome);
    recorder.stages.push(Stage { stage: "outcome", found: format!("{}: {fate}", outcome.word()) });
    let is_answered = outcome.is_answered();
    Explanation {
        pieces: recorder.pieces(&scratch),
        bounds: recorder.bounds(&scratch),
        outcome,
        response_octets: is_answered.then_some(scratch.plan.total as usize),
        frame: sent.octets().to_vec(),
        stages: recorder.stages,
    }
}

/// Takes the stages as the programs do, and notes what each has found.
struct Recorder<'a, 'r> {
    store: &'a AsKernel<'r>,
    config: &'a Config,
    edns_settings: &'a EdnsSettings,
    now: u32,
    /// Of the frame as it came.
    octets: usize,
    stages: Vec<Stage>,
    /// Pieces that were planned when the last stage ended.
    planned: usize,
    /// The most types of a node that was looked through.
    types: usize,
    encloser_probes: usize,
}

impl<'r> Driver for Recorder<'_, 'r> {
    type Store = AsKernel<'r>;
    type Entered = sequence::Stage;
    const FRAMED: bool = true;

    fn store(&self) -> &AsKernel<'r> {
        self.store
    }

    fn edns_settings(&self) -> Option<&EdnsSettings> {
        Some(self.edns_settings)
    }

    fn now_s(&self) -> u32 {
        self.now
    }

    fn changes(&self) -> Option<u64> {
        // It is all done again if there was a change.
        Some(0)
    }

    fn response_limit(&self, query: &Query) -> usize {
        query.payload_limit(self.config.payload_limit as usize)
    }

    fn payload(&self) -> u16 {
        self.config.payload_limit as u16
    }

    fn limit_bits(&self) -> u32 {
        0
    }

    fn is_stream(&self) -> bool {
        false
    }

    fn enter(&mut self, stage: sequence::Stage) -> Option<sequence::Stage> {
        let is_last = matches!(stage, sequence::Stage::Send | sequence::Stage::SendMade);
        if is_last && self.config.limits != 0 {
            let decides = "earlier queries decide: see `sealdns ratelimit explain`";
            self.note("limit", decides.to_owned());
        }
        Some(stage)
    }

    fn found(&mut self, found: StageResult, scratch: &Scratch) {
        match found {
            StageResult::Query(read) => self.query(read, scratch),
            StageResult::BadVersion => {
                self.note("find", "an EDNS version that is not known".to_owned());
            }
            StageResult::Node(0) => self.note("find", "the name has no node".to_owned()),
            StageResult::Node(found) => {
                let found = self.looked_through(found);
                self.note("find", found);
            }
            StageResult::Answer(next) => self.step("answer", next, scratch),
            StageResult::Step(stage, next) => {
                let stage = if stage == sequence::Stage::Deny { "encloser" } else { stage.word() };
                self.step(stage, next, scratch);
            }
            StageResult::Plan(Ok(_)) => {}
            StageResult::Plan(Err(_)) => {
                self.note("finish", format!("{} pieces", scratch.plan.count))
            }
            StageResult::Options(made) => self.options(made, scratch),
            StageResult::Size(size, limit) => self.size(size, limit, scratch),
            StageResult::Room(octets) => {
                let (before, grown) = (self.octets, octets as i64 - self.octets as i64);
                self.note("room", format!("the frame of {before} octets grows by {grown}"));
            }
            StageResult::Sent(octets) => self.note("send", format!("a frame of {octets} octets")),
        }
    }
}

impl FrameDriver for Recorder<'_, '_> {
    fn config(&self) -> &Config {
        self.config
    }

    fn arrive<F: Frame>(&self, _frame: &F, _scratch: &mut Scratch) -> Result<(), Outcome> {
        Ok(())
    }
}

impl Recorder<'_, '_> {
    fn query(&mut self, read: Result<(), Outcome>, scratch: &Scratch) {
        let found = match read {
            Ok(()) => {
                let query = &scratch.query;
                let family = if scratch.layers.ipv6 != 0 { "IPv6" } else { "IPv4" };
                let edns = match query.edns {
                    0 => "no EDNS".to_owned(),
                    _ => format!("EDNS {}, DO={}", query.payload, query.dnssec_ok),
                };
                let name =
                    shown(scratch.name.octets.get(..query.name_len as usize).unwrap_or_default());
                let (octets, rtype) = (scratch.layers.message_len(), Rtype(query.qtype as u16));
                format!("{family}, a query of {octets} octets for {name} {rtype}, {edns}")
            }
            Err(outcome) => format!("{}: it goes no further", outcome.word()),
        };
        self.note("decode", found);
    }

    fn options(&mut self, made: Result<(), Outcome>, scratch: &Scratch) {
        let found = match made {
            Ok(()) if scratch.plan.outcome == Outcome::FormErr.index() as u32 => {
                "the cookie is malformed".to_owned()
            }
            Ok(()) => format!("{} octets of options are sent", scratch.options.len()),
            Err(outcome) => format!("{}: it goes no further", outcome.word()),
        };
        self.note("options", found);
    }

    fn size(&mut self, size: Result<usize, Outcome>, limit: usize, scratch: &Scratch) {
        let found = match size {
            Ok(total) => {
                let is_truncated = scratch.plan.truncated != 0;
                let truncated =
                    if is_truncated { ": TC is set, and nothing else sent" } else { "" };
                format!("{total} octets of message; {limit} may be sent{truncated}")
            }
            Err(Outcome::Expired) => format!("a signature has expired: now is {}", self.now),
            Err(_) => "a piece exceeds what the kernel writes".to_owned(),
        };
        self.note("measure", found);
    }

    /// Notes what a step of planning found.
    fn step(&mut self, stage: &'static str, next: Result<Step, Outcome>, scratch: &Scratch) {
        let mut found: Vec<String> = Vec::new();
        let absence = scratch.absence;
        match stage {
            "encloser" if absence.encloser() != 0 || next.is_err() => {
                self.encloser_probes = self.encloser_probes.max(self.store.buckets.get());
                if next.is_ok() {
                    found.push(format!("closest encloser: {}", self.node(absence.encloser())));
                }
            }
            "hash" => {
                let at = absence.next_closer();
                let name = scratch.name.octets.get(at..absence.context().len as usize);
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
        let count = scratch.plan.count as usize;
        for place in self.planned..count.min(PLAN_LEN) {
            let piece = self.piece(scratch, place);
            found
                .push(format!("{}: {} of {}", piece.section, piece.piece.types, piece.piece.owner));
        }
        self.planned = count;
        found.push(match next {
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

    fn piece(&self, scratch: &Scratch, place: usize) -> AnswerPiece {
        let part = scratch.plan.parts[place];
        let section = match part.section {
            section::ANSWER => "answer",
            section::AUTHORITY => "authority",
            _ => "additional",
        };
        // Pieces are about names of which only the length is known here: their own owner names will do.
        let context = self.context_of(scratch, place);
        let mut piece =
            PieceView::new(&**self.store.reader.memory(), section.into(), part.address, &context);
        if part.address == SYNTHESIS {
            let made = Piece::new(scratch.made.first());
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
    fn context_of(&self, scratch: &Scratch, place: usize) -> Vec<u8> {
        let part = scratch.plan.parts[place];
        let question = scratch.question.get(..scratch.query.name_len as usize);
        let question = question.unwrap_or_default().to_ascii_lowercase();
        let Some(cname) = (part.context as usize).checked_sub(1).filter(|cname| *cname < place)
        else {
            return question;
        };
        let cname = scratch.plan.parts[cname];
        let window = match cname.address {
            SYNTHESIS => Some(scratch.made.first()),
            address => self.store.record(address),
        };
        let target = window.and_then(|window| {
            let at = Piece::new(window).body_at() + xdp_common::image::piece::RDATA_AT;
            window.get(at..at + part.context_len as usize)
        });
        target.map_or(question, <[u8]>::to_ascii_lowercase)
    }

    fn pieces(&self, scratch: &Scratch) -> Vec<AnswerPiece> {
        (0..(scratch.plan.count as usize).min(PLAN_LEN))
            .map(|place| self.piece(scratch, place))
            .collect()
    }

    /// What the plan needs of each bound.
    fn bounds(&self, scratch: &Scratch) -> Vec<Bound> {
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
