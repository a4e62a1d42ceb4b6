//! The stages of an answer in their order, and what is decided between them.
//!
//! ```text
//! serve ──> deny ──> hash ──> conclude ──┬──> options ──> limit ──> send
//!   │         └──> redirect ──> follow ──┤
//!   └────────────────────────────────────┘
//! ```
//!
//! Any stage of planning may be left out: `serve` alone answers for names that exist, and `follow` may come to any of the
//! others again. There is one sequence for all who answer: the programs in the kernel, each of which takes one stage and
//! calls the next; the daemon, which takes them in a loop ([`run`]); and `cache explain`, which takes the same loop and
//! notes what each stage has found. [`Driver`] is what they differ in.

use crate::Outcome;
use crate::dns::query;
use crate::engine::{alias, compose, deny, exact, find, gap, long, measure, options, proofs};
use crate::frame::Frame;
use crate::image::zone::Zone;
use crate::image::{Address, Store};
use crate::launder::{forget, recall};
use crate::layers;
use crate::limit::decide::{self, Client, Limiter, PlannedResponse, Slip};
use crate::limit::list::NameListing;
use crate::limit::response_key;
use crate::limit::table::WEIGHT_ONE;
use crate::limit::verdict::{PASSED, Verdict};
use crate::state::config::limits;
use crate::state::{Absence, Config, EdnsSettings, Options, Plan, Query, Scratch, Step};

/// A stage that another one leads to; in the kernel, a program, at this place in the array of programs.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The answer is written and sent: [`send`].
    Send,
    /// The closest encloser of a name that does not exist is looked for: [`deny`](deny()).
    Deny,
    /// The NSEC3 is looked for that covers the next closer name: [`hash`].
    Hash,
    /// A wildcard's answer or NXDOMAIN is planned: [`conclude`].
    Conclude,
    /// A CNAME is followed: [`follow`].
    Follow,
    /// A CNAME is made from a DNAME: [`redirect`].
    Redirect,
    /// The same as [`Stage::Send`], for an answer with such a CNAME in it.
    SendMade,
    /// The options of the query are read, those of the response made: [`options`](options()).
    Options,
    /// The limiter decides: [`limit`].
    Limit,
}

impl Stage {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// All of them, by place.
    pub const ALL: [Stage; Stage::COUNT] = [
        Stage::Send,
        Stage::Deny,
        Stage::Hash,
        Stage::Conclude,
        Stage::Follow,
        Stage::Redirect,
        Stage::SendMade,
        Stage::Options,
        Stage::Limit,
    ];

    /// The name of its program.
    pub const fn word(self) -> &'static str {
        match self {
            Stage::Send => "send",
            Stage::Deny => "deny",
            Stage::Hash => "hash",
            Stage::Conclude => "conclude",
            Stage::Follow => "follow",
            Stage::Redirect => "redirect",
            Stage::SendMade => "send_made",
            Stage::Options => "options",
            Stage::Limit => "limit",
        }
    }
}

/// Who takes the stages: what it answers from, what it is told, and how it goes from one stage to the next.
pub trait Driver {
    /// Where the image is.
    type Store: Store;
    /// What [`enter`](Driver::enter) returns: in a loop the stage, in the kernel nothing, since it does not come back.
    type Entered;
    /// Whether the message lies in a frame whose headers are turned round.
    const FRAMED: bool;

    /// Where the image is.
    fn store(&self) -> &Self::Store;

    /// What the server is configured to say in options. `None` if the kernel has not made the map, which cannot be.
    fn edns_settings(&self) -> Option<&EdnsSettings>;

    /// Wall-clock seconds since 1970, truncated; 0 if the time is not known.
    fn now_s(&self) -> u32;

    /// How often the table has changed. Who looks a second time by himself if it has always says the same.
    fn changes(&self) -> Option<u64>;

    /// The largest response to a query, in octets.
    fn response_limit(&self, query: &Query) -> usize;

    /// The payload size that responses announce, in octets.
    fn payload(&self) -> u16;

    /// Bits of [`limits`]: what the limiter is asked for before an answer is sent. Those who limit once it is written
    /// have none.
    fn limit_bits(&self) -> u32;

