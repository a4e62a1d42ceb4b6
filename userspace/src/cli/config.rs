//! `sealdns config`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::output::{CliError, CommandResult, Exit, Output};
use crate::config::{Config, TEMPLATE};

/// What to do with configurations.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Print a configuration with every setting, its default and the reason
    Template,
    /// Check a configuration and that the files it names can be read (exit 3 if not)
    Check {
        /// The configuration file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Does it.
pub fn run(command: &ConfigCommand, output: &Output) -> CommandResult {
    match command {
        ConfigCommand::Template => {
            output.data(json!({ "template": TEMPLATE }), |_| TEMPLATE.to_owned());
            Ok(Exit::Ok)
        }
        ConfigCommand::Check { file } => {
            let config = Config::load(file)
                .map_err(|error| CliError { exit: Exit::Problems, ..error.into() })?;
            let mut problems = Vec::new();
            for zone in config.zones() {
                if let Err(error) = std::fs::File::open(&zone.file) {
                    problems.push(format!("zone {}: {}: {error}", zone.name, zone.file.display()));
                }
            }
            let zones = config.zones().count();
            let is_ok = problems.is_empty();
            output.data(json!({ "ok": is_ok, "zones": zones, "problems": problems }), |_| {
                if is_ok {
                    format!("{}: no problems; zones: {zones}\n", file.display())
                } else {
                    problems.iter().map(|problem| format!("{problem}\n")).collect()
                }
            });
            Ok(if is_ok { Exit::Ok } else { Exit::Problems })
        }
    }
}
