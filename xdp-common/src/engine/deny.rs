//! What is said at a name that does not exist: the referral above it, the wildcard's answer, the
//! DNAME's, or NXDOMAIN with its proof (RFC 4035 section 3.1.3, RFC 5155 section 7.2).
//!
//! Only the next closer name is ever looked up in a gap index: what depends on the closest encloser
//! alone was compiled into its node.

use crate::Outcome;
use crate::bytes::{get, put, u8_at, u16_at, u64_at};
use crate::checksum;
use crate::dns::name::{self, MAX_NAME_WORDS};
use crate::dns::{rcode, rtype};
use crate::engine::exact::{self, Step};
use crate::engine::find;
use crate::engine::made;
use crate::engine::plan::{Context, PLAN_LEN, QUESTION, piece_of, section};
use crate::image::bounds::MAX_SALT;
use crate::image::node::{Node, flag};
use crate::image::piece::{self, Piece, RDATA_AT};
use crate::image::zone::{Chain, Zone, chain_at, denial};
use crate::image::{Address, Entry, MAX_SCAN, MAX_SEARCH_STEPS, Store, UNIT};
use crate::launder::{forget, recall};
use crate::scratch::Scratch;
use crate::sha1;

/// Proofs that can wait for the end of a chain of CNAMEs.
const MAX_WAITING: usize = 16;

/// Cache lines of an NSEC3 with one signature over P-256.
const PROOF_LINES: usize = 5;

/// What is known of a name that does not exist, from one stage of planning to the next. In the kernel
/// each stage is a program.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Absence {
    /// The name.
    context: Context,
    /// Its labels, the root not counted.
    labels: u32,
    /// The node that a CNAME leads to; 0 if it must be looked for.
    target: Address,
    /// The node of the closest encloser.
    encloser: Address,
    /// Where the next closer name starts in [`Scratch::name`].
    next_closer: u32,
    /// The NSEC3 index of its zone.
    chain: Address,
    /// The proof that the next closer name does not exist, or 0.
    cover: Address,
    /// 1 if `cover` must be searched for in the index of the encloser's children.
    is_sought: u32,
    /// How many CNAMEs were made from DNAMEs.
    made: u32,
    /// How many CNAMEs were followed by [`follow`].
    hops: u32,
    /// How many of `covers` count.
    waiting: u32,
    /// Proofs of wildcards whose CNAMEs are followed: they come behind the answers that are not yet
    /// found.
    covers: [Waiting; MAX_WAITING],
}

/// A proof that waits, and the name that it is about.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Waiting {
    address: Address,
    context: Context,
}

impl Absence {
    /// Nothing is known.
    pub const fn new() -> Absence {
        let context = Context { from: QUESTION, len: 0 };
        Absence {
            context,
            labels: 0,
            target: 0,
            encloser: 0,
            next_closer: 0,
            chain: 0,
            cover: 0,
            is_sought: 0,
            made: 0,
            hops: 0,
            waiting: 0,
            covers: [Waiting { address: 0, context }; MAX_WAITING],
        }
    }

    /// Forgets what was known.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.encloser = 0;
        self.made = 0;
        self.hops = 0;
        self.waiting = 0;
    }

    /// Notes what the next stage needs to know of a step.
    #[inline(always)]
    pub fn note(&mut self, step: &Step) {
        match *step {
            Step::Absent(labels, context) => {
                self.labels = labels as u32;
                self.context = context;
            }
            Step::At(address, context) => {
                self.target = address;
                self.context = context;
            }
            Step::Chase(context) => {
                self.target = 0;
                self.context = context;
            }
            Step::Done(_) | Step::Redirect | Step::Hash | Step::Conclude => {}
        }
    }

    /// The node of the closest encloser of a name that was found not to exist, or the cut or the owner of a DNAME
    /// above it; 0 if all names exist.
    #[inline(always)]
    pub fn encloser(&self) -> Address {
        recall(&self.encloser)
    }

    /// Whether the plan has a CNAME in it that was [`made`].
    #[inline(always)]
    pub fn is_redirected(&self) -> bool {
        recall(&self.made) != 0
    }

    /// The name that does not exist, or that is followed.
    #[inline(always)]
    pub fn context(&self) -> Context {
        Context { from: recall(&self.context.from), len: recall(&self.context.len) }
    }

    /// Where the next closer name starts in [`Scratch::name`].
    pub fn next_closer(&self) -> usize {
        self.next_closer as usize & 0xff
    }

    /// The proof that the next closer name does not exist; 0 if there is none, or it is not yet found.
    pub fn cover(&self) -> Address {
        self.cover
    }
}

