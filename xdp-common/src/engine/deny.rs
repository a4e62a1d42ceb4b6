//! What is said at a name that does not exist: the referral above it, the wildcard's answer, the
//! DNAME's, or NXDOMAIN with its proof (RFC 4035 section 3.1.3, RFC 5155 section 7.2).
//!
//! Only the next closer name is ever looked up in a gap index: what depends on the closest encloser
//! alone was compiled into its node.

use crate::Outcome;
use crate::bytes::{get, put, u8_at, u16_at};
use crate::dns::{HEADER_LEN, name, rcode, rtype};
use crate::engine::exact::{self, Step};
use crate::engine::find;
use crate::engine::plan::{Context, PLAN_LEN, QUESTION, SYNTHESIS, piece_of, section};
use crate::image::node::{Node, flag};
use crate::image::piece::{self, Piece, RDATA_AT};
use crate::image::zone::{Zone, denial};
use crate::image::{Address, Entry, MAX_SCAN, MAX_SEARCH_STEPS, Store, UNIT};
use crate::launder::{forget, recall};
use crate::scratch::Scratch;
use crate::sha1;

/// Plans the answer to a question whose name does not exist.
pub fn plan<S: Store>(store: &S, scratch: &mut Scratch) -> Result<Outcome, Outcome> {
    scratch.plan.authoritative = 1;
    let context = Context { from: QUESTION, len: scratch.query.name_len };
    let labels = scratch.query.labels as usize;
    run(store, scratch, Step::Absent(labels, context))
}

/// Takes steps until the plan is complete: CNAMEs are followed through wildcards and DNAMEs.
pub fn run<S: Store>(store: &S, scratch: &mut Scratch, step: Step) -> Result<Outcome, Outcome> {
    let outcome = steps(store, scratch, step)?;
    scratch.plan.put_in_order();
    Ok(outcome)
}

fn steps<S: Store>(store: &S, scratch: &mut Scratch, mut step: Step) -> Result<Outcome, Outcome> {
    let mut hops = 0;
    let mut outcome = Outcome::Positive;
    while hops <= S::MAX_CHAIN {
        step = match step {
            Step::Done(last) => return Ok(last),
            Step::At(address, context) => {
                let window = store.record(address).ok_or(Outcome::Broken)?;
                let node = Node::new(window);
                let name = window[node.name_at()..].get(..node.name_len());
                if is_followed(store, scratch, context, name.ok_or(Outcome::Broken)?) {
                    return Ok(outcome);
                }
                exact::at_node(store, scratch, address, context)?
            }
            Step::Absent(labels, context) => absent(store, scratch, labels, context)?,
            Step::Chase(context) => {
                hops += 1;
                outcome = Outcome::Positive;
                chase(store, scratch, context)?
            }
        };
        // A plan has room for what the longest chain needs; a loop ends here.
        if scratch.plan.count as usize >= PLAN_LEN - 6 {
            break;
        }
    }
    Ok(outcome)
}

/// One step at a name that does not exist and stands in [`Scratch::name`] with `labels` labels.
pub fn absent<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    labels: usize,
    context: Context,
) -> Result<Step, Outcome> {
    let name_len = context.len as usize & 0xff;
    let (address, depth) =
        find::encloser(store, scratch, name_len, labels).ok_or(Outcome::Broken)?;
    if address == 0 {
        // Followed names that left all zones are the resolver's.
        return if context.from == QUESTION {
            Err(Outcome::NotOurs)
        } else {
            Ok(Step::Done(Outcome::Positive))
        };
    }
    let node = Node::new(store.record(address).ok_or(Outcome::Broken)?);
    if node.is(flag::VIRTUAL) {
        return Err(Outcome::Miss);
    }
    if node.is(flag::CUT) {
        exact::referral::<S>(scratch, node, context)?;
        return Ok(Step::Done(Outcome::Referral));
    }
    if node.is(flag::DNAME) {
        return dname(store, scratch, node, context);
    }
    let zone = Zone::new(store.record(node.zone()).ok_or(Outcome::Broken)?);
    let next_closer = scratch.offsets[labels.wrapping_sub(depth + 1) & 127] as usize;
    let cover = if recall(&scratch.query.dnssec_ok) == 0 {
        0
    } else {
        match zone.denial() {
            denial::NONE => 0,
            denial::NSEC => nsec_cover(store, scratch, node, next_closer)?,
            _ if node.is(flag::NO_NSEC3) => node.first_cover(),
            _ => nsec3_cover(store, scratch, zone, next_closer, name_len)?,
        }
    };
    if node.wildcard() != 0 {
        let source = Node::new(store.record(node.wildcard()).ok_or(Outcome::Broken)?);
        return wildcard(store, scratch, zone, node, source, cover, context);
    }
    scratch.plan.rcode = rcode::NXDOMAIN;
    scratch.plan.add(zone.soa(), section::AUTHORITY, context);
    if recall(&scratch.query.dnssec_ok) != 0 {
        scratch.plan.add_proof(cover, context);
        scratch.plan.add_proof(node.encloser_match(), context);
        scratch.plan.add_proof(node.wildcard_cover(), context);
    }
    Ok(Step::Done(Outcome::Nxdomain))
}

