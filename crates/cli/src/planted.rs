//! Planting a bug by name, for tests of the tests: `HOLOCRON_PLANTED=<name>` in a development build.
//!
//! The hosts of a demo inherit the variable, so one value plants the bug in all its processes. A release build can't
//! plant bugs; it refuses to run when the variable is set.

use std::{env, ffi::OsString};

use crate::exit::{Fail, Failure};

/// The variable that names the bug.
const VARIABLE: &str = "HOLOCRON_PLANTED";

/// Plants the bug that the environment names, if it names one.
pub(crate) fn plant_as_told() -> Result<(), Fail> {
    match env::var_os(VARIABLE) {
        None => Ok(()),
        Some(name) => plant(&name),
    }
}

#[cfg(debug_assertions)]
fn plant(name: &OsString) -> Result<(), Fail> {
    use holocron_planted::Bug;

    let Some(bug) = name.to_str().and_then(Bug::from_name) else {
        let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        let sentence =
            format!("{VARIABLE}: no bug is named {name:?}; the bugs are {}", names.join(", "));
        return Err(Fail::new(Failure::Usage, sentence));
    };
    tracing::warn!(bug = bug.name(), "running with a planted bug that breaks a promise");
    holocron_planted::plant(bug);
    Ok(())
}

#[cfg(not(debug_assertions))]
fn plant(name: &OsString) -> Result<(), Fail> {
    let sentence =
        format!("{VARIABLE} is set to {name:?}, but bugs can't be planted in a release build");
    Err(Fail::new(Failure::Usage, sentence))
}
