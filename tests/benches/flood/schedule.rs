//! Which core a thread runs on, and before whom.
//!
//! The generator has one core, the server another, and both have the right of way there: else whatever
//! else this machine does moves the figures by a multiple.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use tests::net::output_within;

/// The core of the generator and of its end of the wire.
pub const GENERATOR_CORE: u32 = 0;
/// The core of the server and of its end of the wire.
pub const SERVER_CORE: u32 = 1;

/// Priority (SCHED_FIFO) of who keeps others off the server's core while it waits.
pub const GUARD: u32 = 1;
/// Priority of who asks and of who answers.
pub const WORK: u32 = 10;
/// Priority of the threads that take frames off the wire.
pub const NAPI: u32 = 20;

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
