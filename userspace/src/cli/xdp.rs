//! `sealdns xdp`.

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::output::{CommandResult, Exit, Output, cell, list_cell, table, word};
use super::{Global, PATIENCE, logging, pins, probe, trace};
use crate::config::XdpMode;
use crate::control::protocol::Request;
use crate::control::reply::xdp::{XdpAttached, XdpDetached, XdpStatus};
use crate::datapath::foreground;
use crate::observe::{self, KernelCounters};

/// What `xdp trace` costs and leaves.
const TRACE_HELP: &str = "\
Outcomes are the words of `sealdns stats`, such as nxdomain, truncated, not-ours or limited. While a trace goes on,
packets come to programs that write a line for those that are chosen; answers are the same. It ends by itself after its
time, and when this command ends. What has no room is not shown, and counted.";

/// What to do with XDP.
#[derive(Subcommand, Debug)]
pub enum XdpCommand {
    /// Show where XDP is attached, and its counters; without a daemon, what is pinned (exit 4)
    Status {
        #[command(flatten)]
        pins: pins::PinArgs,
    },
    /// Try which path a device needs, and say what to change (exit 3 if something should be changed)
    Probe(probe::ProbeArgs),
    /// Show what becomes of packets, a line each: the outcome, the question, the stage that decided, XDP or TCX
    #[command(after_help = TRACE_HELP)]
    Trace(trace::TraceArgs),
    /// Attach XDP to one more interface, until the daemon ends (or longer, if `pin` is set)
    Attach {
        /// The interface's name
        interface: String,
        /// Attach without a daemon, until Ctrl-C. Nothing is answered; it shows whether the interface can be used
        #[arg(long)]
        foreground: bool,
        /// The mode with --foreground; the daemon's mode is set in its configuration
        #[arg(long, value_enum, default_value = "auto", requires = "foreground")]
        mode: Mode,
    },
    /// Detach XDP and remove its pins, until the daemon is started again; the sockets go on serving
    Detach {
        /// The interface's name
        #[arg(required_unless_present = "all")]
        interface: Option<String>,
        /// Detach from all interfaces; without a daemon, remove all that is pinned
        #[arg(long, conflicts_with = "interface")]
        all: bool,
        #[command(flatten)]
        pins: pins::PinArgs,
    },
}

/// [`XdpMode`] on the command line.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Mode {
    /// What `sealdns xdp probe` recommends
    Auto,
    /// In the driver, or not at all
    Native,
    /// On socket buffers: for devices whose driver has no XDP
    Generic,
    /// No XDP, a program on TCX
    Tcx,
}

impl From<Mode> for XdpMode {
    fn from(mode: Mode) -> XdpMode {
        match mode {
            Mode::Auto => XdpMode::Auto,
            Mode::Native => XdpMode::Native,
            Mode::Generic => XdpMode::Generic,
            Mode::Tcx => XdpMode::Tcx,
        }
    }
}

/// Does it.
pub fn run(command: &XdpCommand, global: &Global, output: &Output) -> CommandResult {
    match command {
        XdpCommand::Status { pins: args } => {
            let status: XdpStatus = match global.call(&Request::XdpStatus, PATIENCE) {
                Err(error) if error.exit == Exit::Unreachable => {
                    return pins::status(args, error, global, output);
                }
                status => status?,
            };
            output.data(&status, status_text);
        }
        XdpCommand::Probe(args) => return probe::run(args, output),
        XdpCommand::Trace(args) => return trace::run(args, global, output),
        XdpCommand::Attach { interface, foreground: true, mode } => {
            logging::start(global.json);
            let counters = foreground::attach(interface, (*mode).into(), |attachment| {
                let attached = AttachReport {
                    attached: attachment.interface().name.clone(),
                    mode: attachment.mode(),
                };
                output.data(&attached, |AttachReport { attached, mode }| {
                    format!("attached: {attached} ({}); Ctrl-C detaches\n", word(mode))
                });
            })?;
            let detached = DetachReport { detached: vec![interface.clone()], counters };
            output.data(&detached, |detached| {
                format!("detached\n{}", counters_text(&detached.counters))
            });
        }
        XdpCommand::Attach { interface, .. } => {
            let request = Request::XdpAttach { interface: interface.clone() };
            let attached: XdpAttached = global.call(&request, PATIENCE)?;
            output.data(&attached, |done| format!("attached: {}\n", done.attached));
        }
        XdpCommand::Detach { interface, pins: args, .. } => {
            let request = Request::XdpDetach { interface: interface.clone() };
            let detached: XdpDetached = match global.call(&request, PATIENCE) {
                Err(error) if error.exit == Exit::Unreachable && interface.is_none() => {
                    return pins::detach_all(args, global, output);
                }
                detached => detached?,
            };
            output.data(&detached, detached_text);
        }
    }
    Ok(Exit::Ok)
}

/// Attached without a daemon.
#[derive(Serialize)]
struct AttachReport {
    attached: String,
    mode: XdpMode,
}

/// Detached without a daemon.
#[derive(Serialize)]
struct DetachReport {
    detached: Vec<String>,
    counters: KernelCounters,
}

fn detached_text(done: &XdpDetached) -> String {
    let told =
        [("detached", &done.detached), ("no longer waiting for", &done.forgotten)].into_iter();
    let told = told.filter(|(_, interfaces)| !interfaces.is_empty());
    told.map(|(words, interfaces)| format!("{words}: {}\n", list_cell(interfaces))).collect()
}

fn status_text(status: &XdpStatus) -> String {
    let attachments = status.attachments.iter().map(|one| {
        let flags = [one.tcx, one.pinned, one.adopted].map(|flag| flag.to_string());
        [vec![one.interface.clone(), word(&one.mode)], flags.to_vec()].concat()
    });
    let attached = table(&["interface", "mode", "tcx", "pinned", "adopted"], attachments);
    let attached = if attached.is_empty() { "XDP is not attached\n".into() } else { attached };
    let missing = status.missing.iter();
    let missing: String =
        missing.map(|one| format!("not attached: {}: {}\n", one.interface, one.why)).collect();
    let faults = status.faults.iter();
    let faults: String = faults
        .map(|one| format!("{}: {}\n  {}\n", one.interface, one.what, cell(one.fix.as_ref())))
        .collect();
    format!("{attached}{missing}{faults}{}", counters_text(&status.counters))
}

/// Counters that are not zero.
fn counters_text(counters: &KernelCounters) -> String {
    let counted = observe::named(counters).into_iter().filter(|(_, count)| *count != 0);
    table(&["counter", "count"], counted.map(|(name, count)| vec![name, count.to_string()]))
}