    /// Whether the client asks over a stream, so that it cannot be told to ask again over TCP.
    fn is_stream(&self) -> bool;

    /// Goes on in a stage. `None` if the daemon has not filled the place of its program: in the kernel it comes back only
    /// then.
    fn enter(&mut self, stage: Stage) -> Option<Self::Entered>;

    /// Is shown what was found. In the kernel programs that trace look, and a counter of what a stage found may.
    #[inline(always)]
    fn found(&mut self, _found: StageResult, _scratch: &Scratch) {}
}

/// Who takes whole frames.
pub trait FrameDriver: Driver {
    /// What the programs are told.
    fn config(&self) -> &Config;

    /// Decides whether a query is taken on, once its headers are read.
    fn arrive<F: Frame>(&self, frame: &F, scratch: &mut Scratch) -> Result<(), Outcome>;
}

/// Who limits what is planned before it is written.
pub trait LimitingDriver: Driver {
    /// The limiter.
    type Limiter: Limiter;

    /// The limiter.
    fn limiter(&self) -> Self::Limiter;

    /// What is listed for the name of the question that was read.
    fn listed(&self, scratch: &mut Scratch) -> NameListing;
}

/// What a stage of the sequence has come to, for who explains it.
#[derive(Clone, Copy, Debug)]
pub enum StageResult {
    /// Whether the frame is one with a query.
    Query(Result<(), Outcome>),
    /// The EDNS version is not known.
    BadVersion,
    /// The node of the question's name; 0 if there is none.
    Node(Address),
    /// What is said at a name that exists.
    Answer(Result<Step, Outcome>),
    /// What a stage of planning has found.
    Step(Stage, Result<Step, Outcome>),
    /// Whether the complete plan is one that is sent.
    Plan(Result<Outcome, Outcome>),
    /// What the options of the query have led to.
    Options(Result<(), Outcome>),
    /// How many octets the response takes, and how many may be sent.
    Size(Result<usize, Outcome>, usize),
    /// How many octets the frame needs; it has not yet got them.
    Room(usize),
    /// How many octets the frame has that is sent.
    Sent(usize),
}

/// What the limiter is asked for once it is known what will be said.
const RESPONSE_LIMITS: u32 = limits::RATES | limits::NAMES;

/// What its stage is for, once an answer is planned.
const ANSWER_LIMITS: u32 = RESPONSE_LIMITS | limits::PASSED_ZONES;

/// Whether another server answers what is passed on.
#[inline(always)]
fn is_in_front<D: Driver>(driver: &D) -> bool {
    driver.edns_settings().is_some_and(|edns_settings| edns_settings.front != 0)
}

//----------- Reading and planning -------------------------------------------------------------------

/// Reads the query in a frame and plans the answer for names that exist: positive, CNAME, NODATA, the referral at the
/// cut, the apex.
#[inline(always)]
pub fn serve<D: FrameDriver, F: Frame>(
    driver: &mut D,
    frame: &F,
    scratch: &mut Scratch,
) -> Result<D::Entered, Outcome> {
    let read = read(driver, frame, scratch);
    driver.found(StageResult::Query(read), scratch);
    let step = match read {
        Ok(()) => first(driver, scratch),
        Err(outcome) => Err(outcome),
    };
    go_on::<D, false>(driver, scratch, step)
}

#[inline(always)]
fn read<D: FrameDriver, F: Frame>(
    driver: &D,
    frame: &F,
    scratch: &mut Scratch,
) -> Result<(), Outcome> {
    let config = driver.config();
    layers::decode(frame, config, &mut scratch.layers, &mut scratch.cells.forgotten)?;
    driver.arrive(frame, scratch)?;
    let (at, len) = (scratch.layers.message_at(), scratch.layers.message_len());
    let sum = match query::decode(frame, at, len, config.seed, || is_in_front(driver), scratch) {
        Err(Outcome::Response) if is_in_front(driver) => return Err(Outcome::Opcode),
        decoded => decoded?,
    };
    if !layers::checksum_holds(&mut scratch.layers, sum) {
        return Err(Outcome::BadChecksum);
    }
    Ok(())
}

