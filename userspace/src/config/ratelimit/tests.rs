//! Good sections, bad sections and what is said of them.

use std::fs;

use super::super::Config;
use super::*;
use xdp_common::limit::Level;

fn parse(text: &str) -> Result<RateLimit, ConfigError> {
    let text = format!("version = \"v1\"\n[ratelimit]\n{text}\n");
    Config::parse(&text, Path::new("sealdns.toml")).map(|config| config.ratelimit)
}

#[test]
fn peers_words_mean_what_ours_do() {
    for (alias, key) in ALIASES {
        let value = match key {
            "exempt" => "[\"192.0.2.0/24\"]",
            "dry-run" => "true",
            _ => "23",
        };
        let ours = parse(&format!("mode = \"on\"\n{key} = {value}")).unwrap();
        let theirs = parse(&format!("mode = \"on\"\n{alias} = {value}")).unwrap();
        assert_eq!(ours, theirs, "{alias}");
        assert_ne!(ours, parse("mode = \"on\"").unwrap(), "{alias}");
    }
    assert_eq!(parse("mode = \"on\"\nlog-only = true").unwrap().mode, LimitMode::DryRun);
    assert_eq!(parse("window = 15").unwrap(), parse("window = \"15s\"").unwrap());
}

#[test]
fn what_is_written_is_read_again() {
    let text = "mode = \"dry-run\"\nnodata-rate = 5\nany-rate = 0\ntotal-rate = 1000\n\
                window = \"1m\"\nslip = 0\nleak = 10\nipv4-levels = \"24x1, 16 x 100\"\n\
                cost = \"amplification\"\nmiss-rate = 0\nipv6-levels = []";
    let limits = parse(text).unwrap();
    assert_eq!(limits.nodata_rate.or(limits.rate), Rate(5));
    assert_eq!(limits.any_rate.or(limits.rate), Rate(0));
    assert_eq!(limits.positive_rate.or(limits.rate), limits.rate);
    let level = |prefix, multiplier| Level { prefix, multiplier };
    let unused = level(0, 0);
    assert_eq!(limits.ipv4_levels.levels(), [level(24, 1), level(16, 100), unused, unused]);
    assert_eq!(limits.ipv6_levels.levels(), [unused; IPV6_LEVELS]);
    for limits in [limits, parse("").unwrap()] {
        let written = toml::to_string(&limits).unwrap();
        assert_eq!(parse(&written).unwrap(), limits, "{written}");
    }
}

#[test]
fn faults_are_said_where_they_stand() {
    for (text, line, column, message, hint) in [
        ("slip = 11", 3, 8, "11 is out of range: choose a number from 0 (none) to 10", ""),
        ("total-slip = 11", 3, 14, "11 is out of range: choose a number from 0 (none) to 10", ""),
        (
            "total-slip = \"slib\"",
            3,
            14,
            "\"slib\" is not a number: write one from 0 (none) to 10, or \"slip\"",
            "",
        ),
        ("rate = -1", 3, 8, "-1 is not a rate: choose 0 (no limit) to 976562", ""),
        (
            "rate = 1\nburst = 976563",
            4,
            9,
            "976563 is not a rate: choose 0 (no limit) to 976562",
            "",
        ),
        ("nodata-rate = \"all\"", 3, 15, "\"all\" is not a rate: write a number, or \"rate\"", ""),
        (
            "window = \"2h\"",
            3,
            10,
            "\"2h\" is not a duration from 0s to 1h: write numbers with the units w, d, h, m, s, such as \"1h30m\" or \"2w\"",
            "",
        ),
        (
            "window = 3601",
            3,
            10,
            "\"3601s\" is not a duration from 0s to 1h: write numbers with the units w, d, h, m, s, such as \"1h30m\" or \"2w\"",
            "",
        ),
        ("ipv4-prefix = 33", 3, 15, "33 is not a prefix length: choose 1 to 32", ""),
        (
            "ipv4-levels = [\"/32 x1\", \"/33 x1\"]",
            3,
            26,
            "\"/33 x1\" is not a prefix length with a multiplier: write \"/24 x32\" (1 to 32, \
             times 1 to 65535)",
            "",
        ),
        ("ipv4-levels = \"24, 24\"", 3, 15, "the prefix length 24 is given twice", ""),
        ("ipv4-levels = \"1,2,3,4,5\"", 3, 15, "there are 5 prefix lengths: at most 4", ""),
        (
            "exempt = [\"192.0.2.0/24\", \"192.0.2.0/33\"]",
            3,
            27,
            "\"192.0.2.0/33\" is not an address prefix: write \"192.0.2.0/24\" or \
             \"2001:db8::/32\"",
            "",
        ),
        ("mode = \"dryrun\"", 3, 8, "unknown value `dryrun`", "did you mean `dry-run`?"),
        ("slib = 2", 3, 1, "unknown key `slib`", "did you mean `slip`?"),
        (
            "nxdomain-per-second = 2",
            3,
            1,
            "unknown key `nxdomain-per-second`",
            "did you mean `nxdomains-per-second`?",
        ),
    ] {
        match parse(text).expect_err(text) {
            ConfigError::Invalid {
                line: at, column: place, message: said, hint: advice, ..
            } => {
                assert_eq!(said, message);
                assert_eq!((at, place), (line, column), "{text}");
                assert_eq!(advice.unwrap_or_default(), hint, "{text}");
            }
            error => panic!("{error}"),
        }
    }
    let twice = parse("rate = 5\nresponses-per-second = 5").unwrap_err().to_string();
    assert!(twice.contains("duplicate field"), "{twice}");
}

