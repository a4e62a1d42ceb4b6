//! `[ratelimit]`: response-rate limiting in an operator's words.
//!
//! BIND's (`rate-limit`) and Knot's (mod-rrl) words are accepted where they mean the same:
//! [`ALIASES`]. How a rate becomes what the data plane computes with is not told here.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{AddressPrefix, ConfigError, Period, invalid};

/// Knot's rate-limit: a default that was raised after experience with real clients (Knot 3.4.3).
const RATE: u32 = 50;
/// Knot's instant-limit: 2.5 seconds' worth.
const BURST: u32 = 125;
/// BIND's window.
const WINDOW_SECONDS: u32 = 15;
/// BIND's slip.
const SLIP: u8 = 2;
/// No official reference: what one core answers through sockets in a second.
const MISS_RATE: u32 = 100_000;
/// More than any wire carries.
const MAX_RATE: u32 = 100_000_000;
/// BIND's limit.
const MAX_WINDOW_SECONDS: u32 = 3600;
/// BIND's limit.
const MAX_SLIP: u8 = 10;
/// Prefix lengths of one family that are counted at once: each costs a look into memory.
pub const MAX_LEVELS: usize = 5;
const MAX_MULTIPLIER: u32 = 65_535;

/// Words of BIND and Knot, and the keys that mean the same.
pub const ALIASES: [(&str, &str); 13] = [
    ("responses-per-second", "rate"),
    ("rate-limit", "rate"),
    ("nodata-per-second", "nodata-rate"),
    ("nxdomains-per-second", "nxdomain-rate"),
    ("referrals-per-second", "referral-rate"),
    ("errors-per-second", "error-rate"),
    ("all-per-second", "total-rate"),
    ("instant-limit", "burst"),
    ("ipv4-prefix-length", "ipv4-prefixes"),
    ("ipv6-prefix-length", "ipv6-prefixes"),
    ("exempt-clients", "exempt"),
    ("whitelist", "exempt"),
    ("log-only", "dry-run"),
];

/// `[ratelimit]`. Rates are responses per second; 0 is no limit.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RateLimit {
    /// Whether limits are kept.
    pub mode: LimitMode,
    /// Knot's and BIND's way to say `mode = "dry-run"`; [`RateLimit::resolve`] puts it there.
    #[serde(alias = "log-only", skip_serializing)]
    dry_run: bool,
    /// For each of the longest netblocks, class and name.
    #[serde(alias = "responses-per-second", alias = "rate-limit")]
    pub rate: Rate,
    /// For data.
    pub positive_rate: ClassRate,
    /// For a name without the type that was asked for.
    #[serde(alias = "nodata-per-second")]
    pub nodata_rate: ClassRate,
    /// For names that do not exist.
    #[serde(alias = "nxdomains-per-second")]
    pub nxdomain_rate: ClassRate,
    /// For referrals.
    #[serde(alias = "referrals-per-second")]
    pub referral_rate: ClassRate,
    /// For REFUSED, FORMERR, SERVFAIL and their like.
    #[serde(alias = "errors-per-second")]
    pub error_rate: ClassRate,
    /// For answers to QTYPE DNSKEY.
    pub dnskey_rate: ClassRate,
    /// For answers to QTYPE ANY.
    pub any_rate: ClassRate,
    /// For all that goes to one netblock, whatever it is.
    #[serde(alias = "all-per-second")]
    pub total_rate: Rate,
    /// Responses at once after a pause.
    #[serde(alias = "instant-limit")]
    pub burst: Burst,
    /// How long excess is remembered.
    #[serde(deserialize_with = "window")]
    pub window: Period,
    /// Which of the responses over the limit are sent with TC: every n-th; 0 none.
    pub slip: OneIn,
    /// Which of the errors over the limit are sent whole: every n-th; 0 none.
    pub leak: OneIn,
    /// Netblocks of IPv4.
    #[serde(alias = "ipv4-prefix-length")]
    pub ipv4_prefixes: Levels<32>,
    /// Netblocks of IPv6.
    #[serde(alias = "ipv6-prefix-length")]
    pub ipv6_prefixes: Levels<128>,
    /// Queries per second above which all limits shrink in proportion; 0 never.
    pub qps_scale: Rate,
    /// What a response counts.
    pub cost: Cost,
    /// Queries passed up to the daemon per second, all clients together.
    pub miss_rate: Rate,
    /// Clients that are never limited.
    #[serde(alias = "exempt-clients", alias = "whitelist", skip_serializing)]
    pub exempt: Vec<AddressPrefix>,
    /// A file with more of them, one a line.
    pub exempt_file: PathBuf,
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit {
            mode: LimitMode::Off,
            dry_run: false,
            rate: Rate(RATE),
            positive_rate: ClassRate::AsRate,
            nodata_rate: ClassRate::AsRate,
            nxdomain_rate: ClassRate::AsRate,
            referral_rate: ClassRate::AsRate,
            error_rate: ClassRate::AsRate,
            dnskey_rate: ClassRate::AsRate,
            any_rate: ClassRate::AsRate,
            total_rate: Rate(0),
            burst: Burst(BURST),
            window: Period(WINDOW_SECONDS),
            slip: OneIn(SLIP),
            leak: OneIn(SLIP),
            // Knot's levels: the shorter the prefix, the more clients share it.
            ipv4_prefixes: Levels(levels([(32, 1), (24, 32), (20, 256), (18, 768)])),
            ipv6_prefixes: Levels(levels([(128, 1), (64, 2), (56, 3), (48, 4), (32, 64)])),
            qps_scale: Rate(0),
            cost: Cost::Response,
            miss_rate: Rate(MISS_RATE),
            exempt: Vec::new(),
            exempt_file: PathBuf::new(),
        }
    }
}

