//! `holocron token`: makes the bearer tokens of gateways.

#![expect(clippy::disallowed_types, reason = "a token ends at a time of the wall clock")]

use core::time::Duration;
use std::time::SystemTime;

use clap::{Args, Subcommand, ValueEnum};
use holocron_access::{Limits, NewToken, Scope};
use serde_json::json;

use crate::{
    exit::{self, Fail, Failure},
    output::print,
};

/// Make a bearer token for callers of an HTTP gateway
#[derive(Debug, Args)]
#[command(after_help = exit::help("\
The token is shown once and stored nowhere. The entry goes into the file of tokens: it has only the SHA-256. Gateways read the file
again when it changes; deleting an entry revokes its token.

Examples:
  holocron token new shop --scope read --scope write --kind cart --key-prefix acme/
  holocron token new ops --scope read --scope admin --expires-in 90d"))]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    New(NewArguments),
}

/// Draw a token, and show it with its entry for the file of tokens
#[derive(Debug, Args)]
struct NewArguments {
    /// Its name, for the audit: 1 to 64 of A-Z, a-z, 0-9, '-', '_', '.', '@'.
    name: String,
    /// What it may do; repeat it for several. A scope doesn't include another one.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<ScopeName>,
    /// Limit it to vnodes of this kind. May be repeated.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Limit it to vnodes whose key begins with this.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    key_prefix: String,
    /// When it ends, such as 90d.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
    /// Print a JSON object instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeName {
    /// Queries, listings, the state of the cluster
    Read,
    /// Commands, deleting and forking vnodes
    Write,
    /// What operators do
    Admin,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Read => Self::Read,
            ScopeName::Write => Self::Write,
            ScopeName::Admin => Self::Admin,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Fail> {
    match &arguments.action {
        Action::New(arguments) => new(arguments),
    }
}

fn new(arguments: &NewArguments) -> Result<(), Fail> {
    let limits = Limits {
        scopes: arguments.scopes.iter().copied().map(Scope::from).collect(),
        kinds: arguments.kinds.clone(),
        key_prefix: arguments.key_prefix.clone(),
        expires: arguments.expires_in.map(|left| SystemTime::now() + left),
    };
    let token = NewToken::draw();
    let entry = token.entry(&arguments.name, &limits).ok_or_else(|| {
        let why = "a name has 1 to 64 of A-Z, a-z, 0-9, '-', '_', '.', '@'";
        Fail::new(Failure::Usage, format!("{:?}: {why}", arguments.name))
    })?;
    print(&if arguments.json {
        format!("{}\n", json!({ "token": token.secret(), "entry": entry }))
    } else {
        format!(
            "The token, shown only now:\n\n{}\n\nIts entry for the file of tokens:\n\n{entry}",
            token.secret()
        )
    })
}
