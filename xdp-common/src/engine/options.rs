//! The EDNS options of a query, and those of its response: COOKIE (RFC 7873), extended errors (RFC 8914),
//! ZONEVERSION (RFC 9660), NSID (RFC 5001). All others are ignored (RFC 6891 section 6.1.2).
//!
//! It comes between the plan and its writing, and only where there is an option to read or to say.

use crate::Outcome;
use crate::bytes::{is_zero, u32_at, u64_at};
use crate::cookie::{self, MAX_SECRETS, ServerCookie};
use crate::dns::{MIN_PAYLOAD, edns, extended_error, option, rcode};
use crate::image::Store;
use crate::image::zone::Zone;
use crate::launder::{forget, recall};
use crate::state::config::MAX_NSID;
use crate::state::options::{HEAD_LEN, MAX_LEN};
use crate::state::{Absence, Cells, EdnsSettings, Options, Plan, Query, Scratch, Step};

// A truncated response with the longest name holds them.
const _: () = assert!(12 + 255 + 4 + edns::OPT_LEN + MAX_LEN <= MIN_PAYLOAD);

/// The type of version that is a SOA's serial (RFC 9660, IANA registry "ZONEVERSION TYPE Values").
const SOA_SERIAL: u8 = 0;

/// What the options of a response are made from, besides those of the query.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// What the server is configured to say.
    pub edns_settings: &'a EdnsSettings,
    /// The client's address as [`address_words`](crate::address::address_words) has it.
    pub client: [u64; 2],
    /// Seconds since 1970, truncated.
    pub now_s: u32,
    /// The extended error to tell; 0 for none.
    pub extended_error: u32,
}

/// Whether there is an option to read or to say: else nothing here has to be called.
#[inline(always)]
pub fn are_due(query: &Query, plan: &Plan) -> bool {
    let error = query.opt() as u32 * recall(&plan.extended_error);
    recall(&query.options_len) | error != 0
}

/// Plans REFUSED for a name that no zone encloses.
#[inline(always)]
pub fn refuse(plan: &mut Plan, absence: &mut Absence) -> Step {
    error(plan, absence, rcode::REFUSED);
    plan.extended_error = extended_error::NOT_AUTHORITATIVE;
    Step::Done(Outcome::Refused)
}

/// Plans BADVERS (RFC 6891 section 6.1.3).
#[inline(always)]
pub fn bad_version(plan: &mut Plan, absence: &mut Absence) -> Step {
    error(plan, absence, rcode::BADVERS);
    Step::Done(Outcome::BadVersion)
}

/// Plans BADCOOKIE in place of an answer, with the server cookie that was made for the client (RFC 7873
/// section 5.2.3), and no other option: an honest one asks again with it. It may only follow [`answer`], for a
/// client [that sent a cookie](crate::state::Query::has_cookie).
#[inline(always)]
pub fn bad_cookie(plan: &mut Plan, absence: &mut Absence, options: &mut Options) {
    error(plan, absence, rcode::BADCOOKIE);
    options.keep_cookie();
}

/// Plans a response that is only a code.
#[inline(always)]
fn error(plan: &mut Plan, absence: &mut Absence, rcode: u32) {
    plan.clear();
    absence.clear();
    plan.rcode = rcode;
}

