//! Where XDP is to be, compared with where it is, once a tick: a device that was not there when the daemon started
//! gets its programs when it comes; one that went and came again under its name, and one whose programs another has
//! detached, get them back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;

use super::Plane;
use crate::datapath::attach::Attachment;
use crate::datapath::seam::{DataPlane as _, Missing};

/// How long is waited after an attempt to attach again: at once the first time, and then twice as long each time,
/// up to a minute. Who detaches our programs again and again has a reason that we do not know, and is told how to
/// do so for good.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long programs must have been there before what was before is forgotten.
const STEADY: Duration = Duration::from_secs(120);

/// The interfaces that XDP is to be on, by their names.
#[derive(Debug, Default)]
pub(super) struct Wanted(BTreeMap<String, State>);

#[derive(Debug)]
struct State {
    /// The device that had this name when XDP was attached; none if it never was.
    index: Option<u32>,
    /// Why it is not there.
    why: Option<String>,
    /// Not to be tried before.
    retry_at: Instant,
    wait: Duration,
    attached_at: Instant,
}

impl Wanted {
    /// XDP is on the device that has this name now.
    pub(super) fn attached(&mut self, name: &str, index: u32) {
        let now = Instant::now();
        let state = self.0.entry(name.to_owned()).or_insert_with(|| State {
            index: None,
            why: None,
            retry_at: now,
            wait: FIRST_WAIT,
            attached_at: now,
        });
        (state.index, state.why, state.attached_at) = (Some(index), None, now);
    }

    /// XDP is to be on the device that gets this name, as soon as there is one.
    pub(super) fn waits_for(&mut self, name: &str, why: String) {
        let now = Instant::now();
        self.0.insert(
            name.to_owned(),
            State {
                index: None,
                why: Some(why),
                retry_at: now,
                wait: FIRST_WAIT,
                attached_at: now,
            },
        );
    }

    /// It is not to be on a device any more, whatever that is called now.
    pub(super) fn forget(&mut self, index: u32) {
        self.0.retain(|_, state| state.index != Some(index));
    }

    /// Whether there are none, and none is waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets one by its name, or all; says which were wanted.
    pub(super) fn forget_name(&mut self, name: Option<&str>) -> Vec<String> {
        let is_meant = |one: &&String| name.is_none_or(|name| *one == name);
        let gone: Vec<String> = self.0.keys().filter(is_meant).cloned().collect();
        gone.iter().for_each(|name| drop(self.0.remove(name)));
        gone
    }
}

impl Plane {
    /// Where XDP is to be and is not.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let missing = self.wanted.0.iter().filter(|(name, _)| !self.is_on(name));
        missing
            .map(|(name, state)| Missing {
                interface: name.clone(),
                why: state.why.clone().unwrap_or_else(|| "it will be attached again".into()),
            })
            .collect()
    }

    fn is_on(&self, name: &str) -> bool {
        self.attachments.iter().any(|one| one.interface().name == name)
    }

    /// Notes which attachments have gone; to be called once those that are there are kept.
    pub(super) fn note_gone(&mut self, gone: &[(u32, String)]) {
        for (index, why) in gone {
            let states = self.wanted.0.values_mut();
            for state in states.filter(|state| state.index == Some(*index)) {
                (state.index, state.why) = (None, Some(why.clone()));
                let now = Instant::now();
                if now.duration_since(state.attached_at) >= STEADY {
                    state.wait = FIRST_WAIT;
                    state.retry_at = now;
                }
            }
        }
    }

    /// Attaches again where XDP is to be and is not, if there is a device of that name.
    pub(super) fn attach_missing(&mut self) {
        let now = Instant::now();
        let due: Vec<String> = self
            .wanted
            .0
            .iter()
            .filter(|(name, state)| state.retry_at <= now && !self.is_on(name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            if if_nametoindex(name.as_str()).is_err() {
                let index = self.wanted.0.get(&name).and_then(|state| state.index);
                let renamed =
                    self.attachments.iter().find(|one| Some(one.interface().index) == index);
                let why = match renamed {
                    Some(one) => format!(
                        "there is none of this name; the one that had it is called {}, and XDP is there still",
                        one.interface().name
                    ),
                    None => "there is no interface of this name".into(),
                };
                self.say_missing(&name, why);
                continue;
            }
            if let Some(state) = self.wanted.0.get_mut(&name) {
                state.retry_at = now + state.wait;
                state.wait = (2 * state.wait).min(LONGEST_WAIT);
            }
            self.leave_renamed(&name);
            match self.attach(&name) {
                Ok(()) => tracing::info!(interface = name, "attached"),
                Err(error) => self.say_missing(&name, format!("{error:#}")),
            }
        }
    }

    /// Detaches from the device that had this name, now that another has it.
    fn leave_renamed(&mut self, name: &str) {
        let index = self.wanted.0.get_mut(name).and_then(|state| state.index.take());
        let is_old = |one: &mut Attachment| Some(one.interface().index) == index;
        for old in self.attachments.extract_if(.., is_old) {
            let was = &old.interface().name;
            tracing::warn!(
                interface = name,
                was,
                "another device has this name now: XDP moves there"
            );
            old.detach();
        }
    }

    /// Notes why, and says it once.
    fn say_missing(&mut self, name: &str, why: String) {
        let Some(state) = self.wanted.0.get_mut(name) else { return };
        if state.why.as_ref() != Some(&why) {
            tracing::warn!(interface = name, "XDP is not attached: {why}");
            state.why = Some(why);
        }
    }
}
