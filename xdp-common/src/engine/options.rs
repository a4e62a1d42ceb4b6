//! The EDNS options of a query, and those of its response: COOKIE (RFC 7873), extended errors (RFC 8914),
//! ZONEVERSION (RFC 9660), NSID (RFC 5001). All others are ignored (RFC 6891 section 6.1.2).
//!
//! It comes between the plan and its writing, and only where there is an option to read or to say.

use crate::Outcome;
use crate::bytes::{is_zero, put, u32_at, u64_at};
use crate::checksum;
use crate::cookie::{self, MAX_SECRETS, ServerCookie};
use crate::dns::{MIN_PAYLOAD, edns, extended_error, option, rcode};
use crate::engine::exact::Step;
use crate::image::zone::Zone;
use crate::image::{Store, Window};
use crate::launder::{forget, recall};
use crate::maps::{MAX_NSID, Manners};
use crate::scratch::Scratch;

/// Octets of an option's code and length.
const HEAD_LEN: usize = 4;

/// Where the options start in [`Options`]: at a whole word, with room for the rest of the record before it.
const START: usize = 16;

/// The most octets of options of a response.
const MAX_LEN: usize = (HEAD_LEN + cookie::CLIENT_LEN + cookie::SERVER_LEN)
    + (HEAD_LEN + 2)
    + (HEAD_LEN + 6)
    + (HEAD_LEN + MAX_NSID);
const _: () = assert!(MAX_LEN <= 0xff);
// A truncated response with the longest name holds them.
const _: () = assert!(12 + 255 + 4 + edns::OPT_LEN + MAX_LEN <= MIN_PAYLOAD);

/// The type of version that is a SOA's serial (RFC 9660 section 7.2), and the octets of what follows the
/// label count and it.
const SOA_SERIAL: u8 = 0;

/// The options of a response, finished, with room for the head of the OPT record before them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// One's-complement sum of the options.
    sum: u64,
    /// Octets of options.
    len: u32,
    _zero: u32,
    octets: Window,
}

impl Options {
    /// None.
    pub const fn new() -> Options {
        Options { sum: 0, len: 0, _zero: 0, octets: [0; _] }
    }

