//! The binary `holocron`. Everything is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    holocron_cli::main()
}
