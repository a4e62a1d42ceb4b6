//! Zones of the configuration, brought up to date: loaded, reloaded, signed again when that is due.

mod behind;
mod catalogs;
mod change;
mod compiled;
mod durable;
mod front;
mod list;
mod loading;
mod merge;
mod past;
mod present;
mod primaries;
mod publish;
mod reload;
mod turns;
mod updates;

#[cfg(test)]
pub use list::REFRESH;
pub use list::Zones;
