//! What was heard of the primaries of a zone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config;
use crate::daemon::serials::SerialFile;
use crate::zone::{Name, Serial};

/// What was heard of the primaries of a zone since the daemon was started.
#[derive(Debug, Default)]
pub struct Primaries {
    /// The one that was asked last.
    pub asked: Option<SocketAddr>,
    /// When one was heard of last, in seconds since 1970, and which.
    pub last_success: Option<(u32, SocketAddr)>,
    /// When one failed last, in seconds since 1970, which, and why.
    pub last_failure: Option<(u32, SocketAddr, String)>,
    /// Who has said that there is a newer version: it is asked first.
    pub notified_by: Option<IpAddr>,
    /// How often each has failed since it was heard of: who did is asked behind the others.
    failures: BTreeMap<SocketAddr, u32>,
    /// When it was last noted for the next start that one was heard of, in seconds since 1970 truncated to 32 bits.
    noted_at: Option<u32>,
}

impl Primaries {
    /// The primaries of a section in the order in which they are asked: who has sent a NOTIFY, then those that have not
    /// failed, each as the configuration has them.
    pub fn in_order<'c>(&self, section: &'c config::Zone) -> Vec<&'c config::Primary> {
        let mut primaries: Vec<&config::Primary> = section.primaries.iter().collect();
        primaries.sort_by_key(|primary| {
            let address = primary.address.0;
            let is_notifier = self.notified_by == Some(address.ip());
            (!is_notifier, self.failures.get(&address).copied().unwrap_or(0))
        });
        primaries
    }

    /// One has given what it was asked for.
    pub fn succeed(&mut self, primary: SocketAddr, now: u32) {
        (self.asked, self.last_success) = (Some(primary), Some((now, primary)));
        self.failures.remove(&primary);
        // The others are tried before it again some time.
        self.failures.retain(|_, failures| {
            *failures -= 1;
            *failures > 0
        });
    }

    /// One has not.
    pub fn fail(&mut self, primary: SocketAddr, why: String, now: u32) {
        self.asked = Some(primary);
        self.last_failure = Some((now, primary, why));
        let failures = self.failures.entry(primary).or_default();
        *failures = (*failures + 1).min(MOST_FAILURES);
    }

    /// Whether a failure is another than the last one.
    pub fn is_news(&self, primary: SocketAddr, why: &str) -> bool {
        let last = self.last_failure.as_ref();
        let since = self.last_success.map_or(0, |(at, _)| at);
        last.is_none_or(|(at, who, said)| *at < since || (*who, said.as_str()) != (primary, why))
    }

    /// Whether it is to be noted that one was heard of: if it was not for a while. If so, it is.
    pub fn is_note_due(&mut self, now: u32) -> bool {
        let is_due = self.noted_at.is_none_or(|at| now.wrapping_sub(at) >= NOTED_EVERY_S);
        if is_due {
            self.noted_at = Some(now);
        }
        is_due
    }

    /// Of what was heard only that of primaries that are configured still is of use.
    pub fn follow(&mut self, section: &config::Zone) {
        let is_there = |address: &SocketAddr| {
            section.primaries.iter().any(|primary| primary.address.0 == *address)
        };
        self.failures.retain(|address, _| is_there(address));
    }
}

/// How often it is noted at most that a primary was heard of: a zone may expire so much earlier behind the next start.
const NOTED_EVERY_S: u32 = 30;

/// Failures that are counted: so many rounds without it until it is asked first again.
const MOST_FAILURES: u32 = 8;

/// When a primary was heard of last, of each zone, for the next start: a hint, written without waiting for the disk. Without
/// it a zone expires earlier than it must.
#[derive(Debug, Clone)]
pub struct Confirmations(PathBuf);

impl Confirmations {
    /// Those of a state directory.
    pub fn of(state_dir: &Path) -> Confirmations {
        Confirmations(state_dir.join("confirmed"))
    }

    /// Notes that one was heard of now, in seconds since 1970.
    pub fn note(&self, zone: &Name, now: u32) {
        if let Err(error) = SerialFile::of(&self.0, zone).hint(Serial(now)) {
            tracing::debug!(%zone, "noting when a primary was heard of: {error:#}");
        }
    }

    /// When one was heard of last, which is known to be no earlier than `known`.
    pub fn last(&self, zone: &Name, known: u32) -> u32 {
        let noted = SerialFile::of(&self.0, zone).read().ok().flatten();
        let later = noted.filter(|noted| noted.is_newer_than(Serial(known)));
        later.map_or(known, |noted| noted.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn who_has_failed_is_asked_behind_the_others_for_a_while() {
        let text = "version = \"v1\"\n[[zone]]\nname = \"a\"\n\
            primaries = [\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.3\"]\n";
        let config = Config::parse(text, Path::new("sealdns.toml")).unwrap();
        let section = config.zones().next().unwrap();
        let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 53));
        let mut heard = Primaries::default();
        let order = |heard: &Primaries| -> Vec<u8> {
            let all = heard.in_order(section).into_iter();
            let last = |ip: IpAddr| ip.to_string().rsplit('.').next().unwrap().parse().unwrap();
            all.map(|primary| last(primary.address.0.ip())).collect()
        };
        assert_eq!(order(&heard), [1, 2, 3]);
        heard.fail(address(1), "silent".to_owned(), 7);
        heard.fail(address(1), "silent".to_owned(), 7);
        heard.fail(address(2), "silent".to_owned(), 7);
        assert_eq!(order(&heard), [3, 2, 1]);
        heard.succeed(address(3), 7);
        assert_eq!(order(&heard), [2, 3, 1]);
        heard.succeed(address(2), 7);
        assert_eq!(order(&heard), [1, 2, 3]);
        heard.notified_by = Some(address(3).ip());
        assert_eq!(order(&heard), [3, 1, 2]);
        for _ in 0..100 {
            heard.fail(address(1), "silent".to_owned(), 7);
        }
        (0..MOST_FAILURES).for_each(|_| heard.succeed(address(2), 7));
        heard.notified_by = None;
        assert_eq!(order(&heard), [1, 2, 3]);
    }

    #[test]
    fn the_later_time_counts() {
        let folder = tempfile::tempdir().unwrap();
        let confirmations = Confirmations::of(folder.path());
        let zone: Name = "a.".parse().unwrap();
        assert_eq!(confirmations.last(&zone, 1_800_000_000), 1_800_000_000);
        confirmations.note(&zone, 1_800_000_500);
        assert_eq!(confirmations.last(&zone, 1_800_000_000), 1_800_000_500);
        assert_eq!(confirmations.last(&zone, 1_800_000_900), 1_800_000_900);
    }
}
