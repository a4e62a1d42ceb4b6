//! `sealdns ratelimit import`: what BIND's and Knot's configurations say of rate limits, in our words.
//!
//! Both are read tolerantly: only the statement in question is looked at, and what has no equivalent
//! becomes a comment.

mod bind;
mod knot;

use std::fmt::Write as _;
use std::path::Path;

use clap::ValueEnum;
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use serde_json::json;

use crate::cli::output::{CliError, CommandResult, Exit, Output};
use crate::config::{AddressPrefix, Config, ConfigError};
use crate::control::protocol::Failure;

/// Whose configuration it is.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// BIND's named.conf
    Bind,
    /// Knot's knot.conf
    Knot,
}

/// A section in the making.
#[derive(Debug, Default, PartialEq)]
struct Section {
    /// Keys with their values as TOML has them, in order.
    settings: Vec<(&'static str, String)>,
    exempt: Vec<IpNet>,
    /// What has no equivalent, and why.
    notes: Vec<String>,
}

impl Section {
    fn set(&mut self, key: &'static str, value: impl Into<String>) {
        self.settings.push((key, value.into()));
    }

    /// A number as the peer wrote it; anything else is noted.
    fn number(&mut self, key: &'static str, said: &Said) {
        match said.value().parse::<u64>() {
            Ok(number) => self.set(key, number.to_string()),
            Err(_) => self.note(said, "not a number"),
        }
    }

    fn note(&mut self, said: &Said, why: &str) {
        self.notes.push(format!("line {}: {}: {why}", said.line, said.text()));
    }

    fn exempt(&mut self, said: &Said, text: &str) {
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (first.trim().parse(), last.trim().parse());
            match (first, last) {
                (Ok(std::net::IpAddr::V4(first)), Ok(std::net::IpAddr::V4(last))) => {
                    return self.exempt.extend(Ipv4Subnets::new(first, last, 0).map(IpNet::V4));
                }
                (Ok(std::net::IpAddr::V6(first)), Ok(std::net::IpAddr::V6(last))) => {
                    return self.exempt.extend(Ipv6Subnets::new(first, last, 0).map(IpNet::V6));
                }
                _ => {}
            }
        }
        match AddressPrefix::from_text(text) {
            Ok(prefix) => self.exempt.push(prefix.0.trunc()),
            Err(_) => self.note(said, &format!("\"{text}\" is not an address prefix")),
        }
    }

    fn write(&self) -> String {
        let mut text = String::from("[ratelimit]\n");
        for (key, value) in &self.settings {
            let _ = writeln!(text, "{key} = {value}");
        }
        if !self.exempt.is_empty() {
            text.push_str("exempt = [\n");
            for prefix in &self.exempt {
                let _ = writeln!(text, "    \"{prefix}\",");
            }
            text.push_str("]\n");
        }
        if !self.notes.is_empty() {
            text.push_str("# Without an equivalent:\n");
            for note in &self.notes {
                let _ = writeln!(text, "# {note}");
            }
        }
        text
    }
}

/// One option as the peer wrote it.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    line: usize,
    key: String,
    values: Vec<String>,
}

impl Said {
    /// Its only value; empty if there is none or there are several.
    fn value(&self) -> &str {
        match self.values.as_slice() {
            [value] => value,
            _ => "",
        }
    }

    fn is_true(&self) -> bool {
        matches!(self.value(), "yes" | "true" | "on" | "1")
    }

    fn text(&self) -> String {
        format!("{} {}", self.key, self.values.join(" ")).trim_end().to_owned()
    }
}

/// Translates a configuration.
fn translate(text: &str, from: Option<Peer>) -> Result<(Peer, Section), String> {
    let by_looks = match text.lines().any(|line| line.trim_end().starts_with("mod-rrl:")) {
        true => Peer::Knot,
        false => Peer::Bind,
    };
    let peer = from.unwrap_or(by_looks);
    let section = match peer {
        Peer::Bind => bind::section(text).ok_or("there is no rate-limit statement in it")?,
        Peer::Knot => knot::section(text).ok_or("there is no section mod-rrl in it")?,
    };
    Ok((peer, section))
}

/// Prints the section.
pub fn run(file: &Path, from: Option<Peer>, output: &Output) -> CommandResult {
    let failed = |message: String| CliError {
        exit: Exit::Failed,
        failure: Failure::new("import", format!("{}: {message}", file.display())),
    };
    let text = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&text);
    let (peer, section) = translate(&text, from).map_err(failed)?;
    let written = section.write();
    // What is printed must be taken by the daemon.
    let config = format!("version = \"v1\"\n{written}");
    if let Err(ConfigError::Invalid { message, source_line, .. }) = Config::parse(&config, file) {
        return Err(failed(format!("{source_line}: {message}")));
    }
    let from = if peer == Peer::Bind { "bind" } else { "knot" };
    let data = json!({ "from": from, "section": written, "without_equivalent": section.notes });
    output.data(data, |_| written.clone());
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: &str = r#"
// Main configuration.
acl trusted { 192.0.2.0/24; 2001:db8::1; !192.0.2.66; };
acl "resolvers" { trusted; 198.51.100.53; };
options {
    directory "/var/cache/bind"; # rate-limit { slip 9; } is only said here
    /* rate-limit {
        slip 7; }; */
    rate-limit {
        responses-per-second 10;
        nxdomains-per-second 5; errors-per-second 3;
        all-per-second 80;
        window 5;
        slip 3;
        ipv4-prefix-length 28;
        qps-scale 250;
        max-table-size 100000;
        exempt-clients { localhost; "resolvers"; 203.0.113.7; };
        log-only yes;
    };
};
view "inside" { rate-limit { responses-per-second 1000; }; };
"#;

    const KNOT: &str = "\
# comment
server:
    listen: 0.0.0.0@53
