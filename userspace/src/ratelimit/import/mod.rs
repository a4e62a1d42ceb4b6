//! What BIND's and Knot's configurations say of rate limits, in our words.
//!
//! Of both only the statement in question is looked at, wherever it is: in the file or in one that it includes. What
//! has no equivalent becomes a comment; what is no configuration is an error with its place.

mod bind;
mod knot;

use std::fmt::Write as _;
use std::path::Path;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use crate::config::AddressPrefix;
use crate::foreign::{Fault, Files, Setting};

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// BIND's named.conf.
    Bind,
    /// Knot's knot.conf.
    Knot,
}

/// A section in the making.
#[derive(Debug, Default, PartialEq)]
pub struct Section {
    /// Keys with their values as TOML has them, in order.
    settings: Vec<(&'static str, String)>,
    exempt: Vec<IpNet>,
    /// What has no equivalent, and why.
    pub notes: Vec<String>,
}

impl Section {
    fn set(&mut self, key: &'static str, value: impl Into<String>) {
        self.settings.push((key, value.into()));
    }

    /// A number as the peer wrote it.
    fn number(&mut self, key: &'static str, option: &Setting) -> Result<(), Fault> {
        self.set(key, option.number()?.to_string());
        Ok(())
    }

    fn note(&mut self, option: &Setting, why: &str) {
        match &option.place {
            Some(place) => self.notes.push(format!("{place}: {}: {why}", option.text())),
            None => self.notes.push(format!("{}: {why}", option.text())),
        }
    }

    /// Exempts an address, a prefix or a range. What else a peer takes there (names of lists, `localhost`, negations)
    /// is noted; what only looks like an address is a fault.
    fn exempt(&mut self, option: &Setting, text: &str) -> Result<(), Fault> {
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (first.trim().parse(), last.trim().parse());
            match (first, last) {
                (Ok(std::net::IpAddr::V4(first)), Ok(std::net::IpAddr::V4(last))) => {
                    self.exempt.extend(Ipv4Subnets::new(first, last, 0).map(IpNet::V4));
                    return Ok(());
                }
                (Ok(std::net::IpAddr::V6(first)), Ok(std::net::IpAddr::V6(last))) => {
                    self.exempt.extend(Ipv6Subnets::new(first, last, 0).map(IpNet::V6));
                    return Ok(());
                }
                _ => {}
            }
        }
        match AddressPrefix::from_text(text) {
            Ok(prefix) => self.exempt.push(prefix.0.trunc()),
            Err(_)
                if text.starts_with(|first: char| first.is_ascii_digit()) || text.contains(':') =>
            {
                return Err(option.fault(format_args!("\"{text}\" is not an address prefix")));
            }
            Err(_) => self.note(option, &format!("\"{text}\" is not an address prefix")),
        }
        Ok(())
    }

