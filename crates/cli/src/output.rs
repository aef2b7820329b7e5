//! Standard output of subcommands that print much, or for long.

use std::io::{ErrorKind, Write as _, stdout};

use crate::exit::Fail;

/// Writes text to standard output at once. If its reader has gone, as with `| head`, the process ends: nothing is left
/// to do.
pub(crate) fn print(text: &str) -> Result<(), Fail> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Fail::failed(format!("standard output can't be written: {error}"))),
    }
}
