//! Cookies in answers (RFC 9018): two servers agree on one of the same second, and may see a second begin at different
//! moments.

use std::{collections::BTreeMap, ops::Range};

use super::questions::{CLIENT_COOKIE, COOKIE};

/// Octets of a server's cookie: version and reserved, timestamp, hash (RFC 9018 section 4).
const LEN: usize = 16;
const TIMESTAMP: Range<usize> = 4..8;

/// By how many seconds cookies that were made one after the other may differ: programs tell the time by a clock that
/// the daemon corrects each second.
const APART: u32 = 3;

/// The cookies that the daemon has given to one client, by their second.
#[derive(Default)]
pub struct Cookies {
    given: BTreeMap<u32, Vec<u8>>,
    compared: u64,
}

impl Cookies {
    /// Takes the cookie out of an answer of the daemon.
    pub fn learn(&mut self, answer: &[u8]) {
        if let Some(cookie) = server_cookie(answer) {
            self.given.insert(second(cookie), cookie.to_vec());
        }
    }

    /// Whether an answer is that of the daemon. A cookie of another second must be the one that the daemon gave in that
    /// second, if it gave one then.
    pub fn agree(&mut self, answer: &[u8], wanted: &[u8]) -> Result<(), String> {
        let (Some(place), Some(other)) = (place(answer), place(wanted)) else {
            return same(answer, wanted);
        };
        let (mut rest, mut wanted_rest) = (answer.to_vec(), wanted.to_vec());
        rest[place.clone()][TIMESTAMP.start..].fill(0);
        wanted_rest[other.clone()][TIMESTAMP.start..].fill(0);
        same(&rest, &wanted_rest)?;
        let cookie = &answer[place];
        let (made, now) = (second(cookie), second(&wanted[other]));
        if made.abs_diff(now) > APART {
            return Err(format!("a cookie of second {made} in second {now}"));
        }
        match self.given.get(&made) {
            Some(given) if given != cookie => {
                Err(format!("cookie: {}", same(cookie, given).err().unwrap_or_default()))
            }
            given => {
                self.compared += u64::from(given.is_some());
                Ok(())
            }
        }
    }

    /// How many cookies could be compared.
    pub fn compared(&self) -> u64 {
        self.compared
    }
}

/// The server's cookie in an answer.
pub fn server_cookie(answer: &[u8]) -> Option<&[u8]> {
    place(answer).map(|place| &answer[place])
}

/// Where the server's cookie stands in an answer.
fn place(answer: &[u8]) -> Option<Range<usize>> {
    let len = (CLIENT_COOKIE.len() + LEN) as u16;
    let head = [&COOKIE.to_be_bytes()[..], &len.to_be_bytes(), &CLIENT_COOKIE].concat();
    let at = answer.windows(head.len()).position(|octets| octets == head)? + head.len();
    (at + LEN <= answer.len()).then_some(at..at + LEN)
}

fn second(cookie: &[u8]) -> u32 {
    cookie[TIMESTAMP].iter().fold(0, |second, octet| second << 8 | u32::from(*octet))
}

/// An error says where two messages begin to differ, and how they go on.
fn same(answer: &[u8], wanted: &[u8]) -> Result<(), String> {
    if answer == wanted {
        return Ok(());
    }
    let pairs = answer.iter().zip(wanted);
    let same = pairs.take_while(|(one, other)| one == other).count();
    let shown = |message: &[u8]| -> String {
        message[same..].iter().take(32).map(|octet| format!("{octet:02x}")).collect()
    };
    Err(format!(
        "{} octets in place of {}; from {same} on {} in place of {}",
        answer.len(),
        wanted.len(),
        shown(answer),
        shown(wanted)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(first: u8, second: u32, hash: u8) -> Vec<u8> {
        let mut answer = vec![first, 0, 10, 0, 24];
        answer.extend(CLIENT_COOKIE);
        answer.extend([1, 0, 0, 0]);
        answer.extend(second.to_be_bytes());
        answer.extend([hash; 8]);
        answer
    }

    #[test]
    fn a_cookie_of_another_second_is_that_of_the_daemon_in_that_second() {
        let mut cookies = Cookies::default();
        cookies.learn(&answer(1, 100, 7));
        cookies.learn(&answer(1, 101, 8));
        let wanted = answer(1, 101, 8);
        assert!(cookies.agree(&answer(1, 101, 8), &wanted).is_ok());
        assert!(cookies.agree(&answer(1, 100, 7), &wanted).is_ok());
        assert_eq!(cookies.compared(), 2);
        assert!(cookies.agree(&answer(1, 100, 8), &wanted).is_err(), "another hash");
        assert!(cookies.agree(&answer(2, 101, 8), &wanted).is_err(), "another answer");
        assert!(cookies.agree(&answer(1, 105, 8), &wanted).is_err(), "another time");
        assert!(cookies.agree(&answer(1, 102, 9), &wanted).is_ok(), "not known yet");
        assert_eq!(cookies.compared(), 2);
    }

    #[test]
    fn without_a_cookie_each_octet_counts() {
        let mut cookies = Cookies::default();
        assert!(cookies.agree(&[1, 2], &[1, 2]).is_ok());
        let fault = cookies.agree(&[1, 2, 3], &[1, 4, 3, 5]);
        assert_eq!(fault, Err("3 octets in place of 4; from 1 on 0203 in place of 040305".into()));
        assert!(cookies.agree(&answer(1, 9, 9), &answer(1, 9, 9)[..20]).is_err());
        assert_eq!(server_cookie(&answer(1, 9, 9)[..20]), None);
        assert_eq!(cookies.compared(), 0);
    }
}