impl Default for Absence {
    fn default() -> Absence {
        Absence::new()
    }
}

/// Takes steps until the plan is complete, all of them in one go: for the host.
pub fn run<S: Store>(store: &S, scratch: &mut Scratch, first: Step) -> Result<Outcome, Outcome> {
    let mut step = first;
    loop {
        if let Step::Done(outcome) = step {
            return finish::<S>(scratch, outcome);
        }
        step = take(store, scratch, step)?;
    }
}

/// Takes one step that is not the last: in the kernel a program of its own.
pub fn take<S: Store>(store: &S, scratch: &mut Scratch, step: Step) -> Result<Step, Outcome> {
    scratch.absence.note(&step);
    match step {
        Step::Done(_) => Ok(step),
        Step::At(..) | Step::Chase(_) => follow(store, scratch),
        Step::Absent(..) => enclose(store, scratch),
        Step::Redirect => redirect(store, scratch),
        Step::Hash => hash(store, scratch),
        Step::Conclude => conclude(store, scratch),
    }
}

/// Whether a plan may lack room for what one more name adds. Where chains are bounded it never does.
#[inline(always)]
pub(super) fn is_full<S: Store>(scratch: &Scratch) -> bool {
    let parts = scratch.plan.count + scratch.absence.waiting;
    S::UNBOUNDED && parts as usize >= PLAN_LEN - 6
}

/// A longer chain is the host's, and past its bound the resolver's: what was found is true.
#[inline(always)]
pub(super) fn end_of_chain<S: Store>() -> Result<Step, Outcome> {
    if S::UNBOUNDED { Ok(Step::Done(Outcome::Positive)) } else { Err(Outcome::Miss) }
}

/// Completes the plan: what waits comes behind the answers. A plan of more pieces than this host of
/// the engine sends is [`Outcome::Miss`].
#[inline(always)]
pub fn finish<S: Store>(scratch: &mut Scratch, outcome: Outcome) -> Result<Outcome, Outcome> {
    settle::<S>(scratch);
    if recall(&scratch.plan.count) as usize > S::MAX_PIECES {
        return Err(Outcome::Miss);
    }
    Ok(outcome)
}

/// Adds the proofs that wait.
#[inline(always)]
pub(super) fn settle<S: Store>(scratch: &mut Scratch) {
    const { assert!(S::MAX_CHAIN + 2 <= MAX_WAITING) };
    let waiting = recall(&scratch.absence.waiting) as usize;
    let mut index = 0;
    while index < S::MAX_CHAIN + 2 {
        if index >= waiting {
            break;
        }
        let Waiting { address, context } = scratch.absence.covers[index];
        add_proof::<S>(scratch, address, context);
        index += 1;
    }
    scratch.absence.waiting = 0;
}

/// Adds a proof, unless it is none or there already: one NSEC or NSEC3 often proves two things.
#[inline(always)]
fn add_proof<S: Store>(scratch: &mut Scratch, address: Address, context: Context) {
    let count = recall(&scratch.plan.count) as usize;
    let (mut known, mut index) = ((address == 0) as u64, 0);
    while index < S::MAX_PIECES {
        if index >= count {
            break;
        }
        known |= (scratch.plan.parts[index].address == address) as u64;
        index += 1;
    }
    if forget(&mut scratch.slots[13], known) == 0 {
        scratch.plan.add(address, section::AUTHORITY, context);
    }
}

