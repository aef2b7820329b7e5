//! `holocron completions` and `holocron man`: for shells and for `man`, from the command line itself.

use std::{io::stdout, path::PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::exit::{Fail, Failure};

/// Print a script with completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holocron completions bash > /etc/bash_completion.d/holocron
  holocron completions zsh > ~/.zfunc/_holocron")]
pub(crate) struct CompletionArguments {
    /// Which shell.
    shell: Shell,
}

/// Write the manual pages, one per subcommand
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holocron man /usr/local/share/man/man1")]
pub(crate) struct ManualArguments {
    /// The folder to write them to; it must exist.
    folder: PathBuf,
}

pub(crate) fn completions(arguments: &CompletionArguments) {
    let mut command = crate::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "holocron", &mut stdout());
}

pub(crate) fn manual(arguments: &ManualArguments) -> Result<(), Fail> {
    let folder = &arguments.folder;
    clap_mangen::generate_to(crate::Arguments::command(), folder)
        .map_err(|error| Fail::new(Failure::Failed, format!("{}: {error}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        manual(&ManualArguments { folder: folder.path().to_owned() }).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(page("holocron.1").contains("SUBCOMMANDS"));
        assert!(page("holocron-host.1").contains("heartbeat"));
        for command in crate::Arguments::command().get_subcommands().filter(|it| !it.is_hide_set())
        {
            page(&format!("holocron-{}.1", command.get_name()));
        }
    }
}
