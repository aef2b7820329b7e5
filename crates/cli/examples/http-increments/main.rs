//! A campaign: clients that know HTTP only add 1 to counters under idempotency keys, through three hosts, of which one is
//! killed and stopped again and again. Each increment must count once.
//!
//! ```text
//! http-increments HOLOCRON [KILLS STOPS]      20 of each if not given
//! ```
#![expect(clippy::print_stdout, reason = "a tool prints")]

mod campaign;

use campaign::{Outcome, Plan, run};

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (program, kills, stops) = match arguments.as_slice() {
        [program] => (program, 20, 20),
        [program, kills, stops] => (program, kills.parse()?, stops.parse()?),
        _ => return Err("usage: http-increments HOLOCRON [KILLS STOPS]".into()),
    };
    let report = run(&Plan { program: program.into(), kills, stops }).await?;
    println!("{report}");
    if report.lost + report.doubled > 0 {
        return Err("increments were lost or doubled".into());
    }
    Ok(())
}
