//! In what answers may differ, each with its reason.

use std::collections::BTreeSet;

use sealdns::dnssec::authority::is_hash;
use sealdns::zone::{Rtype, Zone, name};

use tests::dns::{Message, Query, Record};

const SERVFAIL: u16 = 2;
const YXDOMAIN: u16 = 6;

/// Octets of an SOA record of the tests' zones with names that are pointers, at most.
const MAX_SOA: usize = 64;

/// Whom our answers are compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// Knot DNS.
    Knotd,
    /// NSD.
    Nsd,
    /// BIND's name server.
    Named,
}

impl Peer {
    /// The name of its program.
    pub fn program(self) -> &'static str {
        match self {
            Peer::Knotd => "knotd",
            Peer::Nsd => "nsd",
            Peer::Named => "named",
        }
    }
}

impl Legal {
    /// Whether this is all that differs.
    pub fn covers(&self, pair: &Pair<'_>) -> bool {
        self.of.contains(&pair.peer) && (self.covers)(pair)
    }
}

/// A difference that is no fault.
pub struct Legal {
    /// In whose answers it is.
    pub of: &'static [Peer],
    /// Why ours are right.
    pub reason: &'static str,
    covers: fn(&Pair<'_>) -> bool,
}

/// What both said to the same question.
pub struct Pair<'a> {
    pub peer: Peer,
    pub zone: &'a Zone,
    pub query: &'a Query,
    pub ours: &'a Message,
    pub theirs: &'a Message,
}

