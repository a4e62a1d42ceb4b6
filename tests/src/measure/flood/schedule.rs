//! Which core a thread runs on, and before whom.
//!
//! The generator has one core, the server another, and both have the right of way there: else whatever
//! else this machine does moves the figures by a multiple.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use testbed::net::output_within;

/// The core of the generator and of its end of the wire.
pub const GENERATOR_CORE: u32 = 0;
/// The core of the server and of its end of the wire.
pub const SERVER_CORE: u32 = 1;

// Priorities (SCHED_FIFO). Servers come before the threads that bring them their queries: the other way
// round a flood leaves them no time at all (some 2,000 answers a second of sockets), and the comparison
// would be with that. What the wire cannot hold is lost before anybody works on it.

/// Who keeps others off the server's core while it waits.
pub const GUARD: u32 = 1;
/// Who asks.
pub const ASK: u32 = 10;
/// Who takes frames off the wire, at either end.
pub const NAPI: u32 = 20;
/// Who answers.
pub const SERVE: u32 = 30;

const PATIENCE: Duration = Duration::from_secs(10);

/// Pins all threads of a process, or a kernel thread, and gives them a priority.
pub fn pin_process(id: u32, core: u32, priority: u32) -> Result<()> {
    let (id, core, priority) = (id.to_string(), core.to_string(), priority.to_string());
    done("taskset", &["--all-tasks", "--cpu-list", "--pid", &core, &id])?;
    done("chrt", &["--all-tasks", "--fifo", "--pid", &priority, &id])
}

/// Pins the calling thread and gives it a priority, which what it starts does not inherit.
pub fn pin_this_thread(core: u32, priority: u32) -> Result<()> {
    let id = nix::unistd::gettid().to_string();
    done("taskset", &["--cpu-list", "--pid", &core.to_string(), &id])?;
    done("chrt", &["--reset-on-fork", "--fifo", "--pid", &priority.to_string(), &id])
}

/// A command that runs another program on the server's core from its start, so that it starts as many
/// threads as one core is good for.
pub fn on_server_core(program: &std::path::Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &SERVER_CORE.to_string()]).arg(program);
    command
}

fn done(program: &str, arguments: &[&str]) -> Result<()> {
    let output = output_within(Command::new(program).args(arguments), PATIENCE)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{program} {}`: {}", arguments.join(" "), said.trim());
    Ok(())
}