/// The same for a query that was read already.
#[inline(always)]
pub fn plan<D: Driver>(driver: &mut D, scratch: &mut Scratch) -> Result<D::Entered, Outcome> {
    let step = first(driver, scratch);
    go_on::<D, false>(driver, scratch, step)
}

#[inline(always)]
fn first<D: Driver>(driver: &mut D, scratch: &mut Scratch) -> Result<Step, Outcome> {
    scratch.plan.clear();
    if scratch.query.version != 0 {
        if is_in_front(driver) {
            return Err(Outcome::Miss);
        }
        driver.found(StageResult::BadVersion, scratch);
        return Ok(options::bad_version(&mut scratch.plan, &mut scratch.absence));
    }
    scratch.changes = driver.changes().ok_or(Outcome::Broken)?;
    let Scratch { query, name, cells, .. } = &mut *scratch;
    let found = find::question(driver.store(), query, name, cells).ok_or(Outcome::Broken)?;
    driver.found(StageResult::Node(found), scratch);
    let Scratch { query, plan, absence, cells, .. } = &mut *scratch;
    let (found, context) = match exact::first(query, plan, absence, found) {
        Step::At(found, context) => (found, context),
        step => return Ok(step),
    };
    if D::Store::UNBOUNDED {
        // Where a chain ends by their number, the question's own node is the first that is followed.
        absence.hops = 1;
    }
    let step = exact::run(driver.store(), query, plan, absence, cells, found, context);
    driver.found(StageResult::Answer(step), scratch);
    step
}

/// Finds the closest encloser of a name that does not exist, and plans the referral above it.
#[inline(always)]
pub fn deny<D: Driver>(driver: &mut D, scratch: &mut Scratch) -> Result<D::Entered, Outcome> {
    let step = closest_encloser(driver, scratch);
    go_on_after(driver, scratch, Stage::Deny, step)
}

/// The same step by itself; REFUSED is planned where no zone encloses the name, if the server is configured to say so.
#[inline(always)]
pub fn closest_encloser<D: Driver>(driver: &D, scratch: &mut Scratch) -> Result<Step, Outcome> {
    match deny::closest_encloser(driver.store(), scratch) {
        Err(Outcome::NotOurs)
            if driver.edns_settings().is_some_and(|edns_settings| edns_settings.refuse != 0) =>
        {
            Ok(options::refuse(&mut scratch.plan, &mut scratch.absence))
        }
        step => step,
    }
}

/// Finds the NSEC3 that proves that the next closer name does not exist.
#[inline(always)]
pub fn hash<D: Driver>(driver: &mut D, scratch: &mut Scratch) -> Result<D::Entered, Outcome> {
    let step = gap::next_closer_cover(driver.store(), scratch);
    go_on_after(driver, scratch, Stage::Hash, step)
}

/// Finds the NSEC that does, and plans the wildcard's answer or NXDOMAIN.
#[inline(always)]
pub fn conclude<D: Driver>(driver: &mut D, scratch: &mut Scratch) -> Result<D::Entered, Outcome> {
    let step = deny::conclude(driver.store(), scratch);
    go_on_after(driver, scratch, Stage::Conclude, step)
}

/// Goes where a CNAME leads that the image has not resolved, or that a wildcard has.
#[inline(always)]
pub fn follow<D: Driver>(driver: &mut D, scratch: &mut Scratch) -> Result<D::Entered, Outcome> {
    let step = alias::follow(driver.store(), scratch);
    go_on_after(driver, scratch, Stage::Follow, step)
}

/// Makes a CNAME from a DNAME.
#[inline(always)]
pub fn redirect<D: Driver>(driver: &mut D, scratch: &mut Scratch) -> Result<D::Entered, Outcome> {
    let step = alias::redirect(driver.store(), scratch);
    go_on_after(driver, scratch, Stage::Redirect, step)
}

/// Shows what a stage has found, and goes on after it.
#[inline(always)]
fn go_on_after<D: Driver>(
    driver: &mut D,
    scratch: &mut Scratch,
    stage: Stage,
    step: Result<Step, Outcome>,
) -> Result<D::Entered, Outcome> {
    driver.found(StageResult::Step(stage, step), scratch);
    go_on::<D, true>(driver, scratch, step)
}

