//! `sealdns xdp trace`.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, ValueParser};
use ipnet::IpNet;
use xdp_common::Outcome;

use super::output::{CommandResult, Exit, Output, word};
use super::{Global, PATIENCE};
use crate::config::AddressPrefix;
use crate::control::protocol::{Request, TraceChoice};
use crate::control::reply::xdp::{XdpTraceRead, XdpTraceStarted};
use crate::duration;
use crate::observe::trace::{TraceLine, TracePath};

/// How long the programs may take to be verified before a trace begins.
const BEGIN_PATIENCE: Duration = Duration::from_secs(120);

/// The time between two readings, if the one before had few lines.
const PAUSE: Duration = Duration::from_millis(100);

/// So many lines are many: the next reading follows at once.
const MANY: usize = 64;

/// Which packets are shown.
#[derive(Args, Debug)]
pub struct TraceArgs {
    /// For how long, up to an hour
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = |text: &str| duration::at_least(1, text))]
    seconds: u32,
    /// Only packets of which this became; may be given several times, or with commas
    #[arg(long, value_name = "OUTCOME", value_delimiter = ',', value_parser = outcomes(), hide_possible_values = true)]
    outcome: Vec<String>,
    /// Only packets of this client, or of clients in this prefix
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix)]
    client: Option<IpNet>,
    /// Of the packets that are chosen, only one in N of each CPU
    #[arg(long, value_name = "1/N", default_value = "1/1", value_parser = parse_sample)]
    sample: u32,
}

fn outcomes() -> ValueParser {
    PossibleValuesParser::new(Outcome::ALL.map(Outcome::word)).into()
}

fn parse_prefix(text: &str) -> Result<IpNet, String> {
    AddressPrefix::from_text(text).map(|prefix| prefix.0)
}

fn parse_sample(text: &str) -> Result<u32, String> {
    let number = text.strip_prefix("1/").and_then(|number| number.parse().ok());
    let number = number.filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{text}` is not a sample such as 1/1 or 1/1000"))
}

/// Prints a line for each packet until the trace ends, or nobody reads what is printed.
pub fn run(args: &TraceArgs, global: &Global, output: &Output) -> CommandResult {
    let choice = TraceChoice {
        seconds: args.seconds,
        outcomes: args.outcome.clone(),
        client: args.client,
        sample: args.sample,
    };
    let started: XdpTraceStarted = global.call(&Request::XdpTrace(choice), BEGIN_PATIENCE)?;
    let mut stop = false;
    loop {
        let request = Request::XdpTraceRead { trace: started.trace, stop };
        let read: XdpTraceRead = global.call(&request, PATIENCE)?;
        if stop {
            return Ok(Exit::Ok);
        }
        let shown = read.lines.iter().try_for_each(|line| output.stream(line, line_text));
        if let Some(why) = &read.ended {
            end(why, read.lost);
            return Ok(Exit::Ok);
        }
        // Who read it has gone (`| head`): so has the reason for the trace.
        stop = shown.is_err();
        if !stop && read.lines.len() < MANY {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Says on standard error how it ended, so that standard output has nothing but packets.
fn end(why: &str, lost: u64) {
    let lost = match lost {
        0 => String::new(),
        1 => "; 1 packet that was chosen is not shown: there was no room for its line".to_owned(),
        lost => format!(
            "; {lost} packets that were chosen are not shown: there was no room for their lines, which \
             --sample makes"
        ),
    };
    let _ = writeln!(io::stderr(), "the trace has ended: {why}{lost}");
}

/// A line for people.
fn line_text(line: &TraceLine) -> String {
    let path = match line.path {
        TracePath::Xdp => "xdp",
        TracePath::Tcx => "tcx",
    };
    let client = line
        .client
        .map_or_else(|| "-".to_owned(), |client| format!("{}#{}", client.address, client.port));
    let question = line.question.as_ref().map_or_else(
        || "-".to_owned(),
        |question| {
            let flags = match (question.edns, question.dnssec_ok) {
                (_, true) => " +E(DO)",
                (true, false) => " +E",
                (false, false) => "",
            };
            format!("{} {} {}{flags}", question.name, question.class, question.rtype)
        },
    );
    let (outcome, action, stage) = (line.outcome.word(), word(&line.action), &line.stage);
    let action = if action == outcome { String::new() } else { format!(" ({action})") };
    format!(
        "{} {path} {} {client} {question} -> {outcome}{action} at {stage}\n",
        line.at, line.interface
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::trace::{TraceAction, TracedClient, TracedQuestion};

    #[test]
    fn a_packet_is_a_line() {
        let mut line = TraceLine {
            at: "2027-01-15T08:00:00.000001Z".into(),
            path: TracePath::Xdp,
            interface: "eth0".into(),
            client: Some(TracedClient { address: [192, 0, 2, 1].into(), port: 5353 }),
            question: Some(TracedQuestion {
                name: "no.example.".into(),
                class: "IN".into(),
                rtype: "AAAA".into(),
                edns: true,
                dnssec_ok: true,
            }),
            outcome: Outcome::Nxdomain,
            action: TraceAction::Answered,
            stage: "send".into(),
        };
        assert_eq!(
            line_text(&line),
            "2027-01-15T08:00:00.000001Z xdp eth0 192.0.2.1#5353 no.example. IN AAAA +E(DO) -> nxdomain \
             (answered) at send\n"
        );
        line = TraceLine {
            path: TracePath::Tcx,
            client: None,
            question: None,
            outcome: Outcome::NotIp,
            action: TraceAction::PassedUp,
            stage: "serve".into(),
            ..line
        };
        assert_eq!(
            line_text(&line),
            "2027-01-15T08:00:00.000001Z tcx eth0 - - -> not-ip (passed-up) at serve\n"
        );
    }

    #[test]
    fn a_sample_is_one_in_so_many() {
        assert_eq!(parse_sample("1/1000"), Ok(1000));
        for wrong in ["", "1", "1/", "1/0", "2/3", "1/-1", "1/4294967296", "10"] {
            assert!(parse_sample(wrong).is_err(), "{wrong}");
        }
    }
}
