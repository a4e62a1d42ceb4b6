//! The daemon as a process: started, asked, reloaded, stopped, started again.

mod life;
mod rights;
mod stage;
mod start;