/// Finds the closest encloser of a name that does not exist and stands in [`Scratch::name`]. What is
/// decided by the encloser alone is planned: the referral, the DNAME.
#[inline(always)]
pub fn enclose<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let context = scratch.absence.context();
    let labels = recall(&scratch.absence.labels) as usize & 0x7f;
    let (address, depth) = find::encloser(store, scratch, context.len as usize & 0xff, labels)?;
    if address == 0 {
        // Followed names that left all zones are the resolver's.
        return if context.from == QUESTION {
            Err(Outcome::NotOurs)
        } else {
            Ok(Step::Done(Outcome::Positive))
        };
    }
    let node = Node::new(store.record(address).ok_or(Outcome::Broken)?);
    scratch.absence.encloser = address;
    if context.from == QUESTION {
        scratch.plan.zone = node.zone();
    }
    if node.is(flag::CUT) {
        exact::referral::<S>(scratch, node, context)?;
        return Ok(Step::Done(Outcome::Referral));
    }
    if node.is(flag::HOT) {
        return Err(Outcome::Miss);
    }
    if node.is(flag::DNAME) {
        return Ok(Step::Redirect);
    }
    let labels = recall(&scratch.absence.labels) as usize;
    scratch.absence.next_closer = scratch.offsets[labels.wrapping_sub(depth + 1) & 127] as u32;
    scratch.absence.cover = 0;
    scratch.absence.is_sought = 0;
    if recall(&scratch.query.dnssec_ok) == 0 {
        return Ok(Step::Conclude);
    }
    let zone = Zone::new(store.record(node.zone()).ok_or(Outcome::Broken)?);
    match zone.denial() {
        denial::NSEC => scratch.absence.is_sought = 1,
        denial::NSEC3 if node.is(flag::NO_NSEC3) => scratch.absence.cover = node.first_cover(),
        denial::NSEC3 => return Ok(Step::Hash),
        _ => {}
    }
    Ok(Step::Conclude)
}

/// Finds the NSEC3 that covers the hash of the next closer name: the last one not after it, or the last
/// of all (RFC 5155 section 7.1).
#[inline(always)]
pub fn hash<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let at = recall(&scratch.absence.next_closer) as usize & 0xff;
    let len = (scratch.absence.context().len as usize).wrapping_sub(at) & 0xff;
    let encloser = recall(&scratch.absence.encloser);
    let encloser = Node::new(store.record(encloser).ok_or(Outcome::Broken)?);
    let zone = Zone::new(store.record(encloser.zone()).ok_or(Outcome::Broken)?);
    scratch.absence.chain = zone.chain();
    let window = store.record(zone.chain()).ok_or(Outcome::Broken)?;
    let (high, low) = hash_next_closer(store, scratch, Chain::new(window), at, len)?;
    let cover = nsec3_cover(store, scratch, high, low)?;
    scratch.absence.cover = cover;
    // It arrives while the rest is planned.
    find::fetch::<PROOF_LINES>(store.record(cover).ok_or(Outcome::Broken)?);
    Ok(Step::Conclude)
}

/// The first octets of the hash of the next closer name, which stands in [`Scratch::name`]. Where its work is
/// bounded, additional iterations and long salts are the host's.
#[inline(always)]
fn hash_next_closer<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    chain: Chain<'_>,
    at: usize,
    len: usize,
) -> Result<(u64, u32), Outcome> {
    let (salt_len, iterations) = (chain.salt_len(), chain.iterations());
    // Without a salt any record will do.
    let salt = if salt_len != 0 { chain.salt() } else { recall(&scratch.absence.chain) };
    let salt = store.record(salt).ok_or(Outcome::Broken)?;
    if S::UNBOUNDED {
        return Ok(sha1::hash_iterated(scratch, at, len, &salt[..salt_len], iterations));
    }
    if iterations != 0 || salt_len > MAX_SALT {
        return Err(Outcome::Hashing);
    }
    Ok(sha1::hash_name(scratch, at, len, salt, salt_len))
}