/// Reads the options of the query and makes those of the response that is planned; plans FORMERR in its place
/// if the cookie is malformed. Says in [`Plan::outcome`](crate::state::Plan::outcome) what the plan is
/// called then.
#[inline(always)]
pub fn answer<S: Store>(
    store: &S,
    scratch: &mut Scratch,
    edns_settings: &EdnsSettings,
    now_s: u32,
) -> Result<(), Outcome> {
    let Scratch { question, query, layers, plan, absence, options, cells, .. } = scratch;
    read(question, query, cells, S::MAX_OPTIONS)?;
    if edns_settings.front != 0 && !is_for_us(query, edns_settings) {
        return Err(Outcome::Miss);
    }
    if is_cookie_malformed(query, edns_settings) {
        error(plan, absence, rcode::FORMERR);
        plan.outcome = Outcome::FormErr.index() as u32;
        return Ok(());
    }
    let (client, extended_error) = (recall(&layers.source), recall(&plan.extended_error));
    let circumstances = Circumstances { edns_settings, client, now_s, extended_error };
    begin(question, query, options, cells, &circumstances);
    let zone = recall(&plan.zone);
    if recall(&query.zone_version) != 0 && zone != 0 {
        let zone = Zone::new(store.record(zone).ok_or(Outcome::Broken)?);
        let [a, b, c, d] = zone.serial().to_be_bytes();
        options.begin(option::ZONEVERSION, 6, [zone.labels(), SOA_SERIAL, a, b], 4);
        options.add(u16::from_le_bytes([c, d]) as u64, 2);
    }
    nsid(query, options, cells, edns_settings);
    Ok(())
}

/// Makes the options of a response that is only a code, or comes from no zone. Those of the query have been
/// [`read`] from the same octets.
#[inline(always)]
pub fn of_error<const N: usize>(
    question: &[u8; N],
    query: &mut Query,
    options: &mut Options,
    cells: &mut Cells,
    circumstances: &Circumstances<'_>,
) {
    begin(question, query, options, cells, circumstances);
    nsid(query, options, cells, circumstances.edns_settings);
}

/// Reads the options of the query, which lie in `question` as [`Query::options_at`] says. More than `most` are a miss.
#[inline(always)]
pub fn read<const N: usize>(
    question: &[u8; N],
    query: &mut Query,
    cells: &mut Cells,
    most: usize,
) -> Result<(), Outcome> {
    cells.option_at = recall(&query.options_at) as u64;
    let (mut cookie, mut nsid, mut zone_version, mut count) = (0u64, 0u64, 0u64, 0);
    while count < most {
        let at = recall(&cells.option_at) as usize & 0xffff;
        if at + HEAD_LEN > end(query) {
            break;
        }
        let head = u32_at(question, at).swap_bytes();
        let (code, len) = ((head >> 16) as u64, (head & 0xffff) as u64);
        let is = |option: u16| is_zero(code ^ option as u64);
        // RFC 7873 section 5.2: only the first counts.
        cookie |=
            ((at as u64 + HEAD_LEN as u64) << 16 | len) * (is(option::COOKIE) & is_zero(cookie));
        nsid |= is(option::NSID);
        zone_version |= is(option::ZONEVERSION);
        cells.option_at = at as u64 + HEAD_LEN as u64 + len;
        count += 1;
    }
    let count = forget(&mut cells.forgotten, count as u64) as usize;
    let cookie = forget(&mut cells.forgotten, cookie);
    query.cookie_at = (cookie >> 16) as u32;
    query.cookie_len = cookie as u32 & 0xffff;
    query.nsid = forget(&mut cells.forgotten, nsid) as u32;
    query.zone_version = forget(&mut cells.forgotten, zone_version) as u32;
    let at = recall(&cells.option_at) as usize;
    if at == end(query) {
        Ok(())
    } else if at < end(query) && count == most {
        Err(Outcome::Miss)
    } else {
        Err(Outcome::Malformed)
    }
}

/// Where the options end.
#[inline(always)]
fn end(query: &Query) -> usize {
    let at = recall(&query.options_at) as usize;
    at + recall(&query.options_len) as usize
}

/// In front of another server, whether the options that were read are such as get the same answer from both: none, or a
/// cookie alone if its secret is shared.
#[inline(always)]
fn is_for_us(query: &Query, edns_settings: &EdnsSettings) -> bool {
    let len = recall(&query.options_len);
    if len == 0 {
        return true;
    }
    // The only option, since it takes all octets of them; where there is none its length is 0.
    edns_settings.secret_count != 0
        && recall(&query.cookie_at) != 0
        && recall(&query.cookie_len) + HEAD_LEN as u32 == len
        && !is_cookie_malformed(query, edns_settings)
}