#[test]
fn files_of_exempt_prefixes_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exempt");
    fs::write(&file, "# ours\n192.0.2.0/24\n\n 2001:db8::1 # resolver\n198.51.100.7;x").unwrap();
    let mut limits = parse("exempt = [\"203.0.113.1\"]\nexempt-file = \"exempt\"").unwrap();
    limits.load_exempt(folder.path()).unwrap();
    let read: Vec<String> = limits.exempt.iter().map(|prefix| prefix.0.to_string()).collect();
    let expected = ["203.0.113.1/32", "192.0.2.0/24", "2001:db8::1/128", "198.51.100.7/32"];
    assert_eq!(read, expected);
    fs::write(&file, "192.0.2.0/24\n  192.0.2.0/240\n").unwrap();
    let error = limits.load_exempt(folder.path()).unwrap_err().to_string();
    assert!(error.contains("exempt:2:3: \"192.0.2.0/240\" is not an address prefix"), "{error}");
}

#[test]
fn a_zone_s_limits_differ_where_it_says_so() {
    let text = "version = \"v1\"\n[ratelimit]\nmode = \"on\"\nrate = 40\nnodata-rate = 7\n\
                [[zone]]\nname = \"a\"\nfile = \"f\"\n\
                [zone.ratelimit]\nresponses-per-second = 5\nslip = 0\nwindow = \"1m\"\n\
                [[zone]]\nname = \"b\"\nfile = \"g\"\n";
    let config = Config::parse(text, Path::new("sealdns.toml")).unwrap();
    let zones: Vec<_> = config.zones().collect();
    let policy = zones[0].ratelimit.as_ref().unwrap().over(&config.ratelimit).policy();
    let of = |class: Class| policy.rates[class.index()];
    assert_eq!((of(Class::Positive), of(Class::Nodata), of(Class::Any)), (5, 7, 5));
    assert_eq!((policy.mode, policy.slip, policy.leak, policy.window_s), (2, 0, 2, 60));
    assert_eq!(zones[1].ratelimit, None);
    let said = zones[0].ratelimit.as_ref().unwrap().settings();
    assert_eq!(said.to_string(), "rate = 5\nslip = 0\nwindow = \"1m\"\n");
    assert_eq!(said.try_into::<ZoneRateLimit>().ok(), zones[0].ratelimit);
    let total = text.replace("slip = 0", "total-rate = 0");
    let error = Config::parse(&total, Path::new("sealdns.toml")).unwrap_err().to_string();
    assert!(error.contains("sealdns.toml:11:1: unknown key `total-rate`"), "{error}");
}

/// Every way to say, or not to say, both keys in the file and by two layers of changes over it. The judge takes the
/// last word on each; without one on totals, that on `slip` is theirs.
#[test]
fn slip_is_that_of_totals_too_unless_they_have_their_own() {
    use crate::ratelimit::settings::setting;
    let slips = [None, Some("0"), Some("1"), Some("10")];
    let totals = [None, Some("0"), Some("1"), Some("10"), Some("slip")];
    let layers: Vec<_> =
        slips.iter().flat_map(|slip| totals.iter().map(move |total| (*slip, *total))).collect();
    let changes = |(slip, total): (Option<&str>, Option<&str>)| {
        let said = [("slip", slip), ("total-slip", total)];
        let said = said.into_iter().filter_map(|(key, value)| Some(setting(key, value?).unwrap()));
        toml::Table::from_iter(said)
    };
    for &file in &layers {
        let in_file = parse(&changes(file).to_string()).unwrap();
        for &saved in &layers {
            let then_saved = in_file.with(&changes(saved)).unwrap();
            for &live in &layers {
                let policy = then_saved.with(&changes(live)).unwrap().policy();
                let said = [live, saved, file];
                let slip = said.iter().find_map(|layer| layer.0).unwrap_or("2");
                let total = said.iter().find_map(|layer| layer.1).unwrap_or("slip");
                let total = if total == "slip" { slip } else { total };
                let what = (policy.slip.to_string(), policy.total_slip.to_string());
                assert_eq!(what, (slip.into(), total.into()), "{file:?}, {saved:?}, {live:?}");
            }
        }
    }
}

#[test]
fn without_a_word_the_policy_is_the_default() {
    assert_eq!(parse("").unwrap().policy(), Policy::new());
}