/// Goes on after a step of planning. `CONCLUDES` is whether the step may have concluded from the absence of a name that
/// was looked up earlier.
#[inline(always)]
pub fn go_on<D: Driver, const CONCLUDES: bool>(
    driver: &mut D,
    scratch: &mut Scratch,
    step: Result<Step, Outcome>,
) -> Result<D::Entered, Outcome> {
    let step = match step {
        Ok(step) => step,
        Err(outcome) => return passed_up(driver, scratch, outcome),
    };
    scratch.absence.note(&step);
    let entered = match step {
        Step::Done(outcome) => return finish::<D, CONCLUDES>(driver, scratch, outcome),
        Step::Absent(..) => driver.enter(Stage::Deny),
        Step::Redirect => driver.enter(Stage::Redirect),
        Step::Hash => driver.enter(Stage::Hash),
        Step::Conclude => driver.enter(Stage::Conclude),
        Step::At(..) | Step::Chase(_) => driver.enter(Stage::Follow),
    };
    entered.ok_or(Outcome::Broken)
}

/// Completes the plan.
#[inline(always)]
fn finish<D: Driver, const CONCLUDES: bool>(
    driver: &mut D,
    scratch: &mut Scratch,
    outcome: Outcome,
) -> Result<D::Entered, Outcome> {
    // The name or the type may have come since the name was looked up, and the proof or the SOA record be of a version
    // that has it. With opt-out a referral may have proofs of the node and of the NSEC3 index.
    let denies = CONCLUDES || matches!(outcome, Outcome::Nodata | Outcome::Referral);
    let finished = if denies && driver.changes() != Some(recall(&scratch.changes)) {
        Err(Outcome::Miss)
    } else {
        let Scratch { plan, absence, cells, .. } = &mut *scratch;
        proofs::finish::<D::Store>(plan, absence, cells, outcome)
    };
    driver.found(StageResult::Plan(finished), scratch);
    match finished {
        Ok(outcome) => scratch.plan.outcome = outcome.index() as u32,
        Err(outcome) => return passed_up(driver, scratch, outcome),
    }
    let entered = if options::are_due(&scratch.query, &scratch.plan) {
        driver.enter(Stage::Options)
    } else {
        depart(driver, scratch)
    };
    entered.ok_or(Outcome::Broken)
}

/// Reads the options of the query and makes those of the response.
#[inline(always)]
pub fn options<D: Driver>(driver: &mut D, scratch: &mut Scratch) -> Result<D::Entered, Outcome> {
    let edns_settings = driver.edns_settings().ok_or(Outcome::Broken)?;
    let made = options::answer(driver.store(), scratch, edns_settings, driver.now_s());
    driver.found(StageResult::Options(made), scratch);
    match made {
        Ok(()) => depart(driver, scratch).ok_or(Outcome::Broken),
        Err(outcome) => passed_up(driver, scratch, outcome),
    }
}

//----------- After planning -------------------------------------------------------------------------

/// Goes on to where it is decided whether what is planned, options included, is sent.
#[inline(always)]
fn depart<D: Driver>(driver: &mut D, scratch: &Scratch) -> Option<D::Entered> {
    if driver.limit_bits() & ANSWER_LIMITS != 0
        && let Some(entered) = driver.enter(Stage::Limit)
    {
        return Some(entered);
    }
    depart_unlimited(driver, scratch)
}

/// Goes on to where it is sent.
#[inline(always)]
fn depart_unlimited<D: Driver>(driver: &mut D, scratch: &Scratch) -> Option<D::Entered> {
    if scratch.absence.is_redirected() {
        driver.enter(Stage::SendMade)
    } else {
        driver.enter(Stage::Send)
    }
}

/// What is passed up and this server's has a budget: goes on to where that is kept. What is another server's has none.
#[inline(always)]
fn passed_up<D: Driver>(
    driver: &mut D,
    scratch: &mut Scratch,
    outcome: Outcome,
) -> Result<D::Entered, Outcome> {
    if driver.limit_bits() & RESPONSE_LIMITS != 0 && outcome.is_ours() && !is_in_front(driver) {
        let place = forget(&mut scratch.cells.forgotten, outcome.index() as u64);
        scratch.plan.outcome = place as u32;
        if let Some(entered) = driver.enter(Stage::Limit) {
            return Ok(entered);
        }
    }
    Err(outcome)
}

