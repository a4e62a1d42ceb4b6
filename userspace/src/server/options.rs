//! EDNS options of the responses that are put together by plain code: made by the engine's own functions, so
//! that they are those of its answers.

use std::net::IpAddr;

use xdp_common::address::address_words;
use xdp_common::bytes::SLACK;
use xdp_common::cookie;
use xdp_common::dns::option;
use xdp_common::engine::options::{self, Circumstances};
use xdp_common::maps::EdnsSettings;
use xdp_common::state::{Absence, Cells, Options, Plan, Query};

use super::extended_error::ExtendedError;
use crate::compile::Cookie;

/// Room for the most octets that [`answered`] leaves; the engine reads from a power of two of them and [`SLACK`].
const ROOM: usize = most_octets().next_power_of_two() + SLACK;

/// The options of a query, read once.
pub struct Requested {
    octets: [u8; ROOM],
    query: Query,
}

impl Requested {
    /// Reads the options of a query, which are well-formed.
    pub fn read(asked: &[u8]) -> Requested {
        let asked = answered(asked);
        let mut octets = [0; ROOM];
        octets[..asked.len()].copy_from_slice(&asked);
        let mut query = Query { options_len: asked.len() as u32, ..Query::new() };
        let read = options::read(&octets, &mut query, &mut Cells::new(), MAX_ANSWERED);
        debug_assert!(read.is_ok(), "{read:?}");
        Requested { octets, query }
    }

    /// The options of a response. `error` is why it is no answer.
    pub fn response(
        &self,
        client: IpAddr,
        edns_settings: &EdnsSettings,
        now: u32,
        error: Option<ExtendedError>,
    ) -> Vec<u8> {
        self.made(client, edns_settings, now, error).1.octets().to_vec()
    }

    /// The cookie for the client; `None` if it sent none, or there are no secrets to make one with.
    pub fn cookie(&self, client: IpAddr, edns_settings: &EdnsSettings, now: u32) -> Option<Cookie> {
        let (query, mut options) = self.made(client, edns_settings, now, None);
        (query.has_cookie != 0).then(|| {
            options::bad_cookie(&mut Plan::new(), &mut Absence::new(), &mut options);
            Cookie { is_valid: query.has_valid_cookie != 0, option: options.octets().to_vec() }
        })
    }

    /// Whether there is a server's part in the client's cookie.
    pub fn has_server_part(&self) -> bool {
        self.query.cookie_len as usize > cookie::CLIENT_LEN
    }

    /// Whether there is a cookie among them that is malformed.
    pub fn has_malformed_cookie(&self, edns_settings: &EdnsSettings) -> bool {
        options::is_cookie_malformed(&self.query, edns_settings)
    }

    /// What is known of the query, and the options of the response.
    fn made(
        &self,
        client: IpAddr,
        edns_settings: &EdnsSettings,
        now_s: u32,
        error: Option<ExtendedError>,
    ) -> (Query, Options) {
        let (mut query, mut options) = (self.query, Options::new());
        let extended_error = error.map_or(0, |error| error.0.into());
        let client = address_words(client);
        let circumstances = Circumstances { edns_settings, client, now_s, extended_error };
        let cells = &mut Cells::new();
        options::of_error(&self.octets, &mut query, &mut options, cells, &circumstances);
        (query, options)
    }
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

/// The most octets that [`answered`] leaves: each option once, as long as it may be.
const fn most_octets() -> usize {
    let (mut sum, mut place) = (0, 0);
    while place < ANSWERED.len() {
        sum += OPTION_HEAD_LEN + ANSWERED[place].1;
        place += 1;
    }
    sum
}

/// Code and length of an option (RFC 6891 section 6.1.2), in octets.
const OPTION_HEAD_LEN: usize = 4;

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
    fn the_longest_options_that_are_answered_have_room() {
        // Every option as long as a message can have it, several times and in both orders: as much is left as there is
        // room for, and no more.
        let option = |(code, _): &(u16, usize)| {
            [&code.to_be_bytes()[..], &u16::MAX.to_be_bytes(), &[1; u16::MAX as usize]].concat()
        };
        let all: Vec<u8> = ANSWERED.iter().flat_map(option).collect();
        let reversed: Vec<u8> = ANSWERED.iter().rev().flat_map(option).collect();
        for asked in [&all, &reversed, &[&all[..], &reversed[..]].concat()] {
            assert_eq!(answered(asked).len(), most_octets());
            let query = Requested::read(asked).query;
            assert_eq!(query.options_len as usize, most_octets());
        }
    }

    #[test]
    fn a_cookie_too_long_stays_one() {
        let edns_settings = EdnsSettings { secret_count: 1, ..EdnsSettings::new() };
        for (len, malformed) in
            [(0, true), (7, true), (8, false), (15, true), (16, false), (40, false), (41, true)]
                .into_iter()
                .chain([(60_000, true)])
        {
            let len_octets = u16::to_be_bytes(len as u16);
            let asked = [&[0, 10][..], &len_octets, &vec![1; len]].concat();
            let requested = Requested::read(&asked);
            assert_eq!(requested.has_malformed_cookie(&edns_settings), malformed, "{len}");
            assert!(!requested.has_malformed_cookie(&EdnsSettings::new()));
        }
    }
}