/// The wildcard's RRset as if it were the name's own, with the proof that the name itself does not
/// exist (RFC 4035 section 3.1.3.3, RFC 5155 section 7.2.6), or that the wildcard does not have the
/// type (RFC 4035 section 3.1.3.4, RFC 5155 section 7.2.5).
fn wildcard<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    zone: Zone<'_>,
    encloser: Node<'_>,
    source: Node<'_>,
    cover: Address,
    context: Context,
) -> Result<Step, Outcome> {
    let signed = recall(&scratch.query.dnssec_ok) != 0;
    let qtype = recall(&scratch.query.qtype) as u16;
    let piece = exact::type_piece::<S>(source, qtype, scratch)?;
    if piece != 0 {
        scratch.plan.add(piece, section::ANSWER, context);
        if signed {
            scratch.plan.add_proof(cover, context);
        }
        return Ok(Step::Done(Outcome::Wildcard));
    }
    if source.is(flag::CNAME) {
        let step = exact::cname(store, scratch, source, context, Outcome::Wildcard)?;
        if signed {
            scratch.plan.add_proof(cover, context);
        }
        return Ok(step);
    }
    scratch.plan.add(zone.soa(), section::AUTHORITY, context);
    if signed {
        let [first, second] = source.proofs();
        scratch.plan.add_proof(cover, context);
        scratch.plan.add_proof(encloser.encloser_match(), context);
        scratch.plan.add_proof(first, context);
        scratch.plan.add_proof(second, context);
    }
    Ok(Step::Done(Outcome::Wildcard))
}

