//! Speaking one version of the wire, as a build from before there were ranges: `HOLOCRON_WIRE=<version>` in a development
//! build, for tests of clusters with two versions. A release refuses to run when the variable is set.

use std::{env, ffi::OsString};

use crate::exit::{Fail, Failure};

/// The variable that names the version.
const VARIABLE: &str = "HOLOCRON_WIRE";

/// Speaks the version that the environment names, if it names one.
pub(crate) fn speak_as_told() -> Result<(), Fail> {
    match env::var_os(VARIABLE) {
        None => Ok(()),
        Some(version) => speak(&version),
    }
}

#[cfg(debug_assertions)]
fn speak(version: &OsString) -> Result<(), Fail> {
    use holocron::frame::{NEWEST, OLDEST, speak_only};

    let known = version.to_str().and_then(|version| version.parse().ok());
    let Some(known) = known.filter(|known| (OLDEST..=NEWEST).contains(known)) else {
        let sentence = format!("{VARIABLE}: {version:?} is not one of {OLDEST} to {NEWEST}");
        return Err(Fail::new(Failure::Usage, sentence));
    };
    tracing::warn!(version = known, "running with one version of the wire");
    speak_only(known);
    Ok(())
}

#[cfg(not(debug_assertions))]
fn speak(version: &OsString) -> Result<(), Fail> {
    let sentence = format!("{VARIABLE} is set to {version:?}, but a release speaks every version");
    Err(Fail::new(Failure::Usage, sentence))
}