/// Whether the cookie that was read has a length that none has (RFC 7873 section 5.2.2). Without secrets the
/// option is one that is not known.
#[inline(always)]
pub fn is_cookie_malformed(query: &Query, edns_settings: &EdnsSettings) -> bool {
    if edns_settings.secret_count == 0 || recall(&query.cookie_at) == 0 {
        return false;
    }
    let [least, most] = cookie::ANY_SERVER_LEN;
    let len = recall(&query.cookie_len) as usize;
    let is_right = len == cookie::CLIENT_LEN
        || (len >= cookie::CLIENT_LEN + least && len <= cookie::CLIENT_LEN + most);
    !is_right
}

/// Starts the options of the response: the cookie and the extended error.
#[inline(always)]
fn begin<const N: usize>(
    question: &[u8; N],
    query: &mut Query,
    options: &mut Options,
    cells: &mut Cells,
    circumstances: &Circumstances<'_>,
) {
    options.sum = 0;
    options.len = 0;
    if circumstances.edns_settings.secret_count != 0 && recall(&query.cookie_at) != 0 {
        cookie(question, query, options, cells, circumstances);
    }
    let error = circumstances.extended_error as u16;
    if error != 0 {
        let [high, low] = error.to_be_bytes();
        options.begin(option::EDE, 2, [high, low, 0, 0], 2);
    }
}

/// Checks the client's cookie, and sends it back or a new one.
#[inline(always)]
fn cookie<const N: usize>(
    question: &[u8; N],
    query: &mut Query,
    options: &mut Options,
    cells: &mut Cells,
    &Circumstances { edns_settings, client: address, now_s, .. }: &Circumstances<'_>,
) {
    let at = recall(&query.cookie_at) as usize & 0x7ff;
    let client = u64_at(question, at);
    let sent = ServerCookie {
        head: u64_at(question, at + cookie::CLIENT_LEN),
        hash: u64_at(question, at + cookie::CLIENT_LEN + 8),
    };
    let len = recall(&query.cookie_len) as usize;
    query.has_cookie = 1;
    cells.secret = 0;
    if len == cookie::CLIENT_LEN + cookie::SERVER_LEN && sent.is_current(now_s) {
        let mut place = 0;
        while place < MAX_SECRETS {
            // Read each time: Linux 6.1 goes on past the last secret if the compiler makes one bound of the two.
            if place >= recall(&edns_settings.secret_count) as usize {
                break;
            }
            if sent.is_of(&edns_settings.secrets[place], client, address) {
                cells.secret = place as u64 + 1;
                break;
            }
            place += 1;
        }
        forget(&mut cells.forgotten, place as u64);
    }
    let made_with = recall(&cells.secret);
    query.has_valid_cookie = (made_with != 0) as u32;
    let cookie = if made_with == 1 && sent.is_fresh(now_s) {
        sent
    } else {
        ServerCookie::new(&edns_settings.secrets[0], client, address, now_s)
    };
    let [a, b, c, d, e, f, g, h] = client.to_le_bytes();
    let len = cookie::CLIENT_LEN + cookie::SERVER_LEN;
    options.begin(option::COOKIE, len, [a, b, c, d], 4);
    options.add(u32::from_le_bytes([e, f, g, h]) as u64, 4);
    options.add(cookie.head, 8);
    options.add(cookie.hash, 8);
}

