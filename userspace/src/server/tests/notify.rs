//! NOTIFY (RFC 1996) by primaries and by others.

use super::*;

const NOTIFY: u16 = 4 << 11;

const PRIMARY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53)), 4000);

/// What is answered: the header's flags with the response code, and which zones are to be looked at.
fn notified(ask: &Ask, client: SocketAddr, transport: Transport) -> (u16, Vec<String>, [u64; 2]) {
    let (stats, mut out) = (SocketStats::default(), Vec::new());
    let served = served(&testing::zone(7, 0));
    let wire = ask.wire();
    let reply = respond(&served, &stats, &wire, client, transport, NOW, &mut out);
    assert!(matches!(reply, Reply::Response));
    assert_eq!((&out[..2], &out[12..12 + ask.name.len()]), (&wire[..2], &ask.name[..]));
    let zones = served.settings.notified.take();
    let zones = zones.into_iter().map(|(name, from)| format!("{name} {from}")).collect();
    let counted = [&stats.notify_heeded, &stats.notify_refused].map(|count| count.load(Relaxed));
    (u16::from_be_bytes([out[2], out[3]]), zones, counted)
}

#[test]
fn a_primary_is_heeded_and_others_are_refused() {
    let ask = |name: &str| ask(name, 6).flags(NOTIFY | 0x400);
    for transport in [Transport::Udp, Transport::Tcp] {
        // QR, NOTIFY, AA.
        let heeded = (0xa400, vec!["unloaded. 192.0.2.53".to_owned()], [1, 0]);
        assert_eq!(notified(&ask("UnLoaded"), PRIMARY, transport), heeded);
        // The serial that a primary tells is not believed; that it tells one is no fault.
        let soa = b"\x08unloaded\0\0\x06\0\x01\0\0\0\0\0\x16\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let mut wire = ask("unloaded").with(soa.to_vec()).wire();
        (wire[7], wire[11]) = (1, 0);
        let served = served(&testing::zone(7, 0));
        let (stats, mut out) = (SocketStats::default(), Vec::new());
        respond(&served, &stats, &wire, PRIMARY, transport, NOW, &mut out);
        assert_eq!((out[3] & 15, served.settings.notified.take().len()), (0, 1));
        for (name, client, rcode) in [
            // Not of this zone, no primary of any; a zone from a file; no zone.
            ("unloaded", STRANGER, 5),
            ("unloaded", CLIENT, 5),
            ("example", PRIMARY, 9),
            ("www.unloaded", PRIMARY, 9),
            ("elsewhere", PRIMARY, 9),
        ] {
            let (flags, zones, counted) = notified(&ask(name), client, transport);
            assert_eq!((flags & 15, zones, counted), (rcode, vec![], [0, 1]), "{name}");
        }
    }
}

#[test]
fn what_is_no_notify_of_a_zone_is_malformed() {
    for ask in [
        ask("unloaded", 1).flags(NOTIFY),
        ask("unloaded", 6).flags(NOTIFY).class(3),
        ask("unloaded", 6).flags(NOTIFY).with(vec![0]),
    ] {
        let (flags, zones, _) = notified(&ask, PRIMARY, Transport::Udp);
        assert_eq!((flags & 15, zones), (1, vec![]));
    }
}
