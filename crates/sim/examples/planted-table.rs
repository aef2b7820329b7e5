//! Writes the table of planted bugs into `docs/verification.md`: each bug runs the default workload in its own process
//! until it is caught. Takes about a minute.
//!
//! ```console
//! $ cargo run -p holocron-sim --example planted-table
//! ```
#![expect(clippy::print_stdout, reason = "it says what it found")]

use std::{env, fs, io, process::Command};

use holocron_planted::Bug;
use holocron_sim::planted::{Noticed, SEEDS_MAX, first_broken, noticed};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/verification.md");
const BEGIN: &str = "<!-- planted bugs: begin -->\n";
const END: &str = "<!-- planted bugs: end -->\n";

fn main() -> Result<(), Box<dyn core::error::Error>> {
    if let Some(name) = env::args().nth(1) {
        return search(&name);
    }
    let mut table = String::from(
        "| bug | what goes wrong (invariant) | noticed by | seed |\n| --- | --- | --- | --- |\n",
    );
    for bug in Bug::ALL {
        let row = row(*bug)?;
        print!("{row}");
        table.push_str(&row);
    }
    let document = fs::read_to_string(DOCUMENT)?;
    let (before, rest) = document.split_once(BEGIN).ok_or("no place for the table begins")?;
    let (_, after) = rest.split_once(END).ok_or("no place for the table ends")?;
    fs::write(DOCUMENT, format!("{before}{BEGIN}{table}{END}{after}"))?;
    Ok(())
}

fn row(bug: Bug) -> io::Result<String> {
    let (by, seed) = match noticed(bug) {
        Noticed::InModel { model, test } => (format!("`{model}`, `{test}`"), String::new()),
        Noticed::InSimulation => {
            let output = Command::new(env::current_exe()?).arg(bug.name()).output()?;
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            ("the simulator".to_owned(), said)
        }
    };
    Ok(format!("| `{}` | {} | {by} | {seed} |\n", bug.name(), bug.sentence().trim()))
}

/// In its own process: plants the bug, and prints the seed that catches it.
#[cfg(debug_assertions)]
fn search(name: &str) -> Result<(), Box<dyn core::error::Error>> {
    holocron_planted::plant(Bug::from_name(name).ok_or("no such bug")?);
    match first_broken(1..=SEEDS_MAX) {
        Some((seed, _)) => println!("{seed}"),
        None => println!("none"),
    }
    Ok(())
}

#[cfg(not(debug_assertions))]
fn search(_: &str) -> Result<(), Box<dyn core::error::Error>> {
    let _ = (first_broken::<core::ops::RangeInclusive<u64>>, SEEDS_MAX);
    Err("bugs can't be planted in a release build".into())
}