impl RateLimit {
    /// Says `dry-run = true` as the mode.
    pub(super) fn resolve(&mut self) {
        if std::mem::take(&mut self.dry_run) && self.mode == LimitMode::On {
            self.mode = LimitMode::DryRun;
        }
    }

    /// Reads the file of exempt prefixes, whose path is taken from `folder`.
    pub(super) fn load_exempt(&mut self, folder: &Path) -> Result<(), ConfigError> {
        if self.exempt_file.as_os_str().is_empty() {
            return Ok(());
        }
        self.exempt_file = folder.join(&self.exempt_file);
        self.exempt.extend(read_prefixes(&self.exempt_file)?);
        Ok(())
    }
}

/// Reads a file of address prefixes, one a line; `#` and `;` start comments.
fn read_prefixes(path: &Path) -> Result<Vec<AddressPrefix>, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let mut prefixes = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let said = line.split(['#', ';']).next().unwrap_or_default();
        let word = said.trim();
        if !word.is_empty() {
            let place = at + (said.len() - said.trim_start().len());
            let prefix = AddressPrefix::from_text(word)
                .map_err(|message| invalid(&text, path, place, message, None))?;
            prefixes.push(prefix);
        }
        at += line.len();
    }
    Ok(prefixes)
}

/// Whether limits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitMode {
    /// Everybody is answered.
    Off,
    /// Everybody is answered, and who would not be is counted.
    DryRun,
    /// They are kept.
    On,
}

/// What a response counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// One.
    Response,
    /// Its octets divided by the query's, at least one: what an attacker gains by it.
    Amplification,
}

/// Events per second; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rate(u32);

impl Rate {
    /// Per second; `None` is no limit.
    pub fn per_second(self) -> Option<u32> {
        (self.0 > 0).then_some(self.0)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rate = i64::deserialize(deserializer)?;
        match u32::try_from(rate) {
            Ok(rate) if rate <= MAX_RATE => Ok(Rate(rate)),
            _ => {
                let message = format!("{rate} is not a rate: choose 0 (no limit) to {MAX_RATE}");
                Err(de::Error::custom(message))
            }
        }
    }
}

/// The rate of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassRate {
    /// That of `rate`.
    AsRate,
    /// Its own.
    Own(Rate),
}

impl ClassRate {
    /// The rate, where `rate` is that of all classes.
    pub fn or(self, rate: Rate) -> Rate {
        match self {
            ClassRate::AsRate => rate,
            ClassRate::Own(rate) => rate,
        }
    }
}

impl<'de> Deserialize<'de> for ClassRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(i64),
            Word(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Number(rate)) => {
                Rate::deserialize(de::value::I64Deserializer::new(rate)).map(ClassRate::Own)
            }
            Ok(Written::Word(word)) if word == "rate" => Ok(ClassRate::AsRate),
            Ok(Written::Word(word)) => {
                let message = format!("\"{word}\" is not a rate: write a number, or \"rate\"");
                Err(de::Error::custom(message))
            }
            Err(_) => Err(de::Error::custom("this is not a rate: write a number, or \"rate\"")),
        }
    }
}