/// Plans what is said below the closest encloser: the wildcard's answer, or NXDOMAIN with its proof.
#[inline(always)]
pub fn conclude<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let encloser = recall(&scratch.absence.encloser);
    let encloser = Node::new(store.record(encloser).ok_or(Outcome::Broken)?);
    if recall(&scratch.absence.is_sought) != 0 {
        scratch.absence.cover = nsec_cover(store, scratch, encloser)?;
    }
    let context = scratch.absence.context();
    if encloser.wildcard() != 0 {
        return wildcard(store, scratch, encloser, context);
    }
    let zone = Zone::new(store.record(encloser.zone()).ok_or(Outcome::Broken)?);
    scratch.plan.rcode = rcode::NXDOMAIN;
    scratch.plan.add(zone.soa(), section::AUTHORITY, context);
    if recall(&scratch.query.dnssec_ok) != 0 {
        add_proof::<S>(scratch, recall(&scratch.absence.cover), context);
        add_proof::<S>(scratch, encloser.encloser_match(), context);
        add_proof::<S>(scratch, encloser.wildcard_cover(), context);
    }
    Ok(Step::Done(Outcome::Nxdomain))
}

/// The wildcard's RRset as if it were the name's own, with the proof that the name itself does not
/// exist (RFC 4035 section 3.1.3.3, RFC 5155 section 7.2.6), or that the wildcard does not have the
/// type (RFC 4035 section 3.1.3.4, RFC 5155 section 7.2.5).
#[inline(always)]
fn wildcard<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    encloser: Node<'_>,
    context: Context,
) -> Result<Step, Outcome> {
    let source = Node::new(store.record(encloser.wildcard()).ok_or(Outcome::Broken)?);
    let qtype = recall(&scratch.query.qtype) as u16;
    let piece = exact::type_piece::<S>(source, qtype, scratch)?;
    if piece != 0 {
        scratch.plan.add(piece, section::ANSWER, context);
        add_proof::<S>(scratch, recall(&scratch.absence.cover), context);
        return Ok(Step::Done(Outcome::Wildcard));
    }
    if source.is(flag::CNAME) {
        let index = scratch.absence.waiting as usize & (MAX_WAITING - 1);
        let address = recall(&scratch.absence.cover);
        scratch.absence.covers[index] = Waiting { address, context };
        scratch.absence.waiting = index as u32 + 1;
        return exact::cname(store, scratch, source, context, Outcome::Wildcard);
    }
    let zone = Zone::new(store.record(encloser.zone()).ok_or(Outcome::Broken)?);
    scratch.plan.add(zone.soa(), section::AUTHORITY, context);
    if recall(&scratch.query.dnssec_ok) != 0 {
        let [first, second] = source.proofs();
        add_proof::<S>(scratch, recall(&scratch.absence.cover), context);
        add_proof::<S>(scratch, encloser.encloser_match(), context);
        add_proof::<S>(scratch, first, context);
        add_proof::<S>(scratch, second, context);
    }
    Ok(Step::Done(Outcome::Wildcard))
}

/// The NSEC that covers the next closer name: that of the last name at or below the sibling before
/// it, or the encloser's own if there is no such sibling.
#[inline(always)]
fn nsec_cover<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    encloser: Node<'_>,
) -> Result<Address, Outcome> {
    let at = recall(&scratch.absence.next_closer) as usize & 0xff;
    let (key_high, key_low) = name::label_key(&scratch.name, at);
    let (index, count) = encloser.children();
    // slots 10 to 12: least place that may be after, how many places may be, child before
    scratch.slots[10] = 0;
    scratch.slots[11] = count as u64;
    scratch.slots[12] = 0;
    let mut step = 0;
    while step <= MAX_SEARCH_STEPS {
        let low = recall(&scratch.slots[10]) as u32;
        let size = recall(&scratch.slots[11]) as u32;
        if size == 0 {
            break;
        }
        let middle = low + (size >> 1);
        let entry = store.entry(entry_address(index, middle)).ok_or(Outcome::Broken)?;
        let (high, low_part, child) = key_of(entry);
        scratch.slots[13] = ((high, low_part) < (key_high, key_low)) as u64;
        if high == key_high && low_part == key_low {
            let child = Node::new(store.record(child).ok_or(Outcome::Broken)?);
            label_sorts_before(child, scratch, at);
        }
        if recall(&scratch.slots[13]) != 0 {
            scratch.slots[12] = child as u64;
            scratch.slots[10] = middle as u64 + 1;
            scratch.slots[11] = (size - (size >> 1) - 1) as u64;
        } else {
            scratch.slots[11] = (size >> 1) as u64;
        }
        step += 1;
    }
    let child = recall(&scratch.slots[12]) as Address;
    if child == 0 {
        return Ok(encloser.first_cover());
    }
    let child = store.record(child).ok_or(Outcome::Broken)?;
    // The last name at or below most children is the child itself, and its NSEC right behind it.
    find::fetch::<{ find::NODE_LINES }>(child);
    Ok(Node::new(child).last_cover())
}

