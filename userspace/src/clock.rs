//! Clocks: what time it is, and how long something takes. Nobody else asks the kernel for it.
//!
//! | type | clock | for |
//! |---|---|---|
//! | [`WallTime`] | the wall clock: seconds since 1970, which people and NTP set, back as well | signatures, lists, logs |
//! | [`Instant`] | monotonic: nobody sets it | waits, deadlines, rates |
//!
//! Functions that compute are handed the time. Who asks for it on behalf of others has a [`Clock`], which in tests is one
//! that moves when it is told to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_getres, clock_gettime};

/// A time of the wall clock, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(u64);

impl WallTime {
    /// Now; 1970 if the clock is before that.
    pub fn now() -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        WallTime(since.map_or(0, |since| since.as_secs()))
    }

    /// So many seconds after the start of 1970.
    pub const fn from_seconds(seconds: u64) -> WallTime {
        WallTime(seconds)
    }

    /// Seconds since 1970.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// As signatures have it: seconds since 1970, truncated to 32 bits and compared as serials are (RFC 4034 section 3.1.5).
    pub const fn signature_time(self) -> u32 {
        self.0 as u32
    }

    /// When the boot clock (CLOCK_BOOTTIME, which programs in the kernel read) stood at zero, if it is this time now: in
    /// seconds since 1970. 0, which is no time, if the boot clock cannot be read or this time is before it.
    pub fn booted_at_s(self) -> u64 {
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME);
        let since_boot_s = since_boot.ok().and_then(|time| u64::try_from(time.tv_sec()).ok());
        since_boot_s.map_or(0, |since_boot_s| self.0.saturating_sub(since_boot_s))
    }
}

/// Both clocks, the machine's or virtual ones.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Mutex<Virtual>>>);

/// What a virtual clock shows.
#[derive(Debug)]
struct Virtual {
    wall: WallTime,
    monotonic: Instant,
}

impl Clock {
    /// The machine's clocks.
    pub const MACHINE: Clock = Clock(None);

    /// Virtual clocks, which stand still until they are told to move. Clones show the same.
    pub fn standing_at(wall: WallTime) -> Clock {
        Clock(Some(Arc::new(Mutex::new(Virtual { wall, monotonic: Instant::now() }))))
    }

    /// What the wall clock shows.
    pub fn wall(&self) -> WallTime {
        self.with_virtual(|clock| clock.wall).unwrap_or_else(WallTime::now)
    }

    /// What the monotonic clock shows.
    pub fn monotonic(&self) -> Instant {
        self.with_virtual(|clock| clock.monotonic).unwrap_or_else(Instant::now)
    }

    /// Moves both virtual clocks. The machine's clocks move by themselves.
    pub fn pass(&self, time: Duration) {
        self.with_virtual(|clock| {
            clock.wall.0 += time.as_secs();
            clock.monotonic += time;
        });
    }

    /// Sets the virtual wall clock, as people and NTP do: the monotonic one does not follow.
    pub fn set_wall(&self, wall: WallTime) {
        self.with_virtual(|clock| clock.wall = wall);
    }

    fn with_virtual<T>(&self, on: impl FnOnce(&mut Virtual) -> T) -> Option<T> {
        let clock = self.0.as_ref()?;
        Some(on(&mut clock.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Microseconds of the monotonic clock, which systemd compares with its own (sd_notify(3), `MONOTONIC_USEC`). 0 if it
/// cannot be read.
pub fn monotonic_us() -> i128 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| i128::from(time.tv_sec()) * 1_000_000 + i128::from(time.tv_nsec()) / 1000)
}

/// Nanoseconds of the boot clock (CLOCK_BOOTTIME), which programs in the kernel read.
pub fn boot_ns() -> nix::Result<u64> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?).as_nanos() as u64)
}

/// By how many nanoseconds the wall clock is ahead of the boot clock.
pub fn wall_ahead_of_boot_ns() -> nix::Result<i128> {
    let wall = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?);
    Ok(wall.as_nanos() as i128 - i128::from(boot_ns()?))
}

/// Nanoseconds in a jiffy: the resolution of the clocks that only ticks move (clock_getres(2)).
pub fn tick_ns() -> nix::Result<u64> {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)?;
    Ok(Duration::from(tick).as_nanos() as u64)
}

/// CPU seconds that this process has used, in user and in system mode.
pub fn cpu_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        [usage.user_time(), usage.system_time()]
            .iter()
            .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_was_never_set_is_no_time() {
        assert_eq!(WallTime::from_seconds(0).booted_at_s(), 0);
        let now = WallTime::now();
        assert!((1..now.seconds()).contains(&now.booted_at_s()));
    }

    #[test]
    fn virtual_clocks_move_when_they_are_told_to() {
        let clock = Clock::standing_at(WallTime::from_seconds(u64::from(u32::MAX)));
        let (same, start) = (clock.clone(), clock.monotonic());
        clock.pass(Duration::from_secs(2));
        assert_eq!(same.wall().signature_time(), 1);
        clock.set_wall(WallTime::from_seconds(7));
        assert_eq!(same.wall().seconds(), 7);
        assert_eq!(same.monotonic() - start, Duration::from_secs(2));
    }
}