    /// Forgets them.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// How many octets there are of them, as a number that the verifier does not know.
    #[inline(always)]
    pub fn len(&self) -> usize {
        recall(&self.len) as usize & 0xff
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their folded sum, as if they started at an even place.
    #[inline(always)]
    pub fn sum(&self) -> u16 {
        checksum::fold(recall(&self.sum))
    }

    /// The record, its head to be written yet, and where it starts: so it is never shorter than what frames
    /// copy at a time.
    #[inline(always)]
    pub fn record(&self) -> (&Window, usize) {
        (&self.octets, START - edns::OPT_LEN)
    }

    /// The options.
    pub fn octets(&self) -> &[u8] {
        &self.octets[START..START + self.len()]
    }

    /// Adds octets, which must be an even number except for the last.
    #[inline(always)]
    fn add(&mut self, word: u64, len: usize) {
        let at = self.len();
        put(&mut self.octets, START + at, word.to_le_bytes());
        self.sum = checksum::add_u64(recall(&self.sum), word);
        self.len = (at + len) as u32;
    }

    /// Adds an option's code, the octets of its value, and the first four of them.
    #[inline(always)]
    fn begin(&mut self, code: u16, len: usize, first: [u8; 4], first_len: usize) {
        let ([a, b], [c, d]) = (code.to_be_bytes(), (len as u16).to_be_bytes());
        let [e, f, g, h] = first;
        self.add(u64::from_le_bytes([a, b, c, d, e, f, g, h]), HEAD_LEN + first_len);
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

/// Whether there is an option to read or to say: else nothing here has to be called.
#[inline(always)]
pub fn are_due(scratch: &Scratch) -> bool {
    let error = scratch.query.opt() as u32 * recall(&scratch.plan.extended_error);
    recall(&scratch.query.options_len) | error != 0
}

/// Plans REFUSED for a name that no zone encloses.
#[inline(always)]
pub fn refuse(scratch: &mut Scratch) -> Step {
    error(scratch, rcode::REFUSED);
    scratch.plan.extended_error = extended_error::NOT_AUTHORITATIVE;
    Step::Done(Outcome::Refused)
}

/// Plans BADVERS (RFC 6891 section 6.1.3).
#[inline(always)]
pub fn bad_version(scratch: &mut Scratch) -> Step {
    error(scratch, rcode::BADVERS);
    Step::Done(Outcome::BadVersion)
}

/// Plans BADCOOKIE in place of an answer, with the server cookie that was made for the client (RFC 7873
/// section 5.2.3): an honest one asks again with it. It may only follow [`answer`], for a client
/// [that sent a cookie](crate::dns::query::Query::has_cookie).
#[inline(always)]
pub fn bad_cookie(scratch: &mut Scratch) {
    error(scratch, rcode::BADCOOKIE);
}

/// Plans a response that is only a code.
#[inline(always)]
fn error(scratch: &mut Scratch, rcode: u32) {
    scratch.plan.clear();
    scratch.absence.clear();
    scratch.plan.rcode = rcode;
}

/// Reads the options of the query and makes those of the response that is planned; plans FORMERR in its place
/// if the cookie is malformed. Says in [`Plan::outcome`](crate::engine::plan::Plan::outcome) what the plan is
/// called then.
#[inline(always)]
pub fn answer<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    manners: &Manners,
    now_s: u32,
) -> Result<(), Outcome> {
    read(scratch, S::MAX_OPTIONS)?;
    if is_cookie_malformed(scratch, manners) {
        error(scratch, rcode::FORMERR);
        scratch.plan.outcome = Outcome::FormErr.index() as u32;
        return Ok(());
    }
    begin(scratch, manners, now_s);
    let zone = recall(&scratch.plan.zone);
    if recall(&scratch.query.zone_version) != 0 && zone != 0 {
        let zone = Zone::new(store.record(zone).ok_or(Outcome::Broken)?);
        let [a, b, c, d] = zone.serial().to_be_bytes();
        scratch.options.begin(option::ZONEVERSION, 6, [zone.labels(), SOA_SERIAL, a, b], 4);
        scratch.options.add(u16::from_le_bytes([c, d]) as u64, 2);
    }
    nsid(scratch, manners);
    Ok(())
}

/// Makes the options of a response that is only a code, or comes from no zone.
#[inline(always)]
pub fn of_error(scratch: &mut Scratch, manners: &Manners, now_s: u32) {
    begin(scratch, manners, now_s);
    nsid(scratch, manners);
}

/// Reads the options of the query. More than `most` are a miss.
#[inline(always)]
pub fn read(scratch: &mut Scratch, most: usize) -> Result<(), Outcome> {
    // slot 9: where the next option starts
    scratch.slots[9] = recall(&scratch.query.options_at) as u64;
    let (mut cookie, mut nsid, mut zone_version, mut count) = (0u64, 0u64, 0u64, 0);
    while count < most {
        let at = recall(&scratch.slots[9]) as usize & 0xffff;
        if at + HEAD_LEN > end(scratch) {
            break;
        }
        let head = u32_at(&scratch.question, at).swap_bytes();
        let (code, len) = ((head >> 16) as u64, (head & 0xffff) as u64);
        let is = |option: u16| is_zero(code ^ option as u64);
        // RFC 7873 section 5.2: only the first counts.
        cookie |= ((at as u64 + HEAD_LEN as u64) << 16 | len) * (is(option::COOKIE) & is_zero(cookie));
        nsid |= is(option::NSID);
        zone_version |= is(option::ZONEVERSION);
        scratch.slots[9] = at as u64 + HEAD_LEN as u64 + len;
        count += 1;
    }
    let count = forget(&mut scratch.slots[10], count as u64) as usize;
    let cookie = forget(&mut scratch.slots[11], cookie);
    scratch.query.cookie_at = (cookie >> 16) as u32;
    scratch.query.cookie_len = cookie as u32 & 0xffff;
    scratch.query.nsid = forget(&mut scratch.slots[12], nsid) as u32;
    scratch.query.zone_version = forget(&mut scratch.slots[13], zone_version) as u32;
    let at = recall(&scratch.slots[9]) as usize;
    if at == end(scratch) {
        Ok(())
    } else if at < end(scratch) && count == most {
        Err(Outcome::Miss)
    } else {
        Err(Outcome::Malformed)
    }
}

/// Where the options end.
#[inline(always)]
fn end(scratch: &Scratch) -> usize {
    let at = recall(&scratch.query.options_at) as usize;
    at + recall(&scratch.query.options_len) as usize
}

/// Whether the cookie that was read has a length that none has (RFC 7873 section 5.2.2). Without secrets the
/// option is one that is not known.
#[inline(always)]
pub fn is_cookie_malformed(scratch: &Scratch, manners: &Manners) -> bool {
    if manners.secret_count == 0 || recall(&scratch.query.cookie_at) == 0 {
        return false;
    }
    let [least, most] = cookie::ANY_SERVER_LEN;
    let len = recall(&scratch.query.cookie_len) as usize;
    let is_right = len == cookie::CLIENT_LEN
        || (len >= cookie::CLIENT_LEN + least && len <= cookie::CLIENT_LEN + most);
    !is_right
}

/// Starts the options of the response: the cookie and the extended error.
#[inline(always)]
fn begin(scratch: &mut Scratch, manners: &Manners, now_s: u32) {
    scratch.options.sum = 0;
    scratch.options.len = 0;
    if manners.secret_count != 0 && recall(&scratch.query.cookie_at) != 0 {
        cookie(scratch, manners, now_s);
    }
    let error = recall(&scratch.plan.extended_error) as u16;
    if error != 0 {
        let [high, low] = error.to_be_bytes();
        scratch.options.begin(option::EDE, 2, [high, low, 0, 0], 2);
    }
}

/// Checks the client's cookie, and sends it back or a new one.
#[inline(always)]
fn cookie(scratch: &mut Scratch, manners: &Manners, now_s: u32) {
    let at = recall(&scratch.query.cookie_at) as usize & 0x7ff;
    let client = u64_at(&scratch.question, at);
    let sent = ServerCookie {
        head: u64_at(&scratch.question, at + cookie::CLIENT_LEN),
        hash: u64_at(&scratch.question, at + cookie::CLIENT_LEN + 8),
    };
    let address = recall(&scratch.layers.client);
    let len = recall(&scratch.query.cookie_len) as usize;
    scratch.query.has_cookie = 1;
    // slot 10: one more than the place of the secret that it was made with
    scratch.slots[10] = 0;
    if len == cookie::CLIENT_LEN + cookie::SERVER_LEN && sent.is_current(now_s) {
        let mut place = 0;
        while place < MAX_SECRETS {
            if place >= manners.secret_count as usize {
                break;
            }
            if sent.is_of(&manners.secrets[place], client, address) {
                scratch.slots[10] = place as u64 + 1;
                break;
            }
            place += 1;
        }
        forget(&mut scratch.slots[11], place as u64);
    }
    let made_with = recall(&scratch.slots[10]);
    scratch.query.has_valid_cookie = (made_with != 0) as u32;
    let cookie = if made_with == 1 && sent.is_fresh(now_s) {
        sent
    } else {
        ServerCookie::new(&manners.secrets[0], client, address, now_s)
    };
    let [a, b, c, d, e, f, g, h] = client.to_le_bytes();
    let len = cookie::CLIENT_LEN + cookie::SERVER_LEN;
    scratch.options.begin(option::COOKIE, len, [a, b, c, d], 4);
    scratch.options.add(u32::from_le_bytes([e, f, g, h]) as u64, 4);
    scratch.options.add(cookie.head, 8);
    scratch.options.add(cookie.hash, 8);
}

/// Adds the name server identifier, the only option that may have an odd number of octets: so it is the last.
#[inline(always)]
fn nsid(scratch: &mut Scratch, manners: &Manners) {
    let len = manners.nsid_len as usize;
    if recall(&scratch.query.nsid) == 0 || len == 0 || len > MAX_NSID {
        return;
    }
    scratch.options.begin(option::NSID, len, [0; 4], 0);
    scratch.slots[10] = (scratch.options.len() + len) as u64;
    let mut word = 0;
    while word < MAX_NSID / 8 {
        if word * 8 >= len {
            break;
        }
        scratch.options.add(manners.nsid[word], 8);
        word += 1;
    }
    forget(&mut scratch.slots[11], word as u64);
    // The zeros behind its last octet are not part of it.
    scratch.options.len = recall(&scratch.slots[10]) as u32;
}
