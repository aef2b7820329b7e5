//! Runs the tests' GCS emulator standalone, in memory, on loopback: `gcs-emulator [PORT] [lose-every N]
//! [limit-writes]`.
//!
//! Prints the options for `holocron`, and serves until it is interrupted.

#[path = "../tests/support/gcs/mod.rs"]
mod gcs;

use std::error::Error;
use std::io::Write;

const BUCKET: &str = "holocron-test";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let port = match arguments.peek().and_then(|argument| argument.parse().ok()) {
        Some(port) => {
            arguments.next();
            port
        }
        None => 0,
    };
    let emulator = gcs::Emulator::start(BUCKET, port).await?;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "lose-every" => {
                emulator.lose_every(arguments.next().ok_or("lose-every needs a number")?.parse()?);
            }
            "limit-writes" => emulator.limit_writes(),
            other => {
                return Err(format!("{other}: unknown; use lose-every N or limit-writes").into());
            }
        }
    }
    let mut line = format!("--store {}/prefix", emulator.url());
    for (name, value) in emulator.options() {
        line.push_str(&format!(" --option {name}={value}"));
    }
    writeln!(std::io::stdout(), "{line}")?;
    tokio::signal::ctrl_c().await?;
    let (reads, writes) = emulator.requests();
    writeln!(std::io::stdout(), "{reads} reads, {writes} writes")?;
    Ok(())
}
