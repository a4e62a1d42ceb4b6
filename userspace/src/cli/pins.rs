//! What is pinned, seen and removed without a daemon.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use nix::net::if_::if_indextoname;
use serde::Serialize;

use super::Global;
use super::output::{CliError, CommandResult, Exit, Output, cell, table};
use crate::config::{Config, DEFAULT_PIN};
use crate::control::protocol::Failure;
use crate::datapath::pins::{self, PinnedLink};

/// Where pins are.
#[derive(Args, Debug)]
pub struct PinArgs {
    /// Without a daemon: the folder of pins [default: the configuration's, or /sys/fs/bpf/sealdns]
    #[arg(long, value_name = "FOLDER")]
    pin: Option<PathBuf>,
}

impl PinArgs {
    fn folder(&self, global: &Global) -> Result<PathBuf, CliError> {
        if let Some(folder) = &self.pin {
            return Ok(folder.clone());
        }
        let configured = match Config::load(&global.config_path()) {
            Ok(config) => config.xdp.pin.path().map(Path::to_owned),
            // Only a file that was asked for must be there and right.
            Err(error) if global.config.is_some() => return Err(error.into()),
            Err(_) => None,
        };
        Ok(configured.unwrap_or_else(|| DEFAULT_PIN.into()))
    }
}

/// Detaches all that is pinned, and removes the pins.
pub fn detach_all(args: &PinArgs, global: &Global, output: &Output) -> CommandResult {
    let folder = args.folder(global)?;
    let (links, sets) = pins::remove_all(&folder).map_err(anyhow::Error::from)?;
    let mut by_interface: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for link in &links {
        by_interface.entry(name_of(link)).or_default().push(link.hook);
    }
    let removed = RemovalReport {
        detached: by_interface.keys().cloned().collect(),
        pins: links.iter().map(Pin::of).collect(),
        sets,
        folder: folder.clone(),
        daemon: false,
    };
    output.data(&removed, |_| {
        let folder = folder.display();
        if links.is_empty() && sets == 0 {
            return format!("no daemon runs, and nothing is pinned in {folder}\n");
        }
        let detached = by_interface.iter();
        let detached: String = detached
            .map(|(name, hooks)| format!("detached: {name} ({})\n", hooks.join(", ")))
            .collect();
        format!("{detached}removed: {folder}, with {sets} set(s) of maps and programs\n")
    });
    Ok(Exit::Ok)
}

/// Shows what is pinned where the daemon cannot be reached; `error` is why.
pub fn status(args: &PinArgs, error: CliError, global: &Global, output: &Output) -> CommandResult {
    let folder = args.folder(global)?;
    let links = pins::find(&folder);
    if links.is_empty() {
        return Err(error);
    }
    let pinned = PinReport {
        pins: links.iter().map(Pin::of).collect(),
        folder,
        daemon: false,
        error: error.failure,
    };
    output.data(&pinned, |pinned| {
        let pins = pinned.pins.iter().map(|pin| {
            let path = pin.pin.display().to_string();
            vec![pin.interface.clone(), pin.hook.to_owned(), cell(pin.program), path]
        });
        let shown = table(&["interface", "hook", "program", "pin"], pins);
        format!("{shown}no daemon: {}\n", pinned.error.message)
    });
    Ok(error.exit)
}

/// What was detached and removed.
#[derive(Serialize)]
struct RemovalReport {
    /// The interfaces.
    detached: Vec<String>,
    pins: Vec<Pin>,
    /// How many sets of maps and programs were removed.
    sets: usize,
    folder: PathBuf,
    /// Whether a daemon runs.
    daemon: bool,
}

/// What is pinned, where no daemon answers.
#[derive(Serialize)]
struct PinReport {
    pins: Vec<Pin>,
    folder: PathBuf,
    daemon: bool,
    /// Why none answers.
    error: Failure,
}

/// A link that is pinned.
#[derive(Serialize)]
struct Pin {
    interface: String,
    hook: &'static str,
    program: Option<u32>,
    pin: PathBuf,
}

impl Pin {
    fn of(link: &PinnedLink) -> Pin {
        Pin {
            interface: name_of(link),
            hook: link.hook,
            program: link.program,
            pin: link.path.clone(),
        }
    }
}

/// The interface's name, or its number if it is gone or in another namespace.
fn name_of(link: &PinnedLink) -> String {
    match if_indextoname(link.index) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("interface {}", link.index),
    }
}
