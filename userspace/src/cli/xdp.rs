//! `sealdns xdp` and `sealdns cache`.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::output::{CommandResult, Exit, Output, cell, table};
use super::{Global, PATIENCE, cache_status, logging};
use crate::config::XdpMode;
use crate::control::protocol::Request;
use crate::datapath::foreground;

/// What to do with XDP.
#[derive(Subcommand, Debug)]
pub enum XdpCommand {
    /// Show where XDP is attached, and its counters
    Status,
    /// Attach XDP to one more interface, until the daemon ends
    Attach {
        /// The interface's name
        interface: String,
        /// Attach without a daemon, until Ctrl-C: answers nothing, shows what the interface can
        #[arg(long)]
        foreground: bool,
        /// How, in the foreground: the daemon's is set in its configuration
        #[arg(long, value_enum, default_value = "auto", requires = "foreground")]
        mode: Mode,
    },
    /// Detach XDP, until the daemon is started again; the sockets go on serving
    Detach {
        /// The interface's name
        #[arg(required_unless_present = "all")]
        interface: Option<String>,
        /// From all interfaces
        #[arg(long, conflicts_with = "interface")]
        all: bool,
    },
}

/// [`XdpMode`] on the command line.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Mode {
    /// Native if the driver can, else generic, said aloud
    Auto,
    /// In the driver, or not at all
    Native,
    /// On socket buffers: for devices whose driver has no XDP
    Generic,
}

impl From<Mode> for XdpMode {
    fn from(mode: Mode) -> XdpMode {
        match mode {
            Mode::Auto => XdpMode::Auto,
            Mode::Native => XdpMode::Native,
            Mode::Generic => XdpMode::Generic,
        }
    }
}

/// What to do with the maps.
#[derive(Subcommand, Debug)]
pub enum CacheCommand {
    /// Show how full the maps are
    Status,
}

/// Does it.
pub fn run(command: &XdpCommand, global: &Global, output: &Output) -> CommandResult {
    match command {
        XdpCommand::Status => {
            let status = global.call(&Request::XdpStatus, PATIENCE)?;
            output.data(status, |status| {
                let attachments = rows(&status["attachments"], &["interface", "mode", "tcx"]);
                let attached = table(&["interface", "mode", "tcx"], attachments);
                let counters = status["counters"].as_object().into_iter().flatten();
                let counted = counters.filter(|(_, count)| count.as_u64() != Some(0));
                let counted = counted.map(|(name, count)| vec![name.clone(), cell(count)]);
                let counted = table(&["outcome", "packets"], counted);
                if attached.is_empty() {
                    format!("XDP is not attached\n{counted}")
                } else {
                    format!("{attached}{counted}")
                }
            });
        }
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
        XdpCommand::Detach { interface, .. } => {
            let request = Request::XdpDetach { interface: interface.clone() };
            let data = global.call(&request, PATIENCE)?;
            output.data(data, |data| format!("detached: {}\n", cell(&data["detached"])));
        }
    }
    Ok(Exit::Ok)
}

/// Does it.
pub fn cache(command: &CacheCommand, global: &Global, output: &Output) -> CommandResult {
    let CacheCommand::Status = command;
    let status = global.call(&Request::CacheStatus, PATIENCE)?;
    output.data(status, cache_status::shown);
    Ok(Exit::Ok)
}

/// One row per element of a list, with the fields named.
pub fn rows(list: &Value, fields: &[&str]) -> Vec<Vec<String>> {
    let list = list.as_array().into_iter().flatten();
    list.map(|item| fields.iter().map(|field| cell(&item[*field])).collect()).collect()
}