/// What may differ.
pub const LEGAL: &[Legal] = &[
    Legal {
        of: &[Peer::Knotd, Peer::Nsd],
        reason: "of the signatures of a name those of one RRset are enough, as of ANY one RRset is \
                 (RFC 8482 section 7), and we choose another",
        covers: |pair| {
            let all_signatures = |message: &Message| {
                message.answer.iter().all(|one| Rtype(one.rtype) == Rtype::RRSIG)
                    && !message.answer.is_empty()
            };
            Rtype(pair.query.rtype) == Rtype::RRSIG
                && only(pair, &["answer"])
                && all_signatures(pair.ours)
                && all_signatures(pair.theirs)
        },
    },
    Legal {
        of: &[Peer::Knotd, Peer::Nsd],
        reason: "to ANY one RRset of the name is enough (RFC 8482 section 4.1), and they say more or another",
        covers: |pair| {
            let types: BTreeSet<u16> = pair.ours.answer.iter().map(|one| covered(one).0).collect();
            Rtype(pair.query.rtype) == Rtype::ANY
                && only(pair, &["answer", "TC"])
                && types.len() == 1
                && (pair.theirs.is_truncated() || !pair.theirs.answer.is_empty())
        },
    },
    Legal {
        of: &[Peer::Knotd, Peer::Named],
        reason: "in a zone with NSEC3 no name has an NSEC record: a question for it follows CNAMEs as \
                 any other does (RFC 1034 section 4.3.2), and they do not follow",
        covers: |pair| {
            Rtype(pair.query.rtype) == Rtype::NSEC
                && pair
                    .zone
                    .find(pair.zone.apex().as_wire())
                    .is_some_and(|apex| apex.rrset(Rtype::NSEC).is_none())
                && pair.ours.is_authoritative()
                && pair.ours.answer.iter().any(|one| Rtype(one.rtype) == Rtype::CNAME)
                && pair.theirs.answer.is_empty()
        },
    },
    Legal {
        of: &[Peer::Knotd, Peer::Nsd],
        reason: "they add addresses of name servers outside the delegated zone that are no glue: \
                 a resolver finds them without (RFC 9471 section 3 asks for glue alone)",
        covers: |pair| {
            only(pair, &["additional lacks"])
                && lacking(&pair.ours.additional, &pair.theirs.additional)
                    .all(|record| is_signed(pair.zone, record))
        },
    },
    Legal {
        of: &[Peer::Named],
        reason: "the NSEC record of a zone cut is in both zones (RFC 4035 section 2.3): named answers a question for it, and \
                 we refer, as knotd and nsd do",
        covers: |pair| {
            Rtype(pair.query.rtype) == Rtype::NSEC
                && is_referral(pair.ours)
                && !pair.ours.is_authoritative()
                && pair.theirs.answer.iter().all(|one| covered(one) == Rtype::NSEC)
                && !pair.theirs.answer.is_empty()
        },
    },
    Legal {
        of: &[Peer::Named],
        reason: "that there is no SOA at a name named has nobody remember (its `zero-no-soa-ttl`): RFC 2308 section 3 has the \
                 TTL be that of the SOA record or its MINIMUM, as ours is",
        covers: |pair| {
            let soa = |message: &Message| {
                message.authority.iter().find(|one| one.rtype == Rtype::SOA.0).cloned()
            };
            Rtype(pair.query.rtype) == Rtype::SOA
                && only(pair, &["authority"])
                && pair.ours.answer.is_empty()
                && soa(pair.theirs).zip(soa(pair.ours)).is_some_and(|(theirs, ours)| {
                    theirs.ttl == 0 && Record { ttl: 0, ..ours } == theirs
                })
        },
    },
    Legal {
        of: &[Peer::Knotd],
        reason: "to YXDOMAIN knotd adds what stands at the DNAME's target, or the SOA: the DNAME is what \
                 proves it (RFC 6672 section 2.2)",
        covers: |pair| {
            pair.ours.rcode == YXDOMAIN
                && pair.theirs.rcode == YXDOMAIN
                && has_all(&pair.theirs.answer, &pair.ours.answer)
                && pair.ours.answer.iter().any(|one| one.rtype == Rtype::DNAME.0)
                && pair.ours.authority.is_empty()
        },
    },
    Legal {
        of: &[Peer::Knotd],
        reason: "knotd follows five CNAMEs and we eight or more: RFC 1034 section 4.3.2 has no bound",
        covers: |pair| {
            let is_end = has_all(&pair.ours.answer, &pair.theirs.answer)
                && pair.theirs.authority.iter().all(is_proof)
                && pair.theirs.rcode == 0;
            is_end && cnames(pair.theirs) >= 5 && cnames(pair.ours) > cnames(pair.theirs)
        },
    },
    Legal {
        of: &[Peer::Knotd],
        reason: "knotd makes fewer pointers: where the SOA does not fit it leaves it out",
        covers: |pair| {
            pair.theirs.len + MAX_SOA > pair.query.response_limit()
                && only(pair, &["authority has"])
                && lacking(&pair.theirs.authority, &pair.ours.authority)
                    .all(|one| covered(one) == Rtype::SOA)
        },
    },
    Legal {
        of: &[Peer::Knotd],
        reason: "a CNAME leads below a cut, and the zone there is served here too: the answer is that \
                 zone's, as RFC 1034 section 4.3.2 goes back to step 1; knotd refers to it",
        covers: |pair| {
            pair.ours.is_authoritative()
                && cnames(pair.ours) > 0
                && has_all(&pair.ours.answer, &pair.theirs.answer)
                && pair.theirs.authority.iter().any(|one| one.rtype == Rtype::NS.0)
                && !pair.ours.authority.iter().any(|one| one.rtype == Rtype::NS.0)
        },
    },
    Legal {
        of: &[Peer::Knotd, Peer::Nsd, Peer::Named],
        reason: "one says more than fits; over TCP both are compared whole",
        covers: |pair| only(pair, &["TC"]),
    },
    Legal {
        of: &[Peer::Knotd],
        reason: "knotd 3.2 takes the octet 0 in a label for the end of the label, and sends the NSEC \
                 of another gap",
        covers: |pair| {
            let mut gaps = lacking(&pair.ours.authority, &pair.theirs.authority);
            has_octet_0(pair)
                && only(pair, &["authority"])
                && is_covered(&pair.query.name, &pair.ours.authority)
                && !gaps.any(|gap| is_covered(&pair.query.name, std::slice::from_ref(gap)))
        },
    },
    Legal {
        of: &[Peer::Knotd],
        reason: "beside names with the octet 0 in a label knotd 3.2 finds no proof with NSEC3, and sends \
                 NXDOMAIN with neither AA nor SOA",
        covers: |pair| {
            has_octet_0(pair)
                && pair.ours.rcode == pair.theirs.rcode
                && !pair.theirs.is_authoritative()
                && pair.ours.is_authoritative()
                && pair.theirs.answer.is_empty()
                && pair.theirs.authority.is_empty()
                && pair.ours.authority.iter().any(|one| one.rtype == Rtype::SOA.0)
        },
    },
    Legal {
        of: &[Peer::Knotd],
        reason: "knotd leaves out the proof that no name is closer than the wildcard where the name \
                 begins with `*` itself, and the wildcard's own where it has no records: RFC 4035 \
                 sections 3.1.3.3 and 3.1.3.4 ask for both",
        covers: |pair| {
            let is_starred =
                names_led_through(pair.query, pair.ours).any(|wire| wire.starts_with(b"\x01*"));
            only(pair, &["authority has"])
                && lacking(&pair.theirs.authority, &pair.ours.authority).all(is_proof)
                && (is_starred || leads_below_empty_wildcard(pair.zone, pair.query, pair.ours))
        },
    },
    Legal {
        of: &[Peer::Knotd],
        reason: "RRSIG records are not signed themselves (RFC 4035 section 2.2): knotd proves of those \
                 of a wildcard that no name is closer, for nobody who could check it",
        covers: |pair| {
            Rtype(pair.query.rtype) == Rtype::RRSIG
                && only(pair, &["authority lacks"])
                && pair.ours.authority.is_empty()
                && pair.theirs.authority.iter().all(is_proof)
        },
    },
    Legal {
        of: &[Peer::Named],
        reason: "round a circle of CNAMEs named goes eleven times and says SERVFAIL: that there is no end is for the \
                 resolver to see, who has all of the circle (RFC 1034 section 3.6.2), and knotd and nsd say NOERROR",
        covers: |pair| {
            let targets: BTreeSet<&[u8]> = names_led_through(pair.query, pair.ours).collect();
            only(pair, &["rcode"])
                && (pair.ours.rcode, pair.theirs.rcode) == (0, SERVFAIL)
                && cnames(pair.ours) > 0
                && targets.len() < names_led_through(pair.query, pair.ours).count()
        },
    },
    Legal {
        of: &[Peer::Nsd, Peer::Named],
        reason: "nsd follows CNAMEs and DNAMEs into every zone that it serves, and any number of them; named eleven, and \
                 where there is a twelfth it says SERVFAIL beside them: we leave other zones and the end of a long \
                 chain to the resolver, as RFC 1034 section 4.3.2 has no bound and no error for it",
        covers: |pair| {
            let last = pair.ours.answer.iter().any(|one| {
                let is_followed =
                    |target: &[u8]| pair.ours.answer.iter().any(|next| next.owner == target);
                one.rtype == Rtype::CNAME.0 && !is_followed(&one.rdata)
            });
            last && pair.ours.rcode == 0
                && pair.ours.is_authoritative()
                && !pair.ours.authority.iter().any(|one| one.rtype == Rtype::SOA.0)
                && has_all(&pair.theirs.answer, &pair.ours.answer)
        },
    },
    Legal {
        of: &[Peer::Nsd],
        reason: "a DNAME that leads below itself makes names longer without end: nsd stops after fewer steps \
                 than we",
        covers: |pair| {
            let grows = |one: &Record| {
                one.rtype == Rtype::DNAME.0 && name::is_at_or_below(&one.rdata, &one.owner)
            };
            only(pair, &["answer has"])
                && pair.ours.answer.iter().any(grows)
                && cnames(pair.ours) > cnames(pair.theirs)
        },
    },
    Legal {
        of: &[Peer::Nsd],
        reason: "nsd takes the owner names of NSEC3 records for names of the zone: they are none \
                 (RFC 5155 section 7.2.8)",
        covers: |pair| {
            let mut up = Some(pair.query.name.to_ascii_lowercase());
            while let Some(wire) = up {
                if pair.zone.find(&wire).is_some_and(|owner| is_hash(&owner)) {
                    return true;
                }
                up = name::parent(&wire).map(<[u8]>::to_vec);
            }
            false
        },
    },
];

