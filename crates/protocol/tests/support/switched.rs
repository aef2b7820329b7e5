//! Bugs planted in the real code, not in a model of it, each in its own process, because a planted bug is for the whole
//! process. The search that holds without the bug is started again with it, and must fail.

use std::{env, process::Command};

use holocron_planted::Bug;

const VARIABLE: &str = "HOLOCRON_PLANTED";

/// Plants the bug named in the environment. For a test that is only started by [`is_missed`].
pub(crate) fn plant() -> Bug {
    let name = env::var(VARIABLE).expect("started by a test that names a bug");
    let bug = Bug::from_name(&name).expect("a bug of that name");
    holocron_planted::plant(bug);
    bug
}

/// Runs a test of this binary with a bug planted. The test must fail, and its output must contain `words`.
pub(crate) fn is_missed(bug: Bug, test: &str, words: &str) {
    let output = Command::new(env::current_exe().expect("a test is a program"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(VARIABLE, bug.name())
        .output()
        .expect("it starts again");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!output.status.success(), "{}: the bug isn't caught: {said}", bug.name());
    assert!(said.contains(words), "{}: {words:?} is not in the output: {said}", bug.name());
}