/// Says in slot 13 whether the first label of a child sorts before the label at `at`: octets, then
/// lengths (RFC 4034 section 6.1).
#[inline(always)]
fn label_sorts_before(child: Node<'_>, scratch: &mut Scratch, at: usize) {
    let name_at = child.name_at();
    let child_len = child.name_word(name_at, 0) as u8 as usize & 63;
    let len = u8_at(&scratch.name, at) as usize & 63;
    scratch.slots[13] = (child_len < len) as u64;
    let common = if child_len < len { child_len } else { len };
    let common = forget(&mut scratch.slots[9], common as u64) as usize;
    let mut place = 0;
    while place < 63 {
        if place >= common {
            break;
        }
        let a = child.name_word(name_at, 1 + place) as u8;
        let b = u8_at(&scratch.name, at + 1 + place);
        if a != b {
            scratch.slots[13] = (a < b) as u64;
            break;
        }
        place += 1;
    }
    forget(&mut scratch.slots[9], place as u64);
}

/// The NSEC3 with the last hash that is not after this one.
#[inline(always)]
fn nsec3_cover<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    high: u64,
    low: u32,
) -> Result<Address, Outcome> {
    let chain = recall(&scratch.absence.chain);
    let index = chain.wrapping_add((chain_at::ENTRIES / UNIT) as Address);
    let chain = Chain::new(store.record(chain).ok_or(Outcome::Broken)?);
    let count = chain.count();
    let start = start_of(store, chain, (high >> chain.shift()) as u32).ok_or(Outcome::Broken)?;
    scratch.slots[10] = start as u64;
    scratch.slots[12] = 0;
    let mut step = 0;
    while step < MAX_SCAN {
        let place = recall(&scratch.slots[10]) as u32;
        if place >= count {
            break;
        }
        let entry = store.entry(entry_address(index, place)).ok_or(Outcome::Broken)?;
        let (entry_high, entry_low, piece) = key_of(entry);
        if (entry_high, entry_low) > (high, low) {
            break;
        }
        scratch.slots[12] = piece as u64;
        scratch.slots[10] = place as u64 + 1;
        step += 1;
    }
    if forget(&mut scratch.slots[13], step as u64) >= MAX_SCAN as u64 {
        return Err(Outcome::Broken);
    }
    let found = recall(&scratch.slots[12]) as Address;
    if found != 0 {
        return Ok(found);
    }
    let previous = if start == 0 { count.wrapping_sub(1) } else { start - 1 };
    Ok(key_of(store.entry(entry_address(index, previous)).ok_or(Outcome::Broken)?).2)
}

/// The first entry of the NSEC3 index that shares these top bits.
#[inline(always)]
fn start_of<S: Store>(store: &S, chain: Chain<'_>, bits: u32) -> Option<u32> {
    const STARTS: u32 = (size_of::<Entry>() / size_of::<u32>()) as u32;
    let four = store.entry(entry_address(chain.directory(), bits / STARTS))?;
    Some(word(four, (bits % STARTS) as usize * size_of::<u32>()))
}

/// The address of an entry of an index.
#[inline(always)]
fn entry_address(index: Address, place: u32) -> Address {
    index.wrapping_add(place.wrapping_mul((size_of::<Entry>() / UNIT) as u32))
}

/// The key of an entry in two parts, and its address.
#[inline(always)]
fn key_of(entry: &Entry) -> (u64, u32, Address) {
    let [a, b, c, d, e, f, g, h, ..] = *entry;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), word(entry, 8), word(entry, 12))
}

#[inline(always)]
fn word(entry: &Entry, at: usize) -> u32 {
    u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
}