    /// As a section `[ratelimit]`, what has no equivalent as comments.
    pub fn write(&self) -> String {
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

/// Translates a configuration.
pub fn translate(file: &Path, from: Option<Peer>) -> Result<(Peer, Section), Fault> {
    let peer = match from {
        Some(peer) => peer,
        None => Files::new(file).outermost(|_, text, _| Ok(by_looks(text)))?,
    };
    let mut files = Files::new(file);
    let (section, missing) = match peer {
        Peer::Bind => (bind::section(&mut files)?, "rate-limit statement"),
        Peer::Knot => (knot::section(&mut files)?, "section mod-rrl"),
    };
    let missing = || Fault(format!("{}: there is no {missing} in it", file.display()));
    Ok((peer, section.ok_or_else(missing)?))
}

/// Whose configuration a text is: Knot's has sections, which begin at the start of a line and end in a colon.
fn by_looks(text: &str) -> Peer {
    let is_section = |line: &str| {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let name = line.strip_suffix(':').or_else(|| line.split_once(": ").map(|(name, _)| name));
        name.is_some_and(|name| {
            !name.is_empty()
                && name.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'-')
        })
    };
    if text.lines().any(is_section) { Peer::Knot } else { Peer::Bind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

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

    /// Translates files of a folder, the first of which is asked for.
    fn translated(files: &[(&str, &str)], from: Option<Peer>) -> Result<Section, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let translated = translate(&folder.path().join(files[0].0), from);
        let folder = format!("{}/", folder.path().display());
        translated.map(|(_, section)| section).map_err(|fault| fault.0.replace(&folder, ""))
    }

    fn section(text: &str) -> String {
        let section = translated(&[("conf", text)], None).unwrap();
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
# line 17: max-table-size 100000: the table of sealdns has a fixed size
# line 18: exempt-clients localhost resolvers 203.0.113.7: \"localhost\" is not an address prefix
# line 18: exempt-clients localhost resolvers 203.0.113.7: \"!192.0.2.66\" is not an address prefix
# line 22: a second rate-limit statement is ignored
";
        assert_eq!(section(NAMED), expected);
    }

    #[test]
    fn what_bind_does_not_limit_is_not_limited() {
        let text = "options { rate-limit { window 0; }; };";
        let section = translated(&[("conf", text)], None).unwrap();
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
# line 9: time-rate-limit 5000: sealdns limits rates, not processing time
# line 10: log-period 30000: `sealdns ratelimit top` tells who is limited
# line 12: a second section of mod-rrl, strict, is ignored
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
        let of = |text, from| translated(&[("conf", text)], from).unwrap_err();
        assert_eq!(of("options { };", None), "conf: there is no rate-limit statement in it");
        assert_eq!(of("x: 1\n", Some(Peer::Knot)), "conf: there is no section mod-rrl in it");
    }

    #[test]
    fn what_is_no_configuration_is_refused_where_it_stands() {
        for (text, expected) in [
            ("rate-limit { slip 3", "conf:1:12: this `{` is not closed"),
            ("rate-limit { slip 3 };", "conf:1:14: `;` is missing at the end"),
            ("options {\n  rate-limit { slip 3; }\n};", "conf:2:24: `;` is missing at the end"),
            ("options { rate-limit { slip 3; };", "conf:1:9: this `{` is not closed"),
            ("}; rate-limit { };", "conf:1:1: `}` closes nothing"),
            ("rate-limit {\n\tslip; };", "conf:2:2: slip: a value is missing"),
            ("rate-limit { slip two; };", "conf:1:14: slip: `two` is not a number"),
            ("rate-limit { window 1 2; };", "conf:1:14: window: `1 2` is not a number"),
            (
                "rate-limit { exempt-clients { 192.0.2.0/33; }; };",
                "conf:1:14: exempt-clients: \"192",
            ),
            ("acl \"a { };\nrate-limit { };", "conf:1:5: this string does not end"),
            ("rate-limit { }; /* é */ /* ", "conf:1:25: this comment does not end"),
            ("include \"a\" rate-limit { };", "conf:1:9: `;` is missing behind this"),
            ("include;", "conf:1:1: `include` needs a file"),
            ("\n include \"none\";", "conf:2:10: there is no file none to include"),
            ("mod-rrl:\n  - id: a\n    slip 2\n", "conf:3:5: this is no `key: value`"),
            ("mod-rrl:\n  - id: a\n    slip: x\n", "conf:3:5: slip: `x` is not a number"),
            ("mod-rrl:\n    slip: 1\n", "conf:2:5: an item of mod-rrl begins with `- id: NAME`"),
            ("mod-rrl:\n  - id: a\n    whitelist: [ ::1\n", "conf:3:5: the list in this line"),
            ("mod-rrl:\n  - id: \"a\n", "conf:2:3: the string in this line does not end"),
            ("server:\ninclude:\n", "conf:2:1: `include` needs a file"),
            ("server:\ninclude: none\n", "conf:2:1: there is no file none to include"),
        ] {
            let fault = translated(&[("conf", text)], None).expect_err(text);
            assert!(fault.starts_with(expected), "{text:?}: {fault}");
        }
        let missing = translate(Path::new("/none/named.conf"), None).unwrap_err();
        assert!(missing.0.starts_with("/none/named.conf: "), "{missing}");
    }

    #[test]
    fn files_that_are_included_are_read() {
        // A glob, a file beside the one that includes it, one beside the outermost; the place is that file's.
        let section = translated(
            &[
                (
                    "etc/named.conf",
                    "include \"named.d/*.conf\";\noptions { include \"limits\"; };\n",
                ),
                ("etc/named.d/a.conf", "include \"more\";\n"),
                ("etc/named.d/b.conf", "acl ours { theirs; 192.0.2.0/24; };\n"),
                ("etc/named.d/c.old", "rate-limit { slip 9; };\n"),
                (
                    "etc/named.d/more",
                    "include \"acls\"; rate-limit { slip 5; exempt-clients { ours; }; };\n",
                ),
                ("etc/acls", "acl theirs { 198.51.100.0/24; };\n"),
                ("etc/limits", "\nrate-limit { slip 7; };\n"),
            ],
            None,
        );
        let section = section.unwrap();
        let exempt: Vec<String> = section.exempt.iter().map(ToString::to_string).collect();
        assert_eq!(exempt, ["198.51.100.0/24", "192.0.2.0/24"]);
        assert!(section.settings.contains(&("slip", "5".into())), "{section:?}");
        let [note] = &section.notes[..] else { panic!("{section:?}") };
        assert!(note.ends_with("etc/limits:2: a second rate-limit statement is ignored"), "{note}");
        // Knot's: a file, and a folder, of which those that end in `.conf`.
        let section = translated(
            &[
                ("knot.conf", "include: limits.d\nserver:\n    rundir: x\ninclude: \"one\"\n"),
                ("limits.d/a.conf", "mod-rrl:\n  - id: default\n    slip: 3\n"),
                ("limits.d/b.old", "no configuration at all"),
                ("one", "mod-rrl:\n  - id: other\n    slip: 4\n"),
            ],
            None,
        );
        let section = section.unwrap();
        assert!(section.settings.contains(&("total-slip", "3".into())), "{section:?}");
        assert!(
            section.notes[0].ends_with("one:2: a second section of mod-rrl, other, is ignored")
        );
        // A fault in an included file has its place.
        let fault = translated(&[("a", "include \"b\";"), ("b", "x {\n y\n};\n")], None);
        assert_eq!(fault.unwrap_err(), "b:2:2: `;` is missing at the end of this statement");
    }

    #[test]
    fn files_that_include_themselves_have_an_end() {
        let fault = translated(&[("a", "include \"b\";"), ("b", "include \"*\";")], None);
        assert_eq!(fault.unwrap_err(), "b:1:9: a includes itself");
        let fault = translated(&[("a", "server:\ninclude: ./a\n")], None).unwrap_err();
        assert!(fault.starts_with("a:2:1: ") && fault.ends_with("a includes itself"), "{fault}");
        let deep: Vec<(String, String)> =
            (0..30).map(|at| (format!("f{at}"), format!("include \"f{}\";", at + 1))).collect();
        let deep: Vec<(&str, &str)> = deep.iter().map(|(a, b)| (&a[..], &b[..])).collect();
        let fault = translated(&deep, None).unwrap_err();
        assert_eq!(fault, "f16:1:9: files are included more than 16 deep");
    }

    proptest::proptest! {
        /// Whatever is in the file, it is read to its end, or refused with a place.
        #[test]
        fn damaged_files_do_no_harm(text in "([a-z -]|[{};:\"\n#/*\\[\\]-]|rate-limit|mod-rrl:|exempt-clients|acl|whitelist:|é|include){0,60}") {
            for peer in [Peer::Bind, Peer::Knot] {
                let _ = translated(&[("conf", &text)], Some(peer)).map(|section| section.write());
            }
        }
    }
}
