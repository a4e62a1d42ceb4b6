//! `sealdns xdp`.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::output::{CommandResult, Exit, Output, cell, table};
use super::{Global, PATIENCE, logging, pins, probe};
use crate::config::XdpMode;
use crate::control::protocol::Request;
use crate::datapath::foreground;

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
    /// Attach XDP to one more interface, until the daemon ends (or pinned, as the configuration says)
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
            let status = match global.call(&Request::XdpStatus, PATIENCE) {
                Err(error) if error.exit == Exit::Unreachable => {
                    return pins::status(args, error, global, output);
                }
                status => status?,
            };
            output.data(status, |status| {
                let columns = ["interface", "mode", "tcx", "pinned", "adopted"];
                let attached = table(&columns, rows(&status["attachments"], &columns));
                let counters = status["counters"].as_object().into_iter().flatten();
                let counted = counters.filter(|(_, count)| count.as_u64() != Some(0));
                let counted = counted.map(|(name, count)| vec![name.clone(), cell(count)]);
                let counted = table(&["outcome", "packets"], counted);
                let missing = status["missing"].as_array().into_iter().flatten();
                let missing = missing.map(|one| {
                    format!("not attached: {}: {}\n", cell(&one["interface"]), cell(&one["why"]))
                });
                let missing: String = missing.collect();
                let columns = ["interface", "what", "fix"];
                let faults: String = rows(&status["faults"], &columns)
                    .into_iter()
                    .map(|row| format!("{}: {}\n  {}\n", row[0], row[1], row[2]))
                    .collect();
                let attached =
                    if attached.is_empty() { "XDP is not attached\n".into() } else { attached };
                format!("{attached}{missing}{faults}{counted}")
            });
        }
        XdpCommand::Probe(args) => return probe::run(args, output),
        XdpCommand::Attach { interface, foreground: true, mode } => {
            logging::start(global.json);
            let counters = foreground::attach(interface, (*mode).into(), |attachment| {
                let (name, mode) = (&attachment.interface().name, attachment.mode());
                let attached = json!({ "attached": name, "mode": mode });
                output.data(attached, |attached| {
                    format!("attached: {name} ({}); Ctrl-C detaches\n", cell(&attached["mode"]))
                });
            })?;
            output.data(json!({ "detached": interface, "counters": counters }), |_| {
                let counted = counters.iter().filter(|(_, count)| **count != 0);
                let counted = counted.map(|(name, count)| vec![name.clone(), count.to_string()]);
                format!("detached\n{}", table(&["outcome", "packets"], counted))
            });
        }
        XdpCommand::Attach { interface, .. } => {
            let request = Request::XdpAttach { interface: interface.clone() };
            let data = global.call(&request, PATIENCE)?;
            output.data(data, |data| format!("attached: {}\n", cell(&data["attached"])));
        }
        XdpCommand::Detach { interface, pins: args, .. } => {
            let request = Request::XdpDetach { interface: interface.clone() };
            let data = match global.call(&request, PATIENCE) {
                Err(error) if error.exit == Exit::Unreachable && interface.is_none() => {
                    return pins::detach_all(args, global, output);
                }
                data => data?,
            };
            output.data(data, |data| {
                let told = [("detached", "detached"), ("forgotten", "not waited for any longer")];
                let told = told.into_iter().filter(|(key, _)| data[key] != json!([]));
                told.map(|(key, words)| format!("{words}: {}\n", cell(&data[key]))).collect()
            });
        }
    }
    Ok(Exit::Ok)
}

/// One row per element of a list, with the fields named.
pub fn rows(list: &Value, fields: &[&str]) -> Vec<Vec<String>> {
    let list = list.as_array().into_iter().flatten();
    list.map(|item| fields.iter().map(|field| cell(&item[*field])).collect()).collect()
}
