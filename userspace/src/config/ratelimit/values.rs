//! The values that keys of `[ratelimit]` take, with their bounds.

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use xdp_common::limit::policy::{Level, MAX_RATE, MAX_SLIP, MAX_WINDOW_S};

use crate::duration::{self, Exact};

/// Whether limits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitMode {
    /// Everybody is answered.
    Off,
    /// Everybody is answered, and clients that would be limited are counted.
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
pub struct Rate(pub(super) u32);

impl Rate {
    /// As it is written.
    pub fn get(self) -> u32 {
        self.0
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

/// Every n-th, from 1 to 10; 0 none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OneIn(pub(super) u8);

impl OneIn {
    /// n; 0 for none.
    pub fn get(self) -> u32 {
        self.0.into()
    }
}

impl<'de> Deserialize<'de> for OneIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = i64::deserialize(deserializer)?;
        match u8::try_from(n) {
            Ok(n) if u32::from(n) <= MAX_SLIP => Ok(OneIn(n)),
            _ => {
                let message =
                    format!("{n} is out of range: choose a number from 0 (none) to {MAX_SLIP}");
                Err(de::Error::custom(message))
            }
        }
    }
}

/// Which of the responses over a total are slipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotalSlip {
    /// Those that `slip` says: who sets it and nothing else means all limits.
    AsSlip,
    /// Others.
    Own(OneIn),
}

impl TotalSlip {
    /// Which ones, where `slip` is that of the classes.
    pub fn or(self, slip: OneIn) -> OneIn {
        match self {
            TotalSlip::AsSlip => slip,
            TotalSlip::Own(slip) => slip,
        }
    }
}

impl<'de> Deserialize<'de> for TotalSlip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer) {
            Ok(Written::Number(n)) => {
                OneIn::deserialize(de::value::I64Deserializer::new(n)).map(TotalSlip::Own)
            }
            Ok(Written::Word(word)) if word == "slip" => Ok(TotalSlip::AsSlip),
            Ok(Written::Word(word)) => Err(de::Error::custom(format!(
                "\"{word}\" is not a number: write one from 0 (none) to {MAX_SLIP}, or \"slip\""
            ))),
            Err(_) => Err(de::Error::custom(format!(
                "this is not a number: write one from 0 (none) to {MAX_SLIP}, or \"slip\""
            ))),
        }
    }
}

impl Serialize for TotalSlip {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            TotalSlip::AsSlip => serializer.serialize_str("slip"),
            TotalSlip::Own(slip) => slip.serialize(serializer),
        }
    }
}

/// A number, or the key whose number it is.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(i64),
    Word(String),
}

/// A duration, or seconds as BIND has them; 0 is none.
pub(super) fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Seconds(u32),
        Text(String),
    }
    let text = match Written::deserialize(deserializer) {
        Ok(Written::Seconds(seconds)) => format!("{seconds}s"),
        Ok(Written::Text(text)) => text,
        Err(_) => {
            return Err(de::Error::custom(
                "this is not a duration: write one from \"0s\" to \"1h\"",
            ));
        }
    };
    duration::within(&text, 0, MAX_WINDOW_S).map_err(de::Error::custom)
}

pub(super) fn write_window<S: Serializer>(seconds: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Exact(*seconds))
}

/// The length of a prefix of an address of `BITS` bits, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PrefixLength<const BITS: u8>(pub(super) u8);

impl<const BITS: u8> PrefixLength<BITS> {
    /// In bits.
    pub fn bits(self) -> u32 {
        self.0.into()
    }
}

impl<'de, const BITS: u8> Deserialize<'de> for PrefixLength<BITS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let length = i64::deserialize(deserializer)?;
        match u8::try_from(length) {
            Ok(length) if (1..=BITS).contains(&length) => Ok(PrefixLength(length)),
            _ => {
                let message = format!("{length} is not a prefix length: choose 1 to {BITS}");
                Err(de::Error::custom(message))
            }
        }
    }
}

/// Prefix lengths with multipliers, longest first: at most `MAX`, of addresses of `BITS` bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels<const BITS: u32, const MAX: usize>(pub(super) Vec<Level>);

impl<const BITS: u32, const MAX: usize> Levels<BITS, MAX> {
    /// The levels; what is not used is not counted.
    pub fn levels(&self) -> [Level; MAX] {
        let unused = Level { prefix: 0, multiplier: 0 };
        std::array::from_fn(|place| self.0.get(place).copied().unwrap_or(unused))
    }

    fn new(mut levels: Vec<Level>) -> Result<Self, String> {
        levels.sort_by_key(|level| std::cmp::Reverse(level.prefix));
        if levels.len() > MAX {
            return Err(format!("there are {} prefix lengths: at most {MAX}", levels.len()));
        }
        match levels.windows(2).find(|pair| pair[0].prefix == pair[1].prefix) {
            Some(pair) => Err(format!("the prefix length {} is given twice", pair[0].prefix)),
            None => Ok(Levels(levels)),
        }
    }

    /// Reads `/24 x32`, `24x32` or `24`.
    fn level(text: &str) -> Result<Level, String> {
        let (prefix, multiplier) = text.split_once('x').unwrap_or((text, "1"));
        let prefix = prefix.trim().trim_start_matches('/').parse::<u32>();
        let multiplier = multiplier.trim().parse::<u32>();
        match (prefix, multiplier) {
            (Ok(prefix), Ok(multiplier))
                if (1..=BITS).contains(&prefix) && (1..=MAX_MULTIPLIER).contains(&multiplier) =>
            {
                Ok(Level { prefix, multiplier })
            }
            _ => Err(format!(
                "\"{text}\" is not a prefix length with a multiplier: write \"/{} x32\" (1 to \
                 {BITS}, times 1 to {MAX_MULTIPLIER})",
                BITS / 4 * 3
            )),
        }
    }

    fn from_texts<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        texts.map(Self::level).collect::<Result<_, _>>().and_then(Self::new)
    }
}

impl<'de, const BITS: u32, const MAX: usize> Deserialize<'de> for Levels<BITS, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            List(Vec<String>),
            Text(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::List(list)) => Self::from_texts(list.iter().map(String::as_str)),
            // As `ratelimit set` takes it.
            Ok(Written::Text(text)) => Self::from_texts(text.split(',').map(str::trim)),
            Err(_) => Err("write prefix lengths as [\"/32 x1\", \"/24 x32\"]".into()),
        }
        .map_err(de::Error::custom)
    }
}

impl<const BITS: u32, const MAX: usize> Serialize for Levels<BITS, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = self.0.iter().map(|level| format!("/{} x{}", level.prefix, level.multiplier));
        serializer.collect_seq(texts)
    }
}

/// What is more than any wire carries as well.
const MAX_MULTIPLIER: u32 = 65_535;