/// The NSEC that covers the next closer name, whose label starts at `at`: that of the last name at
/// or below the sibling before it, or the encloser's own if there is no such sibling.
fn nsec_cover<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    encloser: Node<'_>,
    at: usize,
) -> Result<Address, Outcome> {
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
        let mut before = (high, low_part) < (key_high, key_low);
        if high == key_high && low_part == key_low {
            let child = Node::new(store.record(child).ok_or(Outcome::Broken)?);
            before = label_sorts_before(child, scratch, at);
        }
        if before {
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
    Ok(Node::new(store.record(child).ok_or(Outcome::Broken)?).last_cover())
}

/// Whether the first label of a child sorts before the label at `at`: octets, then lengths
/// (RFC 4034 section 6.1).
fn label_sorts_before(child: Node<'_>, scratch: &mut Scratch, at: usize) -> bool {
    let name_at = child.name_at();
    let child_len = child.name_word(name_at, 0) as u8 as usize & 63;
    let len = u8_at(&scratch.name, at) as usize & 63;
    let common = if child_len < len { child_len } else { len };
    let (mut before, mut place) = ((child_len < len) as u64, 0);
    while place < 63 {
        if place >= common {
            break;
        }
        let a = child.name_word(name_at, 1 + place) as u8;
        let b = u8_at(&scratch.name, at + 1 + place);
        if a != b {
            before = (a < b) as u64;
            break;
        }
        place += 1;
    }
    forget(&mut scratch.slots[13], before) != 0
}

/// The NSEC3 that covers the hash of the next closer name: the last one not after it, or the last of
/// all (RFC 5155 section 7.1).
fn nsec3_cover<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    zone: Zone<'_>,
    at: usize,
    name_len: usize,
) -> Result<Address, Outcome> {
    let (high, low) = sha1::hash_name(scratch, at, name_len.wrapping_sub(at) & 0xff);
    let (index, count) = zone.index();
    let bucket = (high >> zone.shift()) as u32;
    let directory = store.entry(zone.directory() + (bucket >> 1)).ok_or(Outcome::Broken)?;
    let start = if bucket & 1 == 0 { word(directory, 0) } else { word(directory, 4) };
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

/// Puts the name that a CNAME points to into [`Scratch::name`] and looks it up.
fn chase<S: Store>(store: &S, scratch: &mut Scratch, context: Context) -> Result<Step, Outcome> {
    let cname = scratch.plan.parts[(context.from as usize - 1) & (PLAN_LEN - 1)];
    let piece = piece_of(store, &scratch.synthesis, cname.address).ok_or(Outcome::Broken)?;
    let window = *piece.window();
    let at = piece.body_at() + RDATA_AT;
    let read = |place: usize| u8_at(&window, at + place);
    let (len, labels) =
        name::walk(read, &mut scratch.offsets, &mut scratch.slots).ok_or(Outcome::Broken)?;
    scratch.name.fill(0);
    scratch.name[..len].copy_from_slice(&window[at..at + len]);
    scratch.name[..len].make_ascii_lowercase();
    let context = Context { from: context.from, len: len as u32 };
    if is_followed(store, scratch, context, &scratch.name[..len]) {
        return Ok(Step::Done(Outcome::Positive));
    }
    let hash = name::hash(&scratch.name, 0, len, store.seed());
    let found = find::suffix(store, scratch, 0, len, hash, hash).ok_or(Outcome::Broken)?;
    Ok(if found != 0 { Step::At(found, context) } else { Step::Absent(labels, context) })
}

/// Whether a name, the context's, is the question's or one that a CNAME points to that stands in the
/// plan before the context's. So a circle ends: what was found is the answer.
fn is_followed<S: Store>(store: &S, scratch: &Scratch, context: Context, name: &[u8]) -> bool {
    let question = scratch.message[HEADER_LEN..].get(..scratch.query.name_len as usize);
    if question.is_some_and(|question| question.eq_ignore_ascii_case(name)) {
        return true;
    }
    let before = (context.from as usize).wrapping_sub(1) & (PLAN_LEN - 1);
    scratch.plan.parts[..before].iter().any(|part| {
        let Some(piece) = piece_of(store, &scratch.synthesis, part.address) else { return false };
        let record = &piece.window()[piece.body_at()..];
        let target = record.get(RDATA_AT..RDATA_AT + name.len());
        record[2..4] == rtype::CNAME.to_be_bytes()
            && target.is_some_and(|target| target.eq_ignore_ascii_case(name))
    })
}

/// The DNAME, the CNAME made from it, and where that leads (RFC 6672 section 3.2); YXDOMAIN if the
/// name would be too long.
fn dname<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    node: Node<'_>,
    context: Context,
) -> Result<Step, Outcome> {
    if !S::UNBOUNDED {
        return Err(Outcome::Miss);
    }
    // There is room for one synthesis; a second redirection is the resolver's to follow.
    let count = scratch.plan.count as usize;
    if scratch.plan.parts[..count.min(PLAN_LEN)].iter().any(|part| part.address == SYNTHESIS) {
        return Ok(Step::Done(Outcome::Dname));
    }
    scratch.plan.add(node.otherwise(), section::ANSWER, context);
    let dname = Piece::new(store.record(node.otherwise()).ok_or(Outcome::Broken)?);
    let (window, body) = (dname.window(), dname.body_at());
    let ttl: [u8; 4] = get(window, body + 6);
    let target_len = u16_at(window, body + 10).swap_bytes() as usize;
    let prefix_len = (context.len as usize).wrapping_sub(node.name_len());
    if prefix_len + target_len > 255 {
        scratch.plan.rcode = rcode::YXDOMAIN;
        return Ok(Step::Done(Outcome::Dname));
    }
    let len = RDATA_AT + prefix_len + target_len;
    let at = piece::body_at(0);
    let synthesis = &mut scratch.synthesis;
    synthesis.fill(0);
    put(synthesis, at, piece::QUESTION_POINTER.to_be_bytes());
    put(synthesis, at + 2, [0, rtype::CNAME as u8, 0, 1]);
    put(synthesis, at + 6, ttl);
    put(synthesis, at + 10, ((prefix_len + target_len) as u16).to_be_bytes());
    // The question's own letters would do, but a followed name stands only in lower case.
    let prefix = if context.from == QUESTION {
        &scratch.message[HEADER_LEN..HEADER_LEN + prefix_len]
    } else {
        &scratch.name[..prefix_len]
    };
    synthesis[at + RDATA_AT..at + RDATA_AT + prefix_len].copy_from_slice(prefix);
    synthesis[at + RDATA_AT + prefix_len..at + len]
        .copy_from_slice(&window[body + RDATA_AT..body + RDATA_AT + target_len]);
    let sum = crate::checksum::of(&synthesis[at..at + len]);
    for (field, value) in [
        (piece::at::LEN, len as u16),
        (piece::at::SIGNED_LEN, len as u16),
        (piece::at::SUM, sum),
        (piece::at::SIGNED_SUM, sum),
        (piece::at::COUNT, 1),
        (piece::at::SIGNED_COUNT, 1),
    ] {
        put(synthesis, field, value.to_le_bytes());
    }
    put(synthesis, piece::at::NOT_AFTER, piece::NEVER.to_le_bytes());
    scratch.plan.add(SYNTHESIS, section::ANSWER, context);
    let from = scratch.plan.count;
    // A question for the CNAME itself is answered; names outside the zone are the resolver's to follow.
    if recall(&scratch.query.qtype) as u16 == rtype::CNAME || !node.is(flag::CHASE) {
        return Ok(Step::Done(Outcome::Dname));
    }
    Ok(Step::Chase(Context { from, len: 0 }))
}