/// Whether all that differs starts with one of these words.
fn only(pair: &Pair<'_>, words: &[&str]) -> bool {
    differences(pair).iter().all(|what| words.iter().any(|word| what.starts_with(word)))
}

/// Whether a proof of the response has the opt-out flag: there may be insecure delegations in its gap
/// (RFC 5155 section 3.1.2.1).
pub fn has_opt_out(response: &Message) -> bool {
    response
        .authority
        .iter()
        .any(|record| Rtype(record.rtype) == Rtype::NSEC3 && record.rdata[1] & 1 != 0)
}

fn cnames(message: &Message) -> usize {
    message.answer.iter().filter(|one| one.rtype == Rtype::CNAME.0).count()
}

/// Whether a record is an NSEC or NSEC3, or signs one.
fn is_proof(record: &Record) -> bool {
    matches!(covered(record), Rtype::NSEC | Rtype::NSEC3)
}

/// The type of a record, or that which it signs.
fn covered(record: &Record) -> Rtype {
    match Rtype(record.rtype) {
        Rtype::RRSIG => Rtype(u16::from_be_bytes([record.rdata[0], record.rdata[1]])),
        rtype => rtype,
    }
}

/// Whether an octet 0 stands in a label of the name that was asked for, or of one in the zone.
fn has_octet_0(pair: &Pair<'_>) -> bool {
    let has = |wire: &[u8]| name::labels(wire).any(|label| label.contains(&0));
    has(&pair.query.name) || pair.zone.owners().any(|owner| has(owner.name()))
}

/// The name that was asked for, and those that CNAMEs lead to.
fn names_led_through<'a>(
    query: &'a Query,
    response: &'a Message,
) -> impl Iterator<Item = &'a [u8]> {
    let cnames = response.answer.iter().filter(|one| one.rtype == Rtype::CNAME.0);
    std::iter::once(query.name.as_slice()).chain(cnames.map(|cname| cname.rdata.as_slice()))
}