mod-rrl:
  - id: default
    rate-limit: 200   # Allow 200 resp/s for each flow
    instant-limit: 500
    slip: 2           # Approximately half of the rest
    time-rate-limit: 5000
    log-period: 30000
    whitelist: [ 192.0.2.0/24, \"2001:db8::/32\", 198.51.100.8-198.51.100.15 ]
  - id: strict
    rate-limit: 20
template:
  - id: default
    global-module: mod-rrl/default   # Default module configuration for all zones
";

    fn section(text: &str) -> String {
        let (_, section) = translate(text, None).unwrap();
        let written = section.write();
        Config::parse(&format!("version = \"v1\"\n{written}"), Path::new("")).unwrap();
        written
    }

    #[test]
    fn bind_s_statement_is_translated() {
        let expected = "\
[ratelimit]
mode = \"dry-run\"
rate = 10
nxdomain-rate = 5
error-rate = 3
window = \"5s\"
slip = 3
leak = 3
ipv4-prefix = 28
ipv6-prefix = 56
total-rate = 80
total-slip = 0
ipv4-levels = [\"/28 x1\"]
ipv6-levels = [\"/56 x1\"]
qps-scale = 250
exempt = [
    \"192.0.2.0/24\",
    \"2001:db8::1/128\",
    \"198.51.100.53/32\",
    \"203.0.113.7/32\",
]
# Without an equivalent:
# line 17: max-table-size 100000: memory is fixed
# line 18: exempt-clients localhost resolvers 203.0.113.7: \"localhost\" is not an address prefix
# line 18: exempt-clients localhost resolvers 203.0.113.7: \"!192.0.2.66\" is not an address prefix
# line 22: another rate-limit statement: left out
";
        assert_eq!(section(NAMED), expected);
    }

    #[test]
    fn what_bind_does_not_limit_is_not_limited() {
        let (_, section) = translate("options { rate-limit { window 0; }; };", None).unwrap();
        let said = |key: &str| section.settings.iter().find(|(name, _)| *name == key).cloned();
        assert_eq!(said("rate").unwrap().1, "0");
        assert_eq!(said("total-rate").unwrap().1, "0");
        assert_eq!(said("mode").unwrap().1, "\"on\"");
    }

    #[test]
    fn knot_s_section_is_translated() {
        let expected = "\
[ratelimit]
mode = \"on\"
rate = 0
total-rate = 200
total-burst = 500
total-slip = 2
exempt = [
    \"192.0.2.0/24\",
    \"2001:db8::/32\",
    \"198.51.100.8/29\",
]
# Without an equivalent:
# line 9: time-rate-limit 5000: time is not counted
# line 10: log-period 30000: `sealdns ratelimit top` tells who is limited
# line 12: another section of mod-rrl, strict: left out
";
        assert_eq!(section(KNOT), expected);
    }

    #[test]
    fn lists_in_knot_s_other_form_and_its_defaults() {
        let text = "mod-rrl:\n  - id: x\n    dry-run: on\n    whitelist:\n      - 192.0.2.1\n      - 2001:db8::1\n    foo: bar\n";
        let expected = "\
[ratelimit]
mode = \"dry-run\"
rate = 0
total-rate = 50
total-burst = 125
total-slip = 1
exempt = [
    \"192.0.2.1/32\",
    \"2001:db8::1/128\",
]
# Without an equivalent:
# line 7: foo bar: unknown
";
        assert_eq!(section(text), expected);
    }

    #[test]
    fn what_has_no_limits_says_so() {
        assert!(translate("options { };", None).unwrap_err().contains("no rate-limit statement"));
        assert!(translate("x", Some(Peer::Knot)).unwrap_err().contains("mod-rrl"));
        assert!(translate("rate-limit { slip 3", None).is_ok());
    }

    proptest::proptest! {
        /// Whatever is in the file, it is read to its end.
        #[test]
        fn damaged_files_do_no_harm(text in "([a-z -]|[{};:\"\n#/*\\[\\]-]|rate-limit|mod-rrl:|exempt-clients|acl|whitelist:){0,60}") {
            for peer in [Peer::Bind, Peer::Knot] {
                let _ = translate(&text, Some(peer)).map(|(_, section)| section.write());
            }
        }
    }
}
