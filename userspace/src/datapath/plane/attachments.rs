//! Where XDP is, and where it is to be: compared once a tick. A device that was not there when the daemon started
//! gets its programs when it comes; one that went and came again under its name, and one whose programs another has
//! detached, get them back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::net::if_::if_nametoindex;

use crate::datapath::attach::Attachment;
use crate::datapath::interface::Interface;
use crate::observe::attachment::Missing;

/// How long is waited after an attempt to attach again: at once the first time, and then twice as long each time,
/// up to a minute. Who detaches our programs again and again has a reason that we do not know, and is told how to
/// do so for good.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long programs must have been there before what was before is forgotten.
const STEADY: Duration = Duration::from_secs(120);

/// What is attached, and by name what is to be.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    attached: Vec<Attachment>,
    wanted: BTreeMap<String, WantedInterface>,
}

/// An interface that XDP is to be on.
#[derive(Debug)]
struct WantedInterface {
    /// The device that had this name when XDP was attached; none if it never was.
    index: Option<u32>,
    /// Why it is not there.
    why: Option<String>,
    /// Not to be tried before.
    retry_at: Instant,
    wait: Duration,
    attached_at: Instant,
}

impl Attachments {
    /// What is attached.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Attachment> {
        self.attached.iter()
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Attachment> {
        self.attached.iter_mut()
    }

