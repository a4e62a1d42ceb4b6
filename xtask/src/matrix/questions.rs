//! What is asked in a guest: each name of the demo's zone that is answered in a way of its own, in each form that a
//! query takes, of a zone with NSEC and of one with NSEC3.

/// The zone of the demo; with this apex it is signed with NSEC.
const DEMO: &str = include_str!("../../../tests/zones/demo.zone");
/// The apex of the demo's zone.
pub const NSEC: &str = "example.org";
/// The same zone under this apex is signed with NSEC3.
pub const NSEC3: &str = "example.com";

/// What the demo's zone has none of: names that move (RFC 6672).
const MORE: &str = "\nmoved DNAME in.the.woods\n";

/// The text of a zone with this apex.
pub fn zone(apex: &str) -> String {
    DEMO.replace(NSEC, apex) + &MORE.replace("in.the.woods", &format!("in.the.woods.{apex}."))
}

const A: u16 = 1;
const NS: u16 = 2;
const SOA: u16 = 6;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const DS: u16 = 43;
const RRSIG: u16 = 46;
const DNSKEY: u16 = 48;
const HTTPS: u16 = 65;
const ANY: u16 = 255;

/// Who is to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnsweredBy {
    /// A program, where packets have room for the answer.
    Program,
    /// The daemon, always.
    Daemon,
}

/// A name below the apex, or in full if it ends in a dot; a type; who answers.
const ASKED: [(&str, u16, AnsweredBy); 26] = [
    ("", SOA, AnsweredBy::Program),
    ("", NS, AnsweredBy::Program),
    ("", DNSKEY, AnsweredBy::Program),
    ("", MX, AnsweredBy::Program),
    ("", HTTPS, AnsweredBy::Program),
    ("www", A, AnsweredBy::Program),
    ("wWw", AAAA, AnsweredBy::Program),
    ("www", ANY, AnsweredBy::Program),
    ("www", RRSIG, AnsweredBy::Daemon),
    ("long", TXT, AnsweredBy::Program),
    // CNAME: two steps, and out of the zone.
    ("shop", A, AnsweredBy::Program),
    ("elsewhere", A, AnsweredBy::Program),
    // NODATA, also of an empty non-terminal.
    ("www", MX, AnsweredBy::Program),
    ("the.woods", A, AnsweredBy::Program),
    // A wildcard, positive and NODATA.
    ("one.apps", A, AnsweredBy::Program),
    ("one.apps", MX, AnsweredBy::Program),
    ("moved", A, AnsweredBy::Program),
    ("deep.moved", A, AnsweredBy::Program),
    // NXDOMAIN.
    ("no.such.name", A, AnsweredBy::Program),
    ("nor-this", AAAA, AnsweredBy::Program),
    // Referrals, with a DS and without.
    ("x.partner", A, AnsweredBy::Program),
    ("x.branch", A, AnsweredBy::Program),
    ("partner", DS, AnsweredBy::Program),
    ("branch", DS, AnsweredBy::Program),
    // REFUSED.
    ("www.example.net.", A, AnsweredBy::Program),
    (".", SOA, AnsweredBy::Program),
];

/// The options COOKIE (RFC 7873 section 4) and PADDING (RFC 7830).
pub const COOKIE: u16 = 10;
const PADDING: u16 = 12;
/// The client's cookie.
pub const CLIENT_COOKIE: [u8; 8] = *b"sealdns!";
/// Queries are padded to a multiple of so many octets (RFC 8467 section 4.1).
const BLOCK: usize = 128;

/// A form of a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    NoEdns,
    Edns {
        payload: u16,
        dnssec_ok: bool,
    },
    BadVersion,
    Cookie,
    /// With the server's cookie of an earlier answer.
    CookieAgain,
    Padded,
}

const FORMS: [Form; 8] = [
    Form::NoEdns,
    Form::Edns { payload: 1232, dnssec_ok: false },
    Form::Edns { payload: 1232, dnssec_ok: true },
    // Most signed answers are truncated.
    Form::Edns { payload: 512, dnssec_ok: true },
    Form::BadVersion,
    Form::Cookie,
    Form::CookieAgain,
    Form::Padded,
];

