//! The `sealdns` binary: daemon and command line.

fn main() -> std::process::ExitCode {
    sealdns::cli::main()
}