/// Why [`limit`] sends nothing.
#[derive(Clone, Copy, Debug)]
pub enum Unsent {
    /// What is planned is not sent.
    Dropped(Outcome),
    /// It is passed up; its outcome has this place.
    Passed(usize),
}

/// Whether what is planned comes from a zone that is passed on to another server.
#[inline(always)]
fn is_of_passed_zone<S: Store>(store: &S, plan: &Plan) -> Result<bool, Outcome> {
    let zone = recall(&plan.zone);
    if zone == 0 {
        return Ok(false);
    }
    Ok(Zone::new(store.record(zone).ok_or(Outcome::Broken)?).is_passed())
}

/// Decides whether the planned answer is sent, or what is not answered passed up.
#[inline(always)]
pub fn limit<D: LimitingDriver>(
    driver: &mut D,
    scratch: &mut Scratch,
) -> Result<D::Entered, Unsent> {
    let outcome = recall(&scratch.plan.outcome) as usize;
    if driver.limit_bits() & limits::PASSED_ZONES != 0
        && is_of_passed_zone(driver.store(), &scratch.plan).map_err(Unsent::Dropped)?
    {
        return Err(Unsent::Passed(Outcome::Miss.index()));
    }
    if driver.limit_bits() & RESPONSE_LIMITS == 0 {
        return depart_unlimited(driver, scratch).ok_or(Unsent::Dropped(Outcome::Broken));
    }
    let limiter = driver.limiter();
    let client = Client::of(&scratch.layers);
    let listed = if limiter.limit_bits() & limits::NAMES != 0 && is_read(outcome) {
        driver.listed(scratch)
    } else {
        NameListing { block: 0, policy: 0 }
    };
    let is_passed = outcome > Outcome::Slipped.index();
    let is_vouched_for = !is_passed && recall(&scratch.query.has_valid_cookie) != 0;
    let Scratch { query, plan, absence, options, layers, made, cells, limit, .. } = &mut *scratch;
    let said = || {
        let (class, name) = if is_passed {
            (PASSED, 0)
        } else {
            let class = response_key::class(query, plan, cells, outcome);
            (
                class,
                response_key::name(driver.store(), query, absence, class).ok_or(Outcome::Broken)?,
            )
        };
        let class = forget(&mut cells.forgotten, class as u64) as usize;
        let name = forget(&mut cells.forgotten, name);
        let policy = recall(&listed.policy);
        let weight = if limiter.limit_bits() & limits::AMPLIFICATION != 0 && !is_passed {
            let (most, opt_len) = (driver.response_limit(query), measure::opt_len(query, options));
            let response = measure::octets(driver.store(), query, plan, made, cells, opt_len, most);
            decide::weight(response, layers.message_len())
        } else {
            WEIGHT_ONE
        };
        let weight = forget(&mut cells.forgotten, weight);
        Ok(PlannedResponse { class, name, weight, policy })
    };
    let verdict = decide::decide(&limiter, &client, listed, is_vouched_for, said, limit)
        .map_err(Unsent::Dropped)?;
    if is_passed {
        return Err(Unsent::Passed(outcome));
    }
    if verdict == Verdict::Slip {
        slip(query, plan, absence, options);
    }
    decide::charge_amplification(&limiter, &client, limit);
    depart_unlimited(driver, scratch).ok_or(Unsent::Dropped(Outcome::Broken))
}

/// Plans what is sent in the place of a response that is slipped.
#[inline(always)]
fn slip(query: &Query, plan: &mut Plan, absence: &mut Absence, options: &mut Options) {
    match Slip::to(recall(&query.has_cookie) != 0) {
        Slip::BadCookie => {
            options::bad_cookie(plan, absence, options);
            plan.slipped = 1;
        }
        Slip::Truncated => {
            plan.slip();
            // So that it is no larger than the query.
            options.clear();
        }
    }
}

/// Whether a question has been read whose outcome has this place.
#[inline(always)]
fn is_read(outcome: usize) -> bool {
    outcome <= Outcome::Slipped.index() || outcome >= Outcome::MetaType.index()
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// The place of what it is called.
    pub outcome: usize,
    /// Octets of the message.
    pub octets: usize,
}

