//! A trace: what the programs that trace are told, and the lines that they write.
//!
//! The programs write with `aya-log`, one line for each packet that is chosen, into a ring buffer, which `aya-log` reads here
//! and hands on as text: numbers, between spaces (`xdp-ebpf/src/trace/mod.rs` writes them). What has no room there is lost,
//! and counted.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use nix::net::if_::if_indextoname;
use xdp_common::Outcome;
use xdp_common::engine::sequence::Stage;
use xdp_common::maps;
use xdp_common::trace::{Filter, Seen, known};

use super::load_error::{LoadError, lacks, other};
use super::memory::Value;
use super::seam::{TraceLines, TraceRead};
use crate::clock::{boot_ns, wall_ahead_of_boot_ns};
use crate::observe::trace::{TraceAction, TraceLine, TracePath, TracedClient, TracedQuestion};
use crate::zone::Rtype;
use crate::zone::name::{MAX_NAME_LEN, wire_name_len, write_name};

/// Lines that a CPU may write between two readings: four times what there is room for.
const BETWEEN_READINGS: u64 = 1024;

/// What programs that trace are told, and write. A lock of its own: reading takes none of the daemon's.
pub struct Tracing(Mutex<Inner>);

struct Inner {
    logger: EbpfLogger<Sink>,
    lines: Arc<Mutex<Vec<String>>>,
    filters: Array<MapData, Value<Filter>>,
    seen: PerCpuArray<MapData, Value<Seen>>,
    filter: Filter,
    /// Lines that were read since the trace began.
    received: u64,
}

impl Tracing {
    /// Takes the maps of a trace.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Tracing, LoadError> {
        let mut take = |name| ebpf.take_map(name).ok_or_else(|| lacks("map", name));
        let filters = Array::try_from(take(maps::TRACE)?).map_err(other)?;
        let seen = PerCpuArray::try_from(take(maps::TRACED)?).map_err(other)?;
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let logger = EbpfLogger::init_with_logger(ebpf, Sink(Arc::clone(&lines)));
        let logger = logger.map_err(|error| match error {
            aya_log::Error::MapError(error) => other(error),
            _ => lacks("map", maps::TRACE_LINES),
        })?;
        let filter = Filter::new();
        Ok(Tracing(Mutex::new(Inner { logger, lines, filters, seen, filter, received: 0 })))
    }

    /// Forgets an earlier trace, and shows what this filter chooses once programs that trace run, for that long.
    pub fn begin(&self, filter: &Filter, duration: Duration) -> Result<()> {
        let inner = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.take_lines();
        let cpus = nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
        let nothing = PerCpuValues::try_from(vec![Value(Seen::default()); cpus])?;
        inner.seen.set(0, nothing, 0)?;
        inner.received = 0;
        let until_ns = boot_ns()? + duration.as_nanos() as u64;
        inner.filter = Filter { until_ns, most: BETWEEN_READINGS, ..*filter };
        Ok(inner.filters.set(0, Value(inner.filter), 0)?)
    }

    /// Chooses nothing any more.
    pub fn end(&self) -> Result<()> {
        let inner = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.filter.until_ns = 0;
        Ok(inner.filters.set(0, Value(inner.filter), 0)?)
    }
}

impl TraceLines for Tracing {
    fn read(&self) -> Result<TraceRead> {
        let inner = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = inner.seen.get(&0, 0)?;
        let chosen = seen.iter().map(|Value(cpu)| cpu.chosen).sum::<u64>();
        let written = seen.iter().map(|Value(cpu)| cpu.written).max().unwrap_or(0);
        let texts = inner.take_lines();
        inner.received += texts.len() as u64;
        inner.filter.most = written + BETWEEN_READINGS;
        inner.filters.set(0, Value(inner.filter), 0)?;
        let ahead_ns = wall_ahead_of_boot_ns()?;
        let lines = texts.iter().map(|text| line_of(text, ahead_ns));
        let lines = lines.collect::<Result<_>>()?;
        Ok(TraceRead { lines, lost: chosen.saturating_sub(inner.received) })
    }
}

