//! The binary `holocron`: one file per subcommand.
//!
//! A subcommand writes its result to standard output, as text or JSON, and progress and logs to standard error. It ends
//! with an exit code that scripts can rely on, see [`exit`].
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a CLI prints")]

mod call;
mod cert;
mod deadline;
mod deferred;
mod delete;
mod demo;
mod domain;
mod domains;
mod drain;
mod elect;
pub mod exit;
mod explain;
mod fork;
mod gc;
mod history;
mod host;
mod known_kinds;
mod leader;
mod list;
mod list_kinds;
mod manual;
mod move_slots;
mod one_version;
mod output;
mod planted;
mod probe;
mod run_with_parent;
mod scrub;
mod seal;
mod settings_file;
mod settle;
mod signals;
mod sim;
mod status;
mod store;
mod table;
mod times;
mod tls;
mod token;
mod top;
mod vnode;

use std::{io::IsTerminal as _, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::exit::{EXIT_CODES, Fail};

/// Virtual nodes with durable state in an object store.
#[derive(Debug, Parser)]
#[command(name = "holocron", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Host(Box<host::Arguments>),
    Call(call::Arguments),
    #[command(name = "kinds")]
    Kinds(list_kinds::Arguments),
    Domain(domain::Arguments),
    Status(status::Arguments),
    Top(top::Arguments),
    Drain(drain::Arguments),
    Move(move_slots::Arguments),
    History(history::Arguments),
    Explain(explain::Arguments),
    List(list::Arguments),
    Deferred(deferred::Arguments),
    Delete(delete::Arguments),
    Fork(fork::Arguments),
    Seal(seal::Arguments),
    Elect(elect::Arguments),
    #[command(hide = true)]
    RunWithParent(run_with_parent::Arguments),
    Probe(probe::Arguments),
    Scrub(scrub::Arguments),
    Gc(gc::Arguments),
    Cert(cert::Arguments),
    Token(token::Arguments),
    Sim(sim::Arguments),
    Completions(manual::CompletionArguments),
    Man(manual::ManualArguments),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let given = match settings_file::read(Arguments::command(), std::env::args_os()) {
        Ok(given) => given,
        Err(fail) => return complain(&fail),
    };
    let command = Arguments::from_arg_matches(&given.matches).map(|arguments| arguments.command);
    let command = command.unwrap_or_else(|error| error.exit());
    if given.is_to_be_printed() {
        print!("{given}");
        return ExitCode::SUCCESS;
    }
    log_to_stderr(&command);
    if let Err(fail) = planted::plant_as_told().and_then(|()| one_version::speak_as_told()) {
        return complain(&fail);
    }
    // Before the runtime starts its threads, because it affects the whole process.
    if let Command::Host(arguments) = &command {
        arguments.prepare();
    }
    if let Command::RunWithParent(arguments) = &command {
        return complain(&arguments.become_command());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a process can start a few threads");
    let ended = runtime.block_on(run(command));
    // Doesn't wait for tasks that still run, for example a request to a store that doesn't answer.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => complain(&fail),
    }
}

fn complain(fail: &Fail) -> ExitCode {
    eprintln!("holocron: {fail}");
    fail.code()
}

async fn run(command: Command) -> Result<(), Fail> {
    match command {
        Command::Demo(arguments) => Box::pin(demo::run(arguments)).await,
        Command::Host(arguments) => Box::pin(host::run(*arguments)).await,
        Command::Call(arguments) => Box::pin(call::run(arguments)).await,
        Command::Kinds(arguments) => Box::pin(list_kinds::run(arguments)).await,
        Command::Domain(arguments) => Box::pin(domain::run(arguments)).await,
        Command::Status(arguments) => Box::pin(status::run(arguments)).await,
        Command::Top(arguments) => Box::pin(top::run(arguments)).await,
        Command::Drain(arguments) => Box::pin(drain::run(arguments)).await,
        Command::Move(arguments) => Box::pin(move_slots::run(arguments)).await,
        Command::History(arguments) => Box::pin(history::run(arguments)).await,
        Command::Explain(arguments) => Box::pin(explain::run(arguments)).await,
        Command::List(arguments) => Box::pin(list::run(arguments)).await,
        Command::Deferred(arguments) => Box::pin(deferred::run(arguments)).await,
        Command::Delete(arguments) => Box::pin(delete::run(arguments)).await,
        Command::Fork(arguments) => Box::pin(fork::run(arguments)).await,
        Command::Seal(arguments) => Box::pin(seal::run(arguments)).await,
        Command::Elect(arguments) => Box::pin(elect::run(arguments)).await,
        Command::RunWithParent(arguments) => Err(arguments.become_command()),
        Command::Probe(arguments) => Box::pin(probe::run(arguments)).await,
        Command::Scrub(arguments) => Box::pin(scrub::run(arguments)).await,
        Command::Gc(arguments) => Box::pin(gc::run(arguments)).await,
        Command::Cert(arguments) => cert::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Sim(arguments) => Box::pin(sim::run(arguments)).await,
        Command::Completions(arguments) => {
            manual::completions(&arguments);
            Ok(())
        }
        Command::Man(arguments) => manual::manual(&arguments),
    }
}

/// Logs to standard error as `RUST_LOG` says. By default a host logs at `info`, a member of an election at
/// `warn`, and the other subcommands log nothing.
fn log_to_stderr(command: &Command) {
    let default = match command {
        Command::Host(_) => "warn,holocron=info,holocron_cli=info",
        Command::Elect(_) => "warn",
        Command::RunWithParent(_)
        | Command::Demo(_)
        | Command::Call(_)
        | Command::Kinds(_)
        | Command::Domain(_)
        | Command::Status(_)
        | Command::Top(_)
        | Command::Drain(_)
        | Command::Move(_)
        | Command::History(_)
        | Command::Explain(_)
        | Command::List(_)
        | Command::Deferred(_)
        | Command::Delete(_)
        | Command::Fork(_)
        | Command::Seal(_)
        | Command::Probe(_)
        | Command::Scrub(_)
        | Command::Gc(_)
        | Command::Sim(_)
        | Command::Cert(_)
        | Command::Token(_)
        | Command::Completions(_)
        | Command::Man(_) => "off",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