impl Serialize for ClassRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ClassRate::AsRate => serializer.serialize_str("rate"),
            ClassRate::Own(rate) => rate.serialize(serializer),
        }
    }
}

/// Responses at once; at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Burst(u32);

impl Burst {
    /// How many.
    pub fn responses(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Burst {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let burst = i64::deserialize(deserializer)?;
        match u32::try_from(burst) {
            Ok(burst) if (1..=MAX_RATE).contains(&burst) => Ok(Burst(burst)),
            _ => Err(de::Error::custom(format!("{burst} is not a burst: choose 1 to {MAX_RATE}"))),
        }
    }
}

/// Every n-th, from 1 to 10; 0 none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OneIn(u8);

impl OneIn {
    /// n; 0 for none.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl<'de> Deserialize<'de> for OneIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = i64::deserialize(deserializer)?;
        match u8::try_from(n) {
            Ok(n) if n <= MAX_SLIP => Ok(OneIn(n)),
            _ => {
                let message = format!("{n} is not one in how many: choose 0 (none) to {MAX_SLIP}");
                Err(de::Error::custom(message))
            }
        }
    }
}

/// A duration, or seconds as BIND has them.
fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Seconds(u32),
        Text(String),
    }
    let written = Written::deserialize(deserializer);
    let (period, shown) = match written {
        Ok(Written::Seconds(seconds)) => (Some(Period(seconds)), seconds.to_string()),
        Ok(Written::Text(text)) => (Period::from_text(&text), format!("\"{text}\"")),
        Err(_) => (None, "this".into()),
    };
    let in_bounds = |period: &Period| (1..=MAX_WINDOW_SECONDS).contains(&period.seconds());
    period.filter(in_bounds).ok_or_else(|| {
        let message = format!("{shown} is not a window: write \"1s\" to \"1h\"");
        de::Error::custom(message)
    })
}

/// One prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// In bits; at least 1.
    pub length: u8,
    /// How many times the rate a netblock of this length has.
    pub multiplier: u32,
}

fn levels<const N: usize>(levels: [(u8, u32); N]) -> Vec<Level> {
    levels.into_iter().map(|(length, multiplier)| Level { length, multiplier }).collect()
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{} x{}", self.length, self.multiplier)
    }
}

/// Prefix lengths that are counted at once, longest first, in addresses of `BITS` bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels<const BITS: u8>(Vec<Level>);

impl<const BITS: u8> Levels<BITS> {
    /// The levels, longest prefix first.
    pub fn levels(&self) -> &[Level] {
        &self.0
    }

    fn new(mut levels: Vec<Level>) -> Result<Self, String> {
        levels.sort_by_key(|level| std::cmp::Reverse(level.length));
        if levels.is_empty() || levels.len() > MAX_LEVELS {
            return Err(format!("choose 1 to {MAX_LEVELS} prefix lengths"));
        }
        match levels.windows(2).find(|pair| pair[0].length == pair[1].length) {
            Some(pair) => Err(format!("the prefix length {} is there twice", pair[0].length)),
            None => Ok(Levels(levels)),
        }
    }

    /// Reads `/24 x32`, `24x32` or `24`.
    fn level(text: &str) -> Result<Level, String> {
        let (length, multiplier) = text.split_once('x').unwrap_or((text, "1"));
        let length = length.trim().trim_start_matches('/').parse::<u8>();
        let multiplier = multiplier.trim().parse::<u32>();
        match (length, multiplier) {
            (Ok(length), Ok(multiplier))
                if (1..=BITS).contains(&length) && (1..=MAX_MULTIPLIER).contains(&multiplier) =>
            {
                Ok(Level { length, multiplier })
            }
            _ => Err(format!(
                "\"{text}\" is not a prefix length with a multiplier: write \"/{} x32\" (1 to \
                 {BITS}, times 1 to {MAX_MULTIPLIER})",
                BITS / 4 * 3
            )),
        }
    }
}

impl<'de, const BITS: u8> Deserialize<'de> for Levels<BITS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LevelsVisitor)
    }
}

struct LevelsVisitor<const BITS: u8>;

impl<'de, const BITS: u8> Visitor<'de> for LevelsVisitor<BITS> {
    type Value = Levels<BITS>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("prefix lengths with multipliers, such as [\"/32 x1\", \"/24 x32\"]")
    }

    /// BIND's one prefix length.
    fn visit_i64<E: de::Error>(self, length: i64) -> Result<Self::Value, E> {
        self.visit_str(&length.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let levels = text.split(',').map(|level| Levels::<BITS>::level(level.trim()));
        levels.collect::<Result<_, _>>().and_then(Levels::new).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut levels = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            levels.push(Levels::<BITS>::level(&text).map_err(de::Error::custom)?);
        }
        Levels::new(levels).map_err(de::Error::custom)
    }
}

