//! Rules turned off in the real code, not in a model of it, each in a process of its own: a switch is for the whole
//! process. The search that must hold without the bug is started again with it, and must fail.

use std::{env, process::Command};

use holocron_planted::Bug;

const VARIABLE: &str = "HOLOCRON_PLANTED";

/// Plants the bug that the environment names. For a test that is only ever started by [`is_missed`].
pub(crate) fn plant() -> Bug {
    let name = env::var(VARIABLE).expect("started by a test that names a bug");
    let bug = Bug::from_name(&name).expect("a bug of that name");
    holocron_planted::plant(bug);
    bug
}

/// Runs that test of this very binary with a bug planted; it must fail and say so in these words.
pub(crate) fn is_missed(bug: Bug, test: &str, words: &str) {
    let output = Command::new(env::current_exe().expect("a test is a program"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(VARIABLE, bug.name())
        .output()
        .expect("it starts again");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!output.status.success(), "{}: nobody misses the rule: {said}", bug.name());
    assert!(said.contains(words), "{}: not {words:?}, but: {said}", bug.name());
}