    /// The interfaces that are attached to.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> + Clone {
        self.attached.iter().map(Attachment::interface)
    }

    /// To how many.
    pub(super) fn count(&self) -> usize {
        self.attached.len()
    }

    /// Whether nothing is attached, and nothing waited for.
    pub(super) fn are_none(&self) -> bool {
        self.attached.is_empty() && self.wanted.is_empty()
    }

    /// Whether XDP is on the interface of this name.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.interfaces().any(|interface| interface.name == name)
    }

    /// Whether programs of an earlier daemon run.
    pub(super) fn has_adopted(&self) -> bool {
        self.attached.iter().any(|one| one.adopted().is_some())
    }

    /// Adds what was attached: from now on it is to be there.
    pub(super) fn add(&mut self, attachment: Attachment) {
        let now = Instant::now();
        let Interface { name, index, .. } = attachment.interface();
        let wanted = self.wanted.entry(name.clone()).or_insert_with(|| WantedInterface {
            index: None,
            why: None,
            retry_at: now,
            wait: FIRST_WAIT,
            attached_at: now,
        });
        (wanted.index, wanted.why, wanted.attached_at) = (Some(*index), None, now);
        self.attached.push(attachment);
    }

    /// XDP is to be on the device that gets this name, as soon as there is one.
    pub(super) fn wait_for(&mut self, name: &str, why: String) {
        let now = Instant::now();
        let wanted = WantedInterface {
            index: None,
            why: Some(why),
            retry_at: now,
            wait: FIRST_WAIT,
            attached_at: now,
        };
        self.wanted.insert(name.to_owned(), wanted);
    }

    /// Takes what is attached to one interface, or to all: it is not to be there any more. Says which others were to
    /// be attached to.
    pub(super) fn take(
        &mut self,
        interface: Option<&str>,
    ) -> anyhow::Result<(Vec<Attachment>, Vec<String>)> {
        let is_meant =
            |one: &Attachment| interface.is_none_or(|interface| one.interface().name == interface);
        let gone: Vec<Attachment> = self.attached.extract_if(.., |one| is_meant(one)).collect();
        // Who detaches means it: nothing is attached again, whatever the device is called now.
        for one in &gone {
            self.wanted.retain(|_, wanted| wanted.index != Some(one.interface().index));
        }
        let is_meant = |name: &&String| interface.is_none_or(|interface| interface == *name);
        let forgotten: Vec<String> = self.wanted.keys().filter(is_meant).cloned().collect();
        self.wanted.retain(|name, _| !forgotten.contains(name));
        if let (Some(interface), true) = (interface, gone.is_empty() && forgotten.is_empty()) {
            let names: Vec<&str> = self.interfaces().map(|one| one.name.as_str()).collect();
            match names.as_slice() {
                [] => bail!("XDP is not attached to {interface}, nor to any other interface"),
                names => bail!("XDP is not attached to {interface}, but to {}", names.join(", ")),
            }
        }
        Ok((gone, forgotten))
    }

    /// Takes what this daemon has attached, and leaves what it took over.
    pub(super) fn take_ours(&mut self) -> Vec<Attachment> {
        self.attached.extract_if(.., |one| one.adopted().is_none()).collect()
    }

    /// Forgets what is not attached any more.
    pub(super) fn keep_those_there(&mut self) {
        self.attached.retain(Attachment::is_there);
    }

    //--- Each tick

    /// Looks at all devices again. Says whether anything changed.
    pub(super) fn look_again(&mut self) -> bool {
        let (mut changed, mut gone) = (false, Vec::new());
        for attachment in &mut self.attached {
            changed |= attachment.look_again();
            gone.extend(attachment.why_gone().map(|why| (attachment.interface().index, why)));
        }
        self.keep_those_there();
        gone.into_iter().for_each(|(index, why)| self.note_gone(index, &why));
        changed
    }

    /// Notes why a device is not attached to any more.
    fn note_gone(&mut self, index: u32, why: &str) {
        for wanted in self.wanted.values_mut().filter(|wanted| wanted.index == Some(index)) {
            (wanted.index, wanted.why) = (None, Some(why.to_owned()));
            let now = Instant::now();
            if now.duration_since(wanted.attached_at) >= STEADY {
                wanted.wait = FIRST_WAIT;
                wanted.retry_at = now;
            }
        }
    }

    /// Where XDP is to be and is not.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let missing = self.wanted.iter().filter(|(name, _)| !self.is_on(name));
        missing
            .map(|(name, wanted)| Missing {
                interface: name.clone(),
                why: wanted.why.clone().unwrap_or_else(|| "it will be attached again".into()),
            })
            .collect()
    }

    /// The interfaces that are to be attached to and that it is time to look for.
    pub(super) fn due(&self) -> Vec<String> {
        let now = Instant::now();
        let due = self
            .wanted
            .iter()
            .filter(|(name, wanted)| wanted.retry_at <= now && !self.is_on(name))
            .map(|(name, _)| name.clone());
        due.collect()
    }

    /// Whether there is a device of this name to attach to again; if so, this is the attempt, and what is attached
    /// to another device that had the name is detached.
    pub(super) fn is_to_be_tried(&mut self, name: &str) -> bool {
        if if_nametoindex(name).is_err() {
            let index = self.wanted.get(name).and_then(|wanted| wanted.index);
            let renamed = self.interfaces().find(|interface| Some(interface.index) == index);
            let why = match renamed {
                Some(interface) => format!(
                    "there is no interface of this name; the one that had it is called {} now, and XDP is \
                     still attached to it",
                    interface.name
                ),
                None => "there is no interface of this name".into(),
            };
            self.say_missing(name, why);
            return false;
        }
        if let Some(wanted) = self.wanted.get_mut(name) {
            wanted.retry_at = Instant::now() + wanted.wait;
            wanted.wait = (2 * wanted.wait).min(LONGEST_WAIT);
        }
        self.leave_renamed(name);
        true
    }

    /// Says what came of the attempt.
    pub(super) fn tried(&mut self, name: &str, attached: anyhow::Result<()>) {
        match attached {
            Ok(()) => tracing::info!(interface = name, "attached"),
            Err(error) => self.say_missing(name, format!("{error:#}")),
        }
    }

    /// Detaches from the device that had this name, now that another has it.
    fn leave_renamed(&mut self, name: &str) {
        let index = self.wanted.get_mut(name).and_then(|wanted| wanted.index.take());
        let is_old = |one: &mut Attachment| Some(one.interface().index) == index;
        for old in self.attached.extract_if(.., is_old) {
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
        let Some(wanted) = self.wanted.get_mut(name) else { return };
        if wanted.why.as_ref() != Some(&why) {
            tracing::warn!(interface = name, "XDP is not attached: {why}");
            wanted.why = Some(why);
        }
    }
}
