//! EDNS options of the responses that are put together by plain code: made by the engine's own functions, so
//! that they are those of its answers.

use std::cell::RefCell;
use std::net::IpAddr;

use xdp_common::dns::option;
use xdp_common::engine::options::{self, Circumstances};
use xdp_common::maps::{Manners, address_words};
use xdp_common::{Scratch, cookie};

use super::extended_error::ExtendedError;

thread_local! {
    static SCRATCH: RefCell<Box<Scratch>> = RefCell::default();
}

/// The options of a response to a query with these, well-formed. `error` is why it is no answer.
pub fn of_response(
    asked: &[u8],
    client: IpAddr,
    manners: &Manners,
    now: u32,
    error: Option<ExtendedError>,
) -> Vec<u8> {
    SCRATCH.with_borrow_mut(|scratch| {
        read(asked, scratch);
        make(scratch, client, manners, now, error);
        scratch.options.octets().to_vec()
    })
}

/// What the cookie of a client is answered with.
pub struct Cookie {
    /// Whether it is one that this server has given the client: its address is its own.
    pub is_valid: bool,
    /// Whether there is a server's part in it.
    pub has_server_part: bool,
    /// The option with the cookie for it.
    pub option: Vec<u8>,
}

/// The cookie for a client that sent these options, well-formed; `None` if it sent none, or there are no secrets
/// to make one with.
pub fn cookie_for(asked: &[u8], client: IpAddr, manners: &Manners, now: u32) -> Option<Cookie> {
    SCRATCH.with_borrow_mut(|scratch| {
        read(asked, scratch);
        (scratch.query.has_cookie, scratch.query.has_valid_cookie) = (0, 0);
        make(scratch, client, manners, now, None);
        let is_valid = scratch.query.has_valid_cookie != 0;
        (scratch.query.has_cookie != 0).then(|| {
            let has_server_part = scratch.query.cookie_len as usize > cookie::CLIENT_LEN;
            let Scratch { plan, absence, options, .. } = &mut **scratch;
            options::bad_cookie(plan, absence, options);
            Cookie { is_valid, has_server_part, option: scratch.options.octets().to_vec() }
        })
    })
}

/// Whether these options, well-formed, have a cookie in them that is not.
pub fn has_malformed_cookie(asked: &[u8], manners: &Manners) -> bool {
    SCRATCH.with_borrow_mut(|scratch| {
        read(asked, scratch);
        options::is_cookie_malformed(&scratch.query, manners)
    })
}

/// Those options that are answered, each once: of more the first. Values that say nothing are left out (RFC
/// 9660 section 3.2 and RFC 5001 section 2.1 have them ignored), and of a cookie that is too long what
/// makes it so.
pub fn answered(asked: &[u8]) -> Vec<u8> {
    let (mut rest, mut seen, mut kept) = (asked, [false; ANSWERED.len()], Vec::new());
    while let Some((&[a, b, c, d], behind)) = rest.split_first_chunk() {
        let (code, len) = (u16::from_be_bytes([a, b]), usize::from(u16::from_be_bytes([c, d])));
        let Some((value, others)) = behind.split_at_checked(len) else { break };
        if let Some(place) = ANSWERED.iter().position(|(known, _)| *known == code)
            && !std::mem::replace(&mut seen[place], true)
        {
            let value = &value[..len.min(ANSWERED[place].1)];
            kept.extend_from_slice(&code.to_be_bytes());
            kept.extend_from_slice(&(value.len() as u16).to_be_bytes());
            kept.extend_from_slice(value);
        }
        rest = others;
    }
    kept
}

/// Has the engine read them.
fn read(asked: &[u8], scratch: &mut Scratch) {
    let asked = answered(asked);
    scratch.question[..asked.len()].copy_from_slice(&asked);
    (scratch.query.options_at, scratch.query.options_len) = (0, asked.len() as u32);
    let Scratch { question, query, cells, .. } = scratch;
    let read = options::read(question, query, cells, MAX_ANSWERED);
    debug_assert!(read.is_ok(), "{read:?}");
}

/// Has the engine make those of the response.
fn make(
    scratch: &mut Scratch,
    client: IpAddr,
    manners: &Manners,
    now_s: u32,
    error: Option<ExtendedError>,
) {
    let extended_error = error.map_or(0, |error| error.0.into());
    let client = address_words(client);
    let circumstances = Circumstances { manners, client, now_s, extended_error };
    let Scratch { question, query, options, cells, .. } = scratch;
    options::of_error(question, query, options, cells, &circumstances);
}

/// The options that are answered, and how many octets of each are looked at.
const ANSWERED: [(u16, usize); 3] = [
    (option::NSID, 0),
    (option::COOKIE, cookie::CLIENT_LEN + cookie::ANY_SERVER_LEN[1] + 1),
    (option::ZONEVERSION, 0),
];

/// More than [`answered`] leaves.
const MAX_ANSWERED: usize = ANSWERED.len() + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_answered_is_left_out() {
        let cookie = [&[0, 10, 0, 8][..], b"12345678"].concat();
        let all = [
            &[0, 12, 0, 2, 0, 0, 0, 3, 0, 1, 7][..],
            &cookie,
            &[0, 10, 0, 1, 9],
            &[0, 19, 0, 0, 0, 3, 0, 0],
        ];
        let kept = [&[0, 3, 0, 0][..], &cookie, &[0, 19, 0, 0]].concat();
        assert_eq!(answered(&all.concat()), kept);
        // Cut short: what is whole is kept.
        assert_eq!(answered(&all.concat()[..11 + 5]), [0, 3, 0, 0]);
    }

    #[test]
    fn a_cookie_too_long_stays_one() {
        let manners = Manners { secret_count: 1, ..Manners::new() };
        for (len, malformed) in
            [(0, true), (7, true), (8, false), (15, true), (16, false), (40, false), (41, true)]
                .into_iter()
                .chain([(60_000, true)])
        {
            let len_octets = u16::to_be_bytes(len as u16);
            let asked = [&[0, 10][..], &len_octets, &vec![1; len]].concat();
            assert_eq!(has_malformed_cookie(&asked, &manners), malformed, "{len}");
            assert!(!has_malformed_cookie(&asked, &Manners::new()));
        }
    }
}
