//! `sealdns config`.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::output::{CliError, CommandResult, Exit, Output};
use crate::config::{Config, TEMPLATE};
use crate::daemon::startup;

/// What to do with configurations.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Print a configuration with every setting, its default and the reason
    Template,
    /// Check a configuration: that it is valid, that its interfaces and its user exist, and that this user may use
    /// the files (exit 3 if not)
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
            output.data(&Template { template: TEMPLATE }, |_| TEMPLATE.to_owned());
            Ok(Exit::Ok)
        }
        ConfigCommand::Check { file } => {
            let config = Config::load(file)
                .map_err(|error| CliError { exit: Exit::Problems, ..error.into() })?;
            let problems = problems(&config);
            let zones = config.zones().count();
            let is_ok = problems.is_empty();
            output.data(&ConfigCheck { ok: is_ok, zones, problems }, |checked| {
                if is_ok {
                    format!("{}: no problems; zones: {zones}\n", file.display())
                } else {
                    checked.problems.iter().map(|problem| format!("{problem}\n")).collect()
                }
            });
            Ok(if is_ok { Exit::Ok } else { Exit::Problems })
        }
    }
}

/// The template.
#[derive(Serialize)]
struct Template {
    template: &'static str,
}

/// What is wrong with a configuration.
#[derive(Serialize)]
struct ConfigCheck {
    ok: bool,
    /// How many it has.
    zones: usize,
    problems: Vec<String>,
}

/// What this host lacks that the configuration needs, and what the user that the daemon becomes may not use.
fn problems(config: &Config) -> Vec<String> {
    let mut problems = startup::problems(config);
    for interface in &config.xdp.interfaces {
        if nix::net::if_::if_nametoindex(interface.as_str()).is_err() {
            let known = nix::net::if_::if_nameindex();
            let known = known.iter().flat_map(|known| known.iter());
            let known: Vec<_> =
                known.map(|one| one.name().to_string_lossy().into_owned()).collect();
            let known = known.join(", ");
            problems.push(format!("there is no interface {interface}; this host has: {known}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_the_host_lacks_is_said() {
        let text = "version = \"v1\"\n[server]\nuser = \"no-such-user-here\"\n\
                    [xdp]\ninterfaces = [\"lo\", \"no-such-if\"]\n\
                    [[zone]]\nname = \"a\"\nfile = \"/no/such/file\"\n";
        let said = |text: &str| problems(&Config::parse(text, Path::new("/dev/null")).unwrap());
        let problems = said(text);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("no-such-user-here"));
        assert!(problems[1].contains("no-such-if") && problems[1].contains("lo"));
        // Of files it is said who cannot use them, and that takes a user.
        let problems = said(&text.replace("no-such-user-here", ""));
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("/no/such/file"));
    }
}
