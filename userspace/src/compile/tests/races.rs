//! What is answered when the table changes while an answer is made.

use std::cell::Cell;

use xdp_common::engine::sequence::{self, Driver, Stage};
use xdp_common::engine::{Host, MessageContext};
use xdp_common::frame::SliceFrame;
use xdp_common::state::{EdnsSettings, Query, Scratch};

use super::*;

/// The host as the kernel is: it looks once, and the table changes whenever it looks how often it did.
struct Racing<'a> {
    host: Host<'a, Reader>,
    changes: Cell<u64>,
    /// Whether it changes.
    is_changing: bool,
}

impl Driver for Racing<'_> {
    type Store = Reader;
    type Entered = Stage;
    const FRAMED: bool = false;

    fn store(&self) -> &Reader {
        self.host.store()
    }

    fn edns_settings(&self) -> Option<&EdnsSettings> {
        self.host.edns_settings()
    }

    fn now_s(&self) -> u32 {
        self.host.now_s()
    }

    fn changes(&self) -> Option<u64> {
        self.changes.set(self.changes.get() + u64::from(self.is_changing));
        Some(self.changes.get())
    }

    fn response_limit(&self, query: &Query) -> usize {
        self.host.response_limit(query)
    }

    fn payload(&self) -> u16 {
        self.host.payload()
    }

    fn limit_bits(&self) -> u32 {
        self.host.limit_bits()
    }

    fn is_stream(&self) -> bool {
        self.host.is_stream()
    }

    fn enter(&mut self, stage: Stage) -> Option<Stage> {
        self.host.enter(stage)
    }
}

/// An answer that says that something does not exist is not sent if the table has changed since the name was looked up:
/// name and proof, or name and SOA record, may be of two versions. What is a referral's proof may be, too. What exists is of the version in which it was found.
#[test]
fn what_denies_is_of_one_version() {
    let plain = zone(
        "e.",
        1,
        "a A 192.0.2.1\nb.ent A 192.0.2.2\n*.w A 192.0.2.3\nc CNAME a\ncut NS ns.cut\nns.cut A 192.0.2.4\n\
         alias CNAME missing\nd DNAME a",
    );
    let questions = [
        ("a.e.", Rtype::A, Outcome::Positive),
        ("c.e.", Rtype::A, Outcome::Positive),
        ("x.cut.e.", Rtype::A, Outcome::Referral),
        ("cut.e.", Rtype::A, Outcome::Referral),
        ("a.e.", Rtype::TXT, Outcome::Nodata),
        ("e.", Rtype::TXT, Outcome::Nodata),
        ("ent.e.", Rtype::A, Outcome::Nodata),
        ("c.e.", Rtype::TXT, Outcome::Nodata),
        ("x.w.e.", Rtype::TXT, Outcome::Wildcard),
        ("x.w.e.", Rtype::A, Outcome::Wildcard),
        ("x.e.", Rtype::A, Outcome::Nxdomain),
        ("x.a.e.", Rtype::A, Outcome::Nxdomain),
    ];
    for denial in DENIALS {
        let zone = versions(&[&plain], denial).remove(0);
        let mut image = small_image();
        drop(image.publish(&zone).expect("published"));
        let reader = image.reader();
        let edns_settings = EdnsSettings::new();
        let context = MessageContext {
            response: 1232,
            over_udp: true,
            now_s: NOW,
            payload: 1232,
            client: [0; 2],
            edns_settings: &edns_settings,
        };
        for (qname, qtype, expected) in questions {
            let answer = |is_changing| {
                let mut room = vec![0; 4096];
                let query = query(name(qname).as_wire(), qtype);
                room[..query.len()].copy_from_slice(&query);
                let mut frame = SliceFrame::new(&mut room, query.len());
                let mut scratch = Box::<Scratch>::default();
                let host = Host { store: &reader, context: &context };
                let mut driver = Racing { host, changes: Cell::new(7), is_changing };
                driver.host.read(&frame, query.len(), &mut scratch)?;
                let first = sequence::plan(&mut driver, &mut scratch)?;
                sequence::run(&mut driver, &mut frame, &mut scratch, first)
            };
            let case = format!("{qname} {qtype}, {denial:?}");
            assert_eq!(answer(false), Ok(expected), "{case}");
            let exists = matches!(expected, Outcome::Positive);
            let raced = if exists { Ok(expected) } else { Err(Outcome::Miss) };
            assert_eq!(answer(true), raced, "{case}, with changes");
        }
    }
}