impl Inner {
    /// What was written since the last time.
    fn take_lines(&mut self) -> Vec<String> {
        self.logger.flush();
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where `aya-log` puts lines.
struct Sink(Arc<Mutex<Vec<String>>>);

impl Log for Sink {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

/// Reads a line as the programs write it: when, the hook, the interface, how much was read, the outcome, the stage, both
/// halves of the address, the port, QTYPE, flags, the name.
fn line_of(text: &str, ahead_ns: i128) -> Result<TraceLine> {
    let fields: Vec<&str> = text.split(' ').collect();
    let count = fields.len();
    let fields: [&str; 12] = fields.try_into().ok().with_context(|| format!("{count} fields"))?;
    let [at, hook, index, read, outcome, stage, high, low, port, qtype, flags, name] = fields;
    let at = jiff::Timestamp::from_nanosecond(at.parse::<i128>()? + ahead_ns)?;
    let index: u32 = index.parse()?;
    let outcome = Outcome::ALL.get(outcome.parse::<usize>()?).context("an unknown outcome")?;
    let (read, flags): (u32, u32) = (read.parse()?, flags.parse()?);
    let halves = [high, low].map(|half| u64::from_str_radix(half, 16));
    let address = u128::from(halves[0].clone()?) << 64 | u128::from(halves[1].clone()?);
    let address = Ipv6Addr::from(address);
    let address = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
    let client = TracedClient { address, port: port.parse()? };
    let question = TracedQuestion {
        name: name_of(name)?,
        class: "IN".into(),
        rtype: Rtype(qtype.parse()?).to_string(),
        edns: flags & 1 != 0,
        dnssec_ok: flags & 2 != 0,
    };
    Ok(TraceLine {
        at: format!("{at:.6}"),
        path: match hook.parse()? {
            maps::TCX_COUNTERS => TracePath::Tcx,
            _ => TracePath::Xdp,
        },
        interface: interface_name(index),
        client: (read >= known::CLIENT).then_some(client),
        question: (read >= known::QUESTION).then_some(question),
        outcome: *outcome,
        action: TraceAction::of(*outcome),
        stage: stage_word(stage.parse()?)?.into(),
    })
}

/// The name that octets begin with, which are written as hexadecimal digits; behind it is what an earlier query left.
fn name_of(digits: &str) -> Result<String> {
    let octet = |at: usize| digits.get(at..at + 2).map(|pair| u8::from_str_radix(pair, 16));
    let octets = (0..MAX_NAME_LEN).map_while(|place| octet(2 * place));
    let octets: Vec<u8> = octets.collect::<Result<_, _>>()?;
    // Where there is no question, there may be no name.
    let Some(len) = wire_name_len(&octets) else { return Ok(String::new()) };
    let mut text = String::new();
    write_name(&mut text, &octets[..len])?;
    Ok(text)
}

fn interface_name(index: u32) -> String {
    let name = if_indextoname(index).ok();
    let name = name.and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| index.to_string())
}

/// The name of the stage that has this place.
fn stage_word(place: u32) -> Result<&'static str> {
    if place == maps::ENTRY_STAGE {
        return Ok(maps::ENTRY_PROGRAM);
    }
    ensure!((place as usize) < Stage::COUNT, "an unknown stage: {place}");
    Ok(Stage::ALL[place as usize].word())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of a client that asks for this name; what is behind it is an earlier query's.
    fn line(read: u32, outcome: Outcome, stage: u32, name: &[u8]) -> String {
        let mut octets = [0xee; MAX_NAME_LEN];
        octets[..name.len()].copy_from_slice(name);
        let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let outcome = outcome.index();
        format!("1000002000 1 1 {read} {outcome} {stage} 0 ffffc0000201 5353 28 3 {digits}")
    }

    #[test]
    fn a_line_is_what_the_programs_have_written() {
        let text =
            line(known::QUESTION, Outcome::Nxdomain, Stage::Send as u32, b"\x03wWw\x02a\n\0");
        let read = line_of(&text, 0).unwrap();
        assert_eq!(
            read,
            TraceLine {
                at: "1970-01-01T00:00:01.000002Z".into(),
                path: TracePath::Tcx,
                interface: "lo".into(),
                client: Some(TracedClient { address: [192, 0, 2, 1].into(), port: 5353 }),
                question: Some(TracedQuestion {
                    name: "wWw.a\\010.".into(),
                    class: "IN".into(),
                    rtype: "AAAA".into(),
                    edns: true,
                    dnssec_ok: true,
                }),
                outcome: Outcome::Nxdomain,
                action: TraceAction::Answered,
                stage: "send".into(),
            }
        );
    }

    #[test]
    fn what_was_not_read_is_not_told() {
        for (read, has) in [
            (known::NOTHING, [false, false]),
            (known::CLIENT, [true, false]),
            (known::QUESTION, [true, true]),
        ] {
            let line = line_of(&line(read, Outcome::NotIp, maps::ENTRY_STAGE, &[0]), 0).unwrap();
            assert_eq!([line.client.is_some(), line.question.is_some()], has);
            assert_eq!(line.stage, "serve");
        }
    }

    #[test]
    fn every_outcome_and_every_stage_has_its_word() {
        for outcome in Outcome::ALL {
            for (word, place) in maps::TAIL_PROGRAMS {
                let line = line_of(&line(known::QUESTION, outcome, place, &[0]), 0).unwrap();
                assert_eq!((line.outcome, &*line.stage), (outcome, word));
            }
        }
    }

    #[test]
    fn no_octet_of_a_name_reaches_a_terminal_but_by_its_escape() {
        for octet in 0..=u8::MAX {
            let text = line(known::QUESTION, Outcome::Positive, 0, &[1, octet, 0]);
            let name = line_of(&text, 0).unwrap().question.unwrap().name;
            assert!(name.bytes().all(|octet| octet.is_ascii_graphic()), "{octet}: {name:?}");
        }
    }

    #[test]
    fn a_damaged_line_is_an_error() {
        let whole = line(known::QUESTION, Outcome::Positive, 0, b"\x01a\0");
        for field in 0..11 {
            let mut fields: Vec<&str> = whole.split(' ').collect();
            fields[field] = "x";
            assert!(line_of(&fields.join(" "), 0).is_err(), "field {field}");
            fields.remove(field);
            assert!(line_of(&fields.join(" "), 0).is_err(), "without field {field}");
        }
        for (field, value) in [(4, "42"), (5, "9"), (6, "10000000000000000"), (11, "0g")] {
            let mut fields: Vec<&str> = whole.split(' ').collect();
            fields[field] = value;
            assert!(line_of(&fields.join(" "), 0).is_err(), "{field} {value}");
        }
    }
}