/// A query, but for its identifier.
pub struct Question {
    /// In words, for who reads of a fault.
    pub what: String,
    /// Who is to answer.
    pub answered_by: AnsweredBy,
    name: Vec<u8>,
    rtype: u16,
    form: Form,
}

/// All questions.
pub fn all() -> Vec<Question> {
    let mut questions = Vec::new();
    for apex in [NSEC, NSEC3] {
        for (name, rtype, answered_by) in ASKED {
            for form in FORMS {
                let name = match name {
                    "" => apex.to_owned(),
                    name if name.ends_with('.') => name.to_owned(),
                    name => format!("{name}.{apex}"),
                };
                // An unknown version of EDNS is answered before the type is looked at.
                let answered_by =
                    if form == Form::BadVersion { AnsweredBy::Program } else { answered_by };
                let what = format!("{name} TYPE{rtype} {form:?}");
                questions.push(Question { what, answered_by, name: wire(&name), rtype, form });
            }
        }
    }
    questions
}

/// What is asked to see whether anybody answers, and for a cookie.
pub fn first() -> Question {
    let name = format!("www.{NSEC}");
    Question {
        what: name.clone(),
        answered_by: AnsweredBy::Program,
        name: wire(&name),
        rtype: A,
        form: Form::Cookie,
    }
}

impl Question {
    /// The message with this identifier. `cookie` is a server's, of an earlier answer.
    pub fn message(&self, id: u16, cookie: &[u8]) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        let edns = u8::from(self.form != Form::NoEdns);
        message.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, edns]);
        message.extend(&self.name);
        message.extend(self.rtype.to_be_bytes());
        message.extend([0, 1]);
        let (payload, dnssec_ok) = match self.form {
            Form::NoEdns => return message,
            Form::Edns { payload, dnssec_ok } => (payload, dnssec_ok),
            _ => (1232, true),
        };
        let version = u8::from(self.form == Form::BadVersion);
        message.extend([0, 0, 41]);
        message.extend(payload.to_be_bytes());
        message.extend([0, version, u8::from(dnssec_ok) << 7, 0]);
        let value = match self.form {
            Form::Cookie => Some((COOKIE, CLIENT_COOKIE.to_vec())),
            Form::CookieAgain => Some((COOKIE, [&CLIENT_COOKIE, cookie].concat())),
            // The length of the options and the head of this one come before its octets.
            Form::Padded => Some((PADDING, vec![0; BLOCK - (message.len() + 6) % BLOCK])),
            _ => None,
        };
        let mut options = Vec::new();
        if let Some((code, value)) = value {
            options.extend(code.to_be_bytes());
            options.extend((value.len() as u16).to_be_bytes());
            options.extend(value);
        }
        message.extend((options.len() as u16).to_be_bytes());
        message.extend(options);
        message
    }
}

/// A name in wire format.
fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_asked_in_every_form_of_both_zones() {
        let questions = all();
        assert_eq!(questions.len(), 2 * ASKED.len() * FORMS.len());
        for question in &questions {
            let message = question.message(0x1234, &[7; 16]);
            let end = 12 + question.name.len() + 4;
            assert_eq!(&message[12..end - 4], question.name, "{}", question.what);
            if question.form == Form::NoEdns {
                assert_eq!(message.len(), end);
                continue;
            }
            let len = usize::from(u16::from_be_bytes([message[end + 9], message[end + 10]]));
            assert_eq!(message.len(), end + 11 + len, "{}", question.what);
            assert_eq!(
                question.form == Form::Padded,
                message.len() % BLOCK == 0,
                "{}",
                question.what
            );
        }
    }

    #[test]
    fn the_zone_has_another_apex_throughout() {
        assert!(zone(NSEC).contains("$ORIGIN example.org."));
        assert!(!zone(NSEC3).contains(NSEC) && zone(NSEC3).contains("in.the.woods.example.com."));
    }
}