/// Goes where a CNAME leads.
#[inline(always)]
pub fn follow<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let hops = recall(&scratch.absence.hops) as usize;
    if hops > S::MAX_CHAIN || is_full::<S>(scratch) {
        return end_of_chain::<S>();
    }
    scratch.absence.hops = hops as u32 + 1;
    let context = scratch.absence.context();
    let target = recall(&scratch.absence.target);
    if target != 0 {
        if S::UNBOUNDED && context.from != QUESTION {
            let window = store.record(target).ok_or(Outcome::Broken)?;
            let node = Node::new(window);
            let name = window[node.name_at()..].get(..node.name_len());
            if is_followed(store, scratch, context, name.ok_or(Outcome::Broken)?) {
                return Ok(Step::Done(Outcome::Positive));
            }
        }
        return exact::run(store, scratch, target, context);
    }
    match chase(store, scratch, context)? {
        Step::At(found, context) => exact::run(store, scratch, found, context),
        step => Ok(step),
    }
}

/// Puts the name that a CNAME points to into [`Scratch::name`] and looks it up.
#[inline(always)]
fn chase<S: Store>(store: &S, scratch: &mut Scratch, context: Context) -> Result<Step, Outcome> {
    let cname = scratch.plan.parts[(context.from as usize).wrapping_sub(1) & (PLAN_LEN - 1)];
    let Scratch { name, offsets, slots, made, .. } = &mut *scratch;
    let piece = piece_of(store, made, cname.address).ok_or(Outcome::Broken)?;
    let window = piece.window();
    let at = piece.body_at() + RDATA_AT;
    let read = |place: usize| u8_at(window, at + place);
    let (len, labels) = name::walk(read, offsets, slots).ok_or(Outcome::Broken)?;
    slots[15] = len as u64;
    let mut word = 0;
    while word < MAX_NAME_WORDS {
        let octets = name::lowercase8(u64_at(window, at + word * 8));
        put(name, word * 8, octets.to_le_bytes());
        word += 1;
    }
    let len = recall(&slots[15]) as usize & 0xff;
    let mut after = 0;
    while after < 16 {
        put(name, len + after, [0; 8]);
        after += 8;
    }
    let context = Context { from: context.from, len: len as u32 };
    // Where steps are bounded, a circle ends with them.
    if S::UNBOUNDED && is_followed(store, scratch, context, &scratch.name[..len]) {
        return Ok(Step::Done(Outcome::Positive));
    }
    let hash = name::hash(&scratch.name, 0, len, store.seed());
    let hash = forget(&mut scratch.slots[13], hash);
    let len = recall(&scratch.slots[15]) as usize & 0xff;
    let found = find::suffix(store, scratch, 0, len, hash, hash).ok_or(Outcome::Broken)?;
    Ok(if found != 0 { Step::At(found, context) } else { Step::Absent(labels, context) })
}

/// Whether a name, the context's, is the question's or one that a CNAME points to that stands in the
/// plan before the context's. So a circle ends: what was found is the answer.
fn is_followed<S: Store>(store: &S, scratch: &Scratch, context: Context, name: &[u8]) -> bool {
    let question = scratch.question.get(..scratch.query.name_len as usize);
    if question.is_some_and(|question| question.eq_ignore_ascii_case(name)) {
        return true;
    }
    let before = (context.from as usize).wrapping_sub(1) & (PLAN_LEN - 1);
    scratch.plan.parts[..before].iter().any(|part| {
        let Some(piece) = piece_of(store, &scratch.made, part.address) else { return false };
        let record = &piece.window()[piece.body_at()..];
        let target = record.get(RDATA_AT..RDATA_AT + name.len());
        record[2..4] == rtype::CNAME.to_be_bytes()
            && target.is_some_and(|target| target.eq_ignore_ascii_case(name))
    })
}