impl<const BITS: u8> Serialize for Levels<BITS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Level::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

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
                _ => "24",
            };
            let ours = parse(&format!("mode = \"on\"\n{key} = {value}")).unwrap();
            let theirs = parse(&format!("mode = \"on\"\n{alias} = {value}")).unwrap();
            assert_eq!(ours, theirs, "{alias}");
            assert_ne!(ours, parse("mode = \"on\"").unwrap(), "{alias}");
        }
        assert_eq!(parse("mode = \"on\"\nlog-only = true").unwrap().mode, LimitMode::DryRun);
        assert_eq!(parse("window = 15").unwrap(), parse("").unwrap());
        let one_length = parse("ipv4-prefix-length = 24\nipv6-prefix-length = 56").unwrap();
        assert_eq!(one_length.ipv4_prefixes.levels(), levels([(24, 1)]));
        assert_eq!(one_length.ipv6_prefixes.levels(), levels([(56, 1)]));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = "mode = \"dry-run\"\nnodata-rate = 5\nany-rate = 0\ntotal-rate = 1000\n\
                    window = \"1m\"\nslip = 0\nleak = 10\nipv4-prefixes = \"24x1, 16 x 100\"\n\
                    cost = \"amplification\"\nmiss-rate = 0";
        let limits = parse(text).unwrap();
        assert_eq!(limits.nodata_rate.or(limits.rate), Rate(5));
        assert_eq!(limits.any_rate.or(limits.rate).per_second(), None);
        assert_eq!(limits.positive_rate.or(limits.rate), limits.rate);
        assert_eq!(limits.ipv4_prefixes.levels(), levels([(24, 1), (16, 100)]));
        let written = toml::to_string(&limits).unwrap();
        assert_eq!(parse(&written).unwrap(), limits, "{written}");
    }

    #[test]
    fn faults_are_said_where_they_stand() {
        for (text, line, column, message, hint) in [
            ("slip = 11", 3, 8, "11 is not one in how many: choose 0 (none) to 10", ""),
            ("rate = -1", 3, 8, "-1 is not a rate: choose 0 (no limit) to 100000000", ""),
            ("rate = 1\nburst = 0", 4, 9, "0 is not a burst: choose 1 to 100000000", ""),
            (
                "nodata-rate = \"all\"",
                3,
                15,
                "\"all\" is not a rate: write a number, or \"rate\"",
                "",
            ),
            ("window = \"2h\"", 3, 10, "\"2h\" is not a window: write \"1s\" to \"1h\"", ""),
            ("window = 0", 3, 10, "0 is not a window: write \"1s\" to \"1h\"", ""),
            (
                "ipv4-prefixes = [\"/32 x1\", \"/33 x1\"]",
                3,
                28,
                "\"/33 x1\" is not a prefix length with a multiplier: write \"/24 x32\" (1 to 32, \
                 times 1 to 65535)",
                "",
            ),
            ("ipv4-prefixes = \"24, 24\"", 3, 17, "the prefix length 24 is there twice", ""),
            ("ipv6-prefixes = []", 3, 17, "choose 1 to 5 prefix lengths", ""),
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
                    line: at,
                    column: in_line,
                    message: said,
                    hint: advice,
                    ..
                } => {
                    assert_eq!(said, message);
                    assert_eq!((at, in_line), (line, column), "{text}");
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
        fs::write(&file, "# ours\n192.0.2.0/24\n\n 2001:db8::1 # resolver\n198.51.100.7;x")
            .unwrap();
        let mut limits = parse("exempt = [\"203.0.113.1\"]\nexempt-file = \"exempt\"").unwrap();
        limits.load_exempt(folder.path()).unwrap();
        let read: Vec<String> = limits.exempt.iter().map(|prefix| prefix.0.to_string()).collect();
        let expected = ["203.0.113.1/32", "192.0.2.0/24", "2001:db8::1/128", "198.51.100.7/32"];
        assert_eq!(read, expected);
        fs::write(&file, "192.0.2.0/24\n  192.0.2.0/240\n").unwrap();
        let error = limits.load_exempt(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("exempt:2:3: \"192.0.2.0/240\" is not an address prefix"),
            "{error}"
        );
    }
}
