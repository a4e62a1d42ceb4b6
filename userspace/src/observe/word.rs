//! Values with a word for each of their kinds, in JSON: one such value, and a list with something for each.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use xdp_common::Outcome;
use xdp_common::limit::{Class, Mode, Verdict};

/// One of a few kinds, each with a word.
pub trait Word: Copy + PartialEq + 'static {
    /// What it is one of, for messages.
    const WHAT: &'static str;
    /// All of them.
    const ALL: &'static [Self];
    /// The word for it.
    fn word(self) -> &'static str;
}

macro_rules! word {
    ($($type:ty: $what:literal),*) => { $(
        impl Word for $type {
            const WHAT: &'static str = $what;
            const ALL: &'static [Self] = &<$type>::ALL;

            fn word(self) -> &'static str {
                <$type>::word(self)
            }
        }
    )* };
}

word! { Outcome: "outcome", Class: "class", Verdict: "verdict", Mode: "mode" }

fn place<W: Word>(word: &str) -> Option<usize> {
    W::ALL.iter().position(|one| one.word() == word)
}

/// Writes the word: for `#[serde(with = "word")]`.
pub fn serialize<W: Word, S: Serializer>(value: &W, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.word())
}

/// Reads the word.
pub fn deserialize<'de, W: Word, D: Deserializer<'de>>(deserializer: D) -> Result<W, D::Error> {
    let word = String::deserialize(deserializer)?;
    let place = place::<W>(&word);
    place.map(|place| W::ALL[place]).ok_or_else(|| unknown::<W, D::Error>(&word))
}

fn unknown<W: Word, E: de::Error>(word: &str) -> E {
    E::custom(format_args!("unknown {} `{word}`", W::WHAT))
}

/// Something for each word: in JSON an object with all of them and no others.
#[derive(Clone, PartialEq, Eq)]
pub struct PerWord<W, T = u64> {
    values: Vec<T>,
    words: PhantomData<W>,
}

impl<W: Word, T> PerWord<W, T> {
    /// What `value` says for each.
    pub fn new(value: impl FnMut(W) -> T) -> PerWord<W, T> {
        PerWord { values: W::ALL.iter().copied().map(value).collect(), words: PhantomData }
    }

    /// Each with its word's kind, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (W, &T)> {
        W::ALL.iter().copied().zip(&self.values)
    }
}

impl<W: Word> PerWord<W> {
    /// The sum over those that are meant.
    pub fn sum(&self, is_meant: impl Fn(W) -> bool) -> u64 {
        self.iter().filter(|(word, _)| is_meant(*word)).map(|(_, count)| *count).sum()
    }
}

impl<W: Word, T: Default> Default for PerWord<W, T> {
    fn default() -> PerWord<W, T> {
        PerWord::new(|_| T::default())
    }
}

impl<W: Word, T> Index<W> for PerWord<W, T> {
    type Output = T;

    fn index(&self, word: W) -> &T {
        &self.values[place_of(word)]
    }
}

impl<W: Word, T> IndexMut<W> for PerWord<W, T> {
    fn index_mut(&mut self, word: W) -> &mut T {
        &mut self.values[place_of(word)]
    }
}

fn place_of<W: Word>(word: W) -> usize {
    W::ALL.iter().position(|one| *one == word).expect("every value is in `ALL`")
}

impl<W: Word, T: fmt::Debug> fmt::Debug for PerWord<W, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(word, value)| (word.word(), value))).finish()
    }
}

impl<W: Word, T: Serialize> Serialize for PerWord<W, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (word, value) in self.iter() {
            map.serialize_entry(word.word(), value)?;
        }
        map.end()
    }
}

impl<'de, W: Word, T: Deserialize<'de>> Deserialize<'de> for PerWord<W, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Read(PhantomData))
    }
}

struct Read<W, T>(PhantomData<(W, T)>);

impl<'de, W: Word, T: Deserialize<'de>> Visitor<'de> for Read<W, T> {
    type Value = PerWord<W, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with a field for each {}", W::WHAT)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found: Vec<Option<T>> = W::ALL.iter().map(|_| None).collect();
        while let Some(word) = map.next_key::<String>()? {
            let place = place::<W>(&word).ok_or_else(|| unknown::<W, A::Error>(&word))?;
            found[place] = Some(map.next_value()?);
        }
        let with_words = found.into_iter().zip(W::ALL);
        let values = with_words
            .map(|(value, word)| value.ok_or_else(|| de::Error::missing_field(word.word())));
        Ok(PerWord { values: values.collect::<Result<_, _>>()?, words: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_there_and_no_other() {
        let counts = PerWord::<Outcome>::new(|outcome| outcome.index() as u64);
        let value = serde_json::to_value(&counts).expect("JSON");
        assert_eq!(
            serde_json::from_value::<PerWord<Outcome>>(value.clone()).expect("the same"),
            counts
        );
        let error = |value| {
            serde_json::from_value::<PerWord<Outcome>>(value).expect_err("an error").to_string()
        };
        for outcome in Outcome::ALL {
            let mut less = value.clone();
            let fields = less.as_object_mut().expect("an object");
            assert!(fields.remove(outcome.word()).is_some());
            assert_eq!(error(less), format!("missing field `{}`", outcome.word()));
        }
        let mut more = value;
        more["psitive"] = 1.into();
        assert_eq!(error(more), "unknown outcome `psitive`");
    }
}
