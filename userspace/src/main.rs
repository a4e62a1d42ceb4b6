//! The `sealdns` binary: daemon and command line.

fn main() -> std::process::ExitCode {
    // Before anything else: until the daemon follows SIGHUP it would be ended by it.
    sealdns::daemon::hold_hangup();
    sealdns::cli::main()
}
