//! How long a zone of 300,000 records takes to read, beside `domain`'s own master file reader on
//! the same octets: `cargo bench -p sealdns --bench zone_read` prints medians and their ratios.
//!
//! Ours is all of the way: text to a finished zone, sorted and checked. `domain`'s is text to
//! records, dropped as they come, and so does less. Each on one thread.

use domain::base::Name as DomainName;
use domain::zonefile::inplace::{Entry, Zonefile};
use sealdns::zone::Name;
use sealdns::zone::text::{Options, parse};
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

const RECORDS: usize = 300_000;
const RUNS: usize = 11;

fn main() {
    // One core is the measure; rayon sorts on this thread.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("a thread pool");
    let apex = Name::from_wire(b"\x07example\x00").expect("a name");
    for (what, text) in [("sorted, signed", signed_zone()), ("unsorted, plain", plain_zone())] {
        let (mut ours, mut theirs, mut count) = (Vec::new(), Vec::new(), 0);
        // Turn by turn, so that what else the machine does meets both alike.
        for _ in 0..RUNS {
            let started = Instant::now();
            count = read_by_domain(&text);
            theirs.push(started.elapsed());

            let copy = text.clone().into_bytes();
            let started = Instant::now();
            let loaded = parse(copy, "bench", &apex, Options::default(), &mut |_| {
                Err(std::io::ErrorKind::NotFound.into())
            })
            .expect("a zone");
            ours.push(started.elapsed());
            assert_eq!(loaded.zone.record_count(), count);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!(
            "{what}: {count} records, {} MB: to a finished zone {} ms, domain's reader {} ms, \
             ratio {:.2} (at most 1.5)",
            text.len() / 1_000_000,
            ours.as_millis(),
            theirs.as_millis(),
            ours.as_secs_f64() / theirs.as_secs_f64()
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn read_by_domain(text: &str) -> usize {
    let mut zonefile = Zonefile::load(&mut text.as_bytes()).expect("memory");
    zonefile.set_origin(DomainName::bytes_from_str("example.").expect("a name"));
    let mut count = 0;
    while let Some(entry) = zonefile.next_entry().expect("an entry") {
        if let Entry::Record(record) = entry {
            black_box(&record);
            count += 1;
        }
    }
    count
}

const HEAD: &str = "$ORIGIN example.\n$TTL 3600\n\
    @ IN SOA ns hostmaster 2026112401 7200 900 1209600 300\n@ IN NS ns\n";

/// Hosts in random order, as people's tools write them: A, AAAA, MX, TXT, CNAME, NS.
fn plain_zone() -> String {
    let mut text = HEAD.to_owned();
    let mut count = 2;
    while count < RECORDS {
        // An odd factor: no two names alike, in no order.
        let name = (count as u32).wrapping_mul(2_654_435_761);
        let (a, b) = (name >> 8 & 0xff, name >> 16 & 0xff);
        let _ = match count % 6 {
            0 => writeln!(text, "h{name} IN A 192.0.{a}.{b}"),
            1 => writeln!(text, "h{name}\t300\tIN\tAAAA\t2001:db8:{a:x}::{b:x}"),
            2 => writeln!(text, "m{name}.example. IN MX 10 mail{a}.example."),
            3 => writeln!(text, "t{name} IN TXT \"v=spf1 ip4:192.0.{a}.{b} -all\""),
            4 => writeln!(text, "c{name} IN CNAME h{b}"),
            _ => writeln!(text, "d{name} IN NS ns{a}.example.net."),
        };
        count += 1;
    }
    text
}

/// Hosts with their signatures and denial, as a signer writes them.
fn signed_zone() -> String {
    let mut text = HEAD.to_owned();
    let signature =
        "CzBVep/E6Q4zWH2ix+wRNluApcrvFDleg6jN8hc8YYar0PUaP2SJrtP4HUJnjLHW+yBFao+02f4jSG2St9wBJg==";
    for host in 0..RECORDS / 4 {
        let rrsig = |covered: &str| {
            format!(
                "h{host:06}.example. 3600 IN RRSIG {covered} 13 2 3600 20261208000000 \
                 20261124000000 2642 example. {signature}"
            )
        };
        let _ = writeln!(text, "h{host:06}.example. 3600 IN A 192.0.2.{}", host % 256);
        let _ = writeln!(text, "{}", rrsig("A"));
        let _ = writeln!(
            text,
            "h{host:06}.example. 300 IN NSEC h{:06}.example. A RRSIG NSEC",
            host + 1
        );
        let _ = writeln!(text, "{}", rrsig("NSEC"));
    }
    text
}
