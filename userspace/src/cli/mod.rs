//! The command line.

/// Parses the arguments, runs the command, and says how it ended.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
