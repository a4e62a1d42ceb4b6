//! `sealdns xdp probe`.

use std::time::Duration;

use clap::Args;

use super::output::{CommandResult, Exit, Output};
use crate::datapath::probe::finding::Severity;
use crate::datapath::probe::trial::Room;
use crate::datapath::probe::{self, Probe};

/// What to probe.
#[derive(Args, Debug)]
pub struct ProbeArgs {
    /// The interface's name
    interface: String,
    /// Attach a program that passes all packets for SECONDS seconds, and look at the packets that come. Some
    /// drivers set up their queues anew for it, and lose packets
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "3",
          value_parser = clap::value_parser!(u64).range(1..=600))]
    try_attach: Option<u64>,
}

/// Probes it: exit 0 if all is well, 3 if something should be changed.
pub fn run(args: &ProbeArgs, output: &Output) -> CommandResult {
    let probe = probe::run(&args.interface, args.try_attach.map(Duration::from_secs))?;
    output.data(&probe, text);
    Ok(if probe.has_problems() { Exit::Problems } else { Exit::Ok })
}

fn text(probe: &Probe) -> String {
    let mut text = format!("interface  {}", probe.interface);
    if let Some(device) = &probe.device {
        let driver = if device.driver.is_empty() { "unknown driver" } else { &device.driver };
        text.push_str(&format!(" ({driver}), MTU {}", device.mtu));
        if let Some((now, most)) = device.queues {
            text.push_str(&format!(", {now} of {most} queues"));
        }
    }
    text.push('\n');
    for tried in &probe.tried {
        let result = tried.error.as_deref().unwrap_or("works");
        text.push_str(&format!("tried      {}: {result}\n", tried.what));
    }
    let rooms = [
        ("packet in no device", probe.test_run),
        ("socket buffer", probe.tcx),
        ("packets received", probe.received),
    ];
    for (what, room) in rooms {
        let Some(Room { packets, at_tail, at_head }) = room else { continue };
        text.push_str(&format!(
            "room       {what}: {packets} tried, {at_tail} with all that is needed, {at_head} with some\n"
        ));
    }
    text.push_str(&format!("path       {}\n", probe.path.words()));
    for finding in &probe.findings {
        let word = if finding.severity == Severity::Problem { "problem" } else { "note" };
        text.push_str(&format!("{word:10} {}\n", finding.what));
        if let Some(fix) = &finding.fix {
            text.push_str(&format!("{:10}   {fix}\n", ""));
        }
        if let Some(source) = finding.source {
            text.push_str(&format!("{:10}   ({source})\n", ""));
        }
    }
    text
}