/// Adds the name server identifier, the only option that may have an odd number of octets: so it is the last.
#[inline(always)]
fn nsid(query: &Query, options: &mut Options, cells: &mut Cells, edns_settings: &EdnsSettings) {
    let len = edns_settings.nsid_len as usize;
    if recall(&query.nsid) == 0 || len == 0 || len > MAX_NSID {
        return;
    }
    options.begin(option::NSID, len, [0; 4], 0);
    cells.options_end = (options.len() + len) as u64;
    let mut word = 0;
    while word < MAX_NSID / 8 {
        if word * 8 >= len {
            break;
        }
        options.add(edns_settings.nsid[word], 8);
        word += 1;
    }
    forget(&mut cells.forgotten, word as u64);
    // The zeros behind its last octet are not part of it.
    options.len = recall(&cells.options_end) as u32;
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::address::address_words;
    use crate::bytes::SLACK;
    use crate::checksum;
    use proptest::prelude::*;

    const NOW: u32 = 1_700_000_000;
    const CLIENT: u64 = 0x1122_3344_5566_7788;
    const CURRENT: [u64; 2] = [1, 2];
    const OTHER: [u64; 2] = [3, 4];

    fn edns_settings() -> EdnsSettings {
        let secrets = [CURRENT, OTHER];
        EdnsSettings { secrets, secret_count: 2, ..EdnsSettings::new().with_nsid(b"node-1 ") }
    }

    fn address() -> [u64; 2] {
        address_words([192, 0, 2, 1].into())
    }

    /// An option.
    fn option(code: u16, value: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes(), &(value.len() as u16).to_be_bytes(), value].concat()
    }

    /// A COOKIE option with a server cookie of this secret and age.
    fn cookie_of(secret: &[u64; 2], age_s: i32) -> Vec<u8> {
        let made_at = NOW.wrapping_add_signed(-age_s);
        let server = ServerCookie::new(secret, CLIENT, address(), made_at);
        let words = [CLIENT, server.head, server.hash];
        option(option::COOKIE, &words.map(u64::to_le_bytes).concat())
    }

    /// A query that has these options, at an odd place.
    struct TestQuery {
        question: [u8; 512 + SLACK],
        query: Query,
    }

    impl TestQuery {
        fn new(options: &[u8]) -> TestQuery {
            let mut question = [0; 512 + SLACK];
            question[33..33 + options.len()].copy_from_slice(options);
            let options_len = options.len() as u32;
            TestQuery {
                question,
                query: Query { edns: 1, options_at: 33, options_len, ..Query::new() },
            }
        }

        fn read(&mut self) -> Result<(), Outcome> {
            read(&self.question, &mut self.query, &mut Cells::new(), 8)
        }

        /// The options of a response that tells an error, or none; their sum is right.
        fn answered(&mut self, edns_settings: &EdnsSettings, extended_error: u32) -> Vec<u8> {
            let circumstances =
                Circumstances { edns_settings, client: address(), now_s: NOW, extended_error };
            let (mut options, mut cells) = (Options::new(), Cells::new());
            of_error(&self.question, &mut self.query, &mut options, &mut cells, &circumstances);
            let octets = options.octets().to_vec();
            assert_eq!(options.sum() % 0xffff, checksum::of(&octets) % 0xffff);
            octets
        }
    }

    /// What is said to these options, and the two flags.
    fn said(options: &[u8], edns_settings: &EdnsSettings) -> (Vec<u8>, [u32; 2]) {
        let mut asked = TestQuery::new(options);
        asked.read().unwrap();
        assert!(!is_cookie_malformed(&asked.query, edns_settings));
        let octets = asked.answered(edns_settings, 0);
        (octets, [asked.query.has_cookie, asked.query.has_valid_cookie])
    }

    #[test]
    fn a_cookie_is_sent_back_as_long_as_it_is_fresh_and_of_the_current_secret() {
        let fresh = cookie_of(&CURRENT, 0);
        for (sent, expected, is_valid) in [
            (option(option::COOKIE, &CLIENT.to_le_bytes()), &fresh, 0),
            (cookie_of(&CURRENT, 1800), &cookie_of(&CURRENT, 1800), 1),
            (cookie_of(&CURRENT, -300), &cookie_of(&CURRENT, -300), 1),
            (cookie_of(&CURRENT, 1801), &fresh, 1),
            (cookie_of(&CURRENT, 3601), &fresh, 0),
            (cookie_of(&CURRENT, -301), &fresh, 0),
            (cookie_of(&OTHER, 60), &fresh, 1),
            (cookie_of(&[5, 6], 60), &fresh, 0),
            (option(option::COOKIE, &[&CLIENT.to_le_bytes()[..], &[1; 8]].concat()), &fresh, 0),
            (option(option::COOKIE, &[&CLIENT.to_le_bytes()[..], &[1; 32]].concat()), &fresh, 0),
        ] {
            let (octets, flags) = said(&sent, &edns_settings());
            assert_eq!((&octets, flags), (expected, [1, is_valid]), "{sent:02x?}");
            // With one secret less the other is nobody's.
            let (_, [_, valid_without]) =
                said(&sent, &EdnsSettings { secret_count: 1, ..edns_settings() });
            assert_eq!(valid_without, is_valid & u32::from(sent != cookie_of(&OTHER, 60)));
            assert_eq!(said(&sent, &EdnsSettings::new()), (Vec::new(), [0, 0]));
        }
    }

    #[test]
    fn the_first_cookie_counts_and_unknown_options_do_not() {
        let fresh = cookie_of(&CURRENT, 0);
        let options = [
            option(65001, b"odd"),
            option(option::NSID, b"ignored"),
            cookie_of(&CURRENT, 1),
            option(option::COOKIE, b"malformed"),
            option(12, &[0; 40]),
        ];
        let identity = option(option::NSID, b"node-1 ");
        let expected = [cookie_of(&CURRENT, 1), identity.clone()].concat();
        assert_eq!(said(&options.concat(), &edns_settings()), (expected, [1, 1]));
        let (octets, _) = said(&option(option::NSID, b""), &edns_settings());
        assert_eq!(octets, identity);
        let none = EdnsSettings { nsid_len: 0, ..edns_settings() };
        assert_eq!(said(&option(option::NSID, b""), &none), (Vec::new(), [0, 0]));
        assert_ne!(said(&option(option::COOKIE, &[7; 8]), &edns_settings()).0, fresh);
    }

    #[test]
    fn an_error_is_told_between_them() {
        let mut asked =
            TestQuery::new(&[option(option::NSID, b""), cookie_of(&CURRENT, 5)].concat());
        asked.read().unwrap();
        let mut plan = Plan::new();
        refuse(&mut plan, &mut Absence::new());
        let answered = asked.answered(&edns_settings(), plan.extended_error);
        let error = option(option::EDE, &[0, 20]);
        let all = [cookie_of(&CURRENT, 5), error, option(option::NSID, b"node-1 ")].concat();
        assert_eq!(answered, all);
    }

    #[test]
    fn cookies_have_lengths() {
        for len in 0..=64usize {
            let mut asked = TestQuery::new(&option(option::COOKIE, &[1; 64][..len]));
            asked.read().unwrap();
            let is_right = len == 8 || (16..=40).contains(&len);
            assert_eq!(
                is_cookie_malformed(&asked.query, &edns_settings()),
                !is_right,
                "{len} octets"
            );
            assert!(!is_cookie_malformed(&asked.query, &EdnsSettings::new()));
        }
    }

    #[test]
    fn options_must_be_whole() {
        let one = option(65001, b"abc");
        for cut in 1..one.len() {
            let read = TestQuery::new(&one[..cut]).read();
            assert_eq!(read, Err(Outcome::Malformed), "{cut} octets");
        }
        assert_eq!(TestQuery::new(&one.repeat(8)).read(), Ok(()));
        assert_eq!(TestQuery::new(&one.repeat(9)).read(), Err(Outcome::Miss));
        assert_eq!(TestQuery::new(&[]).read(), Ok(()));
    }

    proptest! {
        /// Whatever the octets: what is said is whole options, and its sum is right.
        #[test]
        fn any_octets_are_taken(options in proptest::collection::vec(0u8..24, 0..200)) {
            let mut asked = TestQuery::new(&options);
            if asked.read().is_ok() && !is_cookie_malformed(&asked.query, &edns_settings()) {
                let said = asked.answered(&edns_settings(), 0);
                prop_assert_eq!(TestQuery::new(&said).read(), Ok(()));
            }
        }
    }
}