/// Whether an answer is that of a `*` without records, which has others below it.
fn leads_below_empty_wildcard(zone: &Zone, query: &Query, response: &Message) -> bool {
    names_led_through(query, response).any(|wire| is_below_empty_wildcard(zone, wire))
}

/// Whether what would answer for a name that does not exist is a `*` without records.
fn is_below_empty_wildcard(zone: &Zone, wire: &[u8]) -> bool {
    let wire = wire.to_ascii_lowercase();
    let exists = |wire: &[u8]| zone.owners().any(|one| name::is_at_or_below(one.name(), wire));
    let mut up = Some(wire.as_slice());
    while let Some(encloser) = up {
        if exists(encloser) {
            let wildcard = [b"\x01*", encloser].concat();
            return encloser.len() < wire.len()
                && exists(&wildcard)
                && zone.find(&wildcard).is_none();
        }
        up = name::parent(encloser);
    }
    false
}

/// What of `theirs` is not in `ours`.
fn lacking<'a>(ours: &'a [Record], theirs: &'a [Record]) -> impl Iterator<Item = &'a Record> {
    theirs.iter().filter(|record| !ours.contains(record))
}

fn has_all(all: &[Record], some: &[Record]) -> bool {
    lacking(all, some).next().is_none()
}

/// Whether the zone signs the record's RRset: it is not below a cut.
fn is_signed(zone: &Zone, record: &Record) -> bool {
    let owner = zone.find(&record.owner);
    owner.is_some_and(|owner| owner.signatures(covered(record)).next().is_some())
}

/// Whether one of the NSEC records says that there is nothing of this name (RFC 4034 section 4.1.1).
fn is_covered(wire: &[u8], records: &[Record]) -> bool {
    records.iter().filter(|record| record.rtype == Rtype::NSEC.0).any(|record| {
        let (Some(next_len), key) = (name::wire_name_len(&record.rdata), order_key(wire)) else {
            return false;
        };
        let (owner, next) = (order_key(&record.owner), order_key(&record.rdata[..next_len]));
        // The last NSEC leads back to the apex.
        owner < key && (key < next || next <= owner)
    })
}

/// What sorts as RFC 4034 section 6.1 has it: labels from the right, in lower case.
fn order_key(wire: &[u8]) -> Vec<Vec<u8>> {
    let mut labels: Vec<_> = name::labels(wire).map(<[u8]>::to_ascii_lowercase).collect();
    labels.reverse();
    labels
}

/// What differs in what matters: response code, flags, OPT, answer and authority section, and in
/// referrals the additional section.
pub fn differences(Pair { peer, ours, theirs, .. }: &Pair<'_>) -> Vec<String> {
    let mut said = Vec::new();
    let mut differ = |what: &str, ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
        let (ours, theirs) = (format!("{ours:?}"), format!("{theirs:?}"));
        if ours != theirs {
            said.push(format!("{what} {ours}, theirs {theirs}"));
        }
    };
    differ("TC", &ours.is_truncated(), &theirs.is_truncated());
    differ("DO", &ours.edns.map(|e| e.dnssec_ok), &theirs.edns.map(|e| e.dnssec_ok));
    // A truncated response is worth nothing but its TC.
    if !ours.is_truncated() && !theirs.is_truncated() {
        differ("rcode", &ours.rcode, &theirs.rcode);
        differ("AA", &ours.is_authoritative(), &theirs.is_authoritative());
        let mut sections = vec![
            ("answer", &ours.answer, &theirs.answer),
            ("authority", &ours.authority, &theirs.authority),
        ];
        if is_referral(theirs) {
            sections.push(("additional", &ours.additional, &theirs.additional));
        }
        for (section, ours, theirs) in sections {
            // Of proofs nsd has more or less than RFC 4035 asks for: those are compared with knotd's and named's,
            // and a validator takes them.
            let counts =
                |one: &&Record| *peer != Peer::Nsd || section == "answer" || !is_proof(one);
            let more: Vec<&Record> = lacking(theirs, ours).filter(counts).collect();
            let less: Vec<&Record> = lacking(ours, theirs).filter(counts).collect();
            if !more.is_empty() {
                said.push(format!("{section} has {more:?}"));
            }
            if !less.is_empty() {
                said.push(format!("{section} lacks {less:?}"));
            }
        }
    }
    said
}

fn is_referral(message: &Message) -> bool {
    let has = |rtype| message.authority.iter().any(|record| record.rtype == rtype);
    message.rcode == 0 && has(Rtype::NS.0) && !has(Rtype::SOA.0)
}