/// Plans the DNAME, the CNAME made from it, and goes where that leads (RFC 6672 section 3.2);
/// YXDOMAIN if the name would be too long.
#[inline(always)]
pub fn redirect<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Step, Outcome> {
    let made = recall(&scratch.absence.made) as usize;
    if made >= S::MAX_MADE || is_full::<S>(scratch) {
        return end_of_chain::<S>();
    }
    let context = scratch.absence.context();
    let encloser = recall(&scratch.absence.encloser);
    let node = Node::new(store.record(encloser).ok_or(Outcome::Broken)?);
    scratch.plan.add(node.otherwise(), section::ANSWER, context);
    let dname = Piece::new(store.record(node.otherwise()).ok_or(Outcome::Broken)?);
    let target_len = u16_at(dname.window(), dname.body_at() + 10).swap_bytes() as usize;
    let prefix_len = (context.len as usize).wrapping_sub(node.name_len()) & 0xff;
    if prefix_len + target_len > 255 {
        scratch.plan.rcode = rcode::YXDOMAIN;
        return Ok(Step::Done(Outcome::Dname));
    }
    scratch.absence.made = made as u32 + 1;
    synthesise::<S>(scratch, dname, prefix_len, target_len, made);
    let number = if S::UNBOUNDED { made } else { 0 };
    scratch.plan.add(made::address(number), section::ANSWER, context);
    let from = recall(&scratch.plan.count);
    // A question for the CNAME itself is answered; names outside the zone are the resolver's to follow.
    if recall(&scratch.query.qtype) as u16 == rtype::CNAME || !node.is(flag::CHASE) {
        return Ok(Step::Done(Outcome::Dname));
    }
    Ok(Step::Chase(Context { from, len: 0 }))
}

/// Makes the piece of a CNAME that leads to the first `prefix_len` octets of the context's name before
/// the target of a DNAME: the one with this number.
#[inline(always)]
fn synthesise<S: Store>(
    scratch: &mut Scratch,
    dname: Piece<'_>,
    prefix_len: usize,
    target_len: usize,
    number: usize,
) {
    let is_question = scratch.absence.context().from == QUESTION;
    let Scratch { made, question, name, slots, .. } = scratch;
    let synthesis = if S::UNBOUNDED { made.get_mut(number) } else { made.first_mut() };
    let (window, body) = (dname.window(), dname.body_at());
    let at = piece::body_at(0);
    let ttl: [u8; 4] = get(window, body + 6);
    put(synthesis, at, piece::QUESTION_POINTER.to_be_bytes());
    put(synthesis, at + 2, [0, rtype::CNAME as u8, 0, 1]);
    put(synthesis, at + 6, ttl);
    put(synthesis, at + 10, ((prefix_len + target_len) as u16).to_be_bytes());
    // Loops narrow what they compare with: what is needed behind them goes through memory.
    slots[13] = prefix_len as u64;
    slots[14] = (RDATA_AT + prefix_len + target_len) as u64;
    let mut word = 0;
    while word < MAX_NAME_WORDS {
        if word * 8 >= prefix_len {
            break;
        }
        // As the client wrote it; but a followed name stands only in lower case.
        let octets = if is_question { get(question, word * 8) } else { get(name, word * 8) };
        put::<_, 8>(synthesis, at + RDATA_AT + word * 8, octets);
        word += 1;
    }
    let target_at = at + RDATA_AT + (recall(&slots[13]) as usize & 0xff);
    let mut word = 0;
    while word < MAX_NAME_WORDS {
        if word * 8 >= target_len {
            break;
        }
        let octets: [u8; 8] = get(window, body + RDATA_AT + word * 8);
        put(synthesis, target_at + word * 8, octets);
        word += 1;
    }
    let len = recall(&slots[14]) as usize & 0x1ff;
    put(synthesis, at + len, [0; 8]);
    let (mut sum, mut word) = (0, 0);
    while word < MAX_NAME_WORDS + RDATA_AT.div_ceil(8) {
        if word * 8 >= len {
            break;
        }
        sum = checksum::add_u64(sum, u64_at(synthesis, at + word * 8));
        word += 1;
    }
    let sum = checksum::fold(forget(&mut slots[13], sum));
    let len = recall(&slots[14]) as u16;
    for (field, value) in [
        (piece::at::LEN, len),
        (piece::at::SIGNED_LEN, len),
        (piece::at::SUM, sum),
        (piece::at::SIGNED_SUM, sum),
        (piece::at::COUNT, 1),
        (piece::at::SIGNED_COUNT, 1),
    ] {
        put(synthesis, field, value.to_le_bytes());
    }
    put(synthesis, piece::at::NOT_AFTER, piece::NEVER.to_le_bytes());
    // No fix-ups, and the owner is the context's name.
    put(synthesis, piece::at::FIXUPS, [0; 8]);
}