/// Makes room for the planned answer, writes it, and turns the headers round if there are any.
#[inline(always)]
pub fn send<D: Driver, F: Frame>(
    driver: &mut D,
    frame: &mut F,
    scratch: &mut Scratch,
) -> Result<Sent, Outcome> {
    let limit = driver.response_limit(&scratch.query);
    let planned = if D::Store::UNBOUNDED { scratch.plan.count } else { 0 };
    let size = measure::measure(driver.store(), scratch, limit, driver.now_s());
    driver.found(StageResult::Size(size, limit), scratch);
    let total = size?;
    if D::Store::UNBOUNDED && !D::FRAMED {
        let is_too_large = driver.is_stream() && scratch.plan.truncated != 0;
        if is_too_large {
            // Nobody can be told to come again: all is sent but the glue that there is no room for.
            scratch.plan.count = planned;
            scratch.plan.truncated = 0;
        }
        if is_too_large || long::is_long(driver.store(), scratch, total) {
            long::write(driver.store(), frame, limit, driver.payload(), scratch)?;
            return written(driver, scratch);
        }
    }
    let message_at = if D::FRAMED { scratch.layers.message_at() } else { 0 };
    let name_len = recall(&scratch.query.name_len) as usize & 0xff;
    let keep = message_at + compose::records_at(name_len);
    driver.found(StageResult::Room(message_at + total), scratch);
    frame.resize(message_at + total, keep)?;
    // From here on the frame is edited, and what fails cannot be passed up.
    let failed = if D::FRAMED { Outcome::Torn } else { Outcome::Broken };
    let payload = driver.payload();
    let sum = compose::write(driver.store(), frame, message_at, payload, scratch).ok_or(failed)?;
    if D::FRAMED {
        let total = recall(&scratch.plan.total) as usize & 0xffff;
        layers::reply(frame, &scratch.layers, total, sum).ok_or(failed)?;
        driver.found(StageResult::Sent(message_at + total), scratch);
    }
    written(driver, scratch)
}

/// What became of a response that was written. Over TCP nobody can be told to come again over TCP: there TC says that
/// glue was left out, and what has nothing in it is no answer.
#[inline(always)]
fn written<D: Driver>(driver: &D, scratch: &Scratch) -> Result<Sent, Outcome> {
    let octets = recall(&scratch.plan.total) as usize & 0xffff;
    if !driver.is_stream() {
        return Ok(Sent { outcome: scratch.plan.said(), octets });
    }
    if scratch.plan.truncated != 0 && scratch.plan.count == 0 {
        return Err(Outcome::Oversize);
    }
    Ok(Sent { outcome: scratch.plan.outcome as usize, octets })
}

//----------- All in a loop --------------------------------------------------------------------------

/// Answers the query in a frame in place.
pub fn answer_frame<D: FrameDriver<Entered = Stage>, F: Frame>(
    driver: &mut D,
    frame: &mut F,
    scratch: &mut Scratch,
) -> Result<Outcome, Outcome> {
    let first = serve(driver, frame, scratch)?;
    run(driver, frame, scratch, first)
}

/// Takes the stages from this one on, the last of which writes the response into `frame`, where the query is.
pub fn run<D: Driver<Entered = Stage>, F: Frame>(
    driver: &mut D,
    frame: &mut F,
    scratch: &mut Scratch,
    first: Stage,
) -> Result<Outcome, Outcome> {
    let mut stage = first;
    loop {
        stage = match stage {
            Stage::Deny => deny(driver, scratch)?,
            Stage::Hash => hash(driver, scratch)?,
            Stage::Conclude => conclude(driver, scratch)?,
            Stage::Follow => follow(driver, scratch)?,
            Stage::Redirect => redirect(driver, scratch)?,
            Stage::Options => options(driver, scratch)?,
            // Who takes stages in a loop limits what is sent once it is written.
            Stage::Limit => depart_unlimited(driver, scratch).ok_or(Outcome::Broken)?,
            Stage::Send | Stage::SendMade => {
                return send(driver, frame, scratch).map(|sent| Outcome::ALL[sent.outcome]);
            }
        };
    }
}
