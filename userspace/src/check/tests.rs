//! What stands in no fault's way: a zone with all that is allowed has no findings.

use super::*;
use crate::zone::Name;
use crate::zone::text::{Options, parse};

fn findings(text: &str) -> Vec<(&'static str, Severity, String)> {
    let apex = Name::from_wire(b"\x07example\0").unwrap();
    let mut none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let read = parse(text.into(), "zone", &apex, Options::default(), &mut none).unwrap();
    check(&read.zone)
        .into_iter()
        .map(|finding| (finding.code, finding.severity, finding.message))
        .collect()
}

#[test]
fn what_is_right_is_left_alone() {
    let zone = "$TTL 300\n@ SOA ns host 1 7200 3600 1209600 300\n@ NS ns\n@ NS ns.elsewhere.test.\n\
        @ NS here.w\nns A 192.0.2.1\n*.w AAAA 2001:db8::1\n\
        @ MX 10 any.w\n@ MX 20 mail.sub\nnomail MX 0 .\nmx.in.empty TXT a\n\
        _sip._tcp SRV 0 0 5060 ns\n_none._tcp SRV 0 0 0 .\n\
        sub NS ns.sub\nsub NS ns\nsub NS ns.sibling\nns.sub A 192.0.2.2\n\
        sibling NS ns.sub\nself NS self\nself A 192.0.2.3\n\
        alias CNAME in.empty\nout CNAME elsewhere.test.\ndeep CNAME a.sub\nmoved DNAME elsewhere.test.\n\
        through CNAME x.moved\nwild CNAME any.below.nothing\n*.below.nothing TXT a\n_443._tcp.ns TLSA 3 1 1 00\n_443._tcp.alias2 TLSA 3 1 1 00\n\
        alias2 CNAME ns\n@ CDS 0 0 0 00\n@ CDNSKEY 0 3 0 AA==\n";
    assert_eq!(findings(zone), []);
}

#[test]
fn there_is_an_end_to_findings() {
    let mut zone =
        String::from("$TTL 300\n@ SOA ns host 1 7200 3600 1209600 300\n@ NS ns\nns A 192.0.2.1\n");
    (0..MAX_FINDINGS + 10).for_each(|at| zone.push_str(&format!("s{at} NS none{at}\n")));
    assert_eq!(findings(&zone).len(), MAX_FINDINGS);
}
