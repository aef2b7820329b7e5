//! `holocron cert`: the certificates of a cluster, without other tools.

#![expect(
    clippy::disallowed_types,
    reason = "certificates begin and end at a time of the wall clock"
)]

use core::time::Duration;
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::{Args, Subcommand};
use holocron_access::{
    Role,
    issue::{Authority, CLOCKS_DIFFER, IssueError, Issued, Request},
};
use holocron_store::explain;

use crate::exit::{self, Fail, Failure};

/// The files of the authority, in its folder.
const AUTHORITY: &str = "ca";
/// Permissions of a key's file, and of a new folder.
const KEY_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Make the certificates of a cluster
///
/// Each cluster has an authority of its own. Whoever has its key can act as any host: keep the folder where no host and no client
/// can read it, and give each only the certificate of the authority (ca.pem) and its own two files.
#[derive(Debug, Args)]
#[command(after_help = exit::help("\
Roles:
  client    calls vnodes, lists them, and reads the cluster's state
  operator  also seals, drains and moves, and adds and removes domains
  host      is a member of the cluster; may send every message. With a name, it can join under that name only

Examples:
  holocron cert init tls
  holocron cert host tls h1
  holocron cert operator tls alice --days 30
  holocron host --store file:///tmp/h --name h1 --tls-ca tls/ca.pem --tls-cert tls/host-h1.pem --tls-key tls/host-h1.key"))]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the authority: ca.pem and ca.key in a folder
    Init {
        /// The folder; made if it is missing.
        folder: PathBuf,
    },
    /// Make a certificate for a host, or one for all hosts
    Host(HostArguments),
    /// Make a certificate for a client
    Client(MemberArguments),
    /// Make a certificate for an operator
    Operator(MemberArguments),
}

#[derive(Debug, Args)]
struct HostArguments {
    /// The folder of the authority.
    folder: PathBuf,
    /// The host's name; without one, the certificate is good for every host.
    name: Option<String>,
    #[command(flatten)]
    valid: Valid,
}

#[derive(Debug, Args)]
struct MemberArguments {
    /// The folder of the authority.
    folder: PathBuf,
    /// Who it is for: the name in the audit.
    name: String,
    #[command(flatten)]
    valid: Valid,
}

#[derive(Debug, Args)]
struct Valid {
    /// Days until it ends. Longer: fewer rotations; a stolen one is good for longer.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Replace the files if they exist. Running hosts read the new ones by themselves.
    #[arg(long)]
    replace: bool,
}

/// Whether files that exist are replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Kept,
    Replaced,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Fail> {
    match &arguments.action {
        Action::Init { folder } => init(folder),
        Action::Host(arguments) => {
            issue(&arguments.folder, Role::Host, arguments.name.as_deref(), &arguments.valid)
        }
        Action::Client(arguments) => {
            issue(&arguments.folder, Role::Client, Some(&arguments.name), &arguments.valid)
        }
        Action::Operator(arguments) => {
            issue(&arguments.folder, Role::Operator, Some(&arguments.name), &arguments.valid)
        }
    }
}

fn init(folder: &Path) -> Result<(), Fail> {
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
    made.map_err(|error| Fail::failed(format!("{}: {error}", folder.display())))?;
    let (_, issued) = Authority::found(SystemTime::now()).map_err(|error| not_issued(&error))?;
    // Never replaced: every certificate of the cluster depends on it.
    let written = write(folder, AUTHORITY, &issued, Existing::Kept)?;
    println!("{written}");
    println!("keep {AUTHORITY}.key secret: with it, any host of the cluster can be impersonated");
    Ok(())
}

fn issue(folder: &Path, role: Role, name: Option<&str>, valid: &Valid) -> Result<(), Fail> {
    let path = folder.join(format!("{AUTHORITY}.key"));
    let key = std::fs::read_to_string(&path).map_err(|error| {
        Fail::failed(format!("{}: {error} (`holocron cert init` makes it)", path.display()))
    })?;
    let authority = Authority::of_key(&key).map_err(|error| not_issued(&error))?;
    let now = SystemTime::now();
    let until = now + Duration::from_secs(u64::from(valid.days) * 24 * 3600);
    let request = Request { role, name, from: now - CLOCKS_DIFFER, until };
    let issued = authority.issue(&request).map_err(|error| not_issued(&error))?;
    let stem = name.map_or(role.to_string(), |name| format!("{role}-{name}"));
    let existing = if valid.replace { Existing::Replaced } else { Existing::Kept };
    println!("{}", write(folder, &stem, &issued, existing)?);
    println!("valid until {}", humantime::format_rfc3339_seconds(until));
    Ok(())
}

fn not_issued(error: &IssueError) -> Fail {
    let failure = match error {
        IssueError::Name(_) => Failure::Usage,
        IssueError::Key | IssueError::Certificate(_) => Failure::Failed,
    };
    Fail::new(failure, explain(error))
}

/// Writes a certificate and its key. Returns their names.
fn write(folder: &Path, stem: &str, issued: &Issued, existing: Existing) -> Result<String, Fail> {
    let key = folder.join(format!("{stem}.key"));
    let certificate = folder.join(format!("{stem}.pem"));
    // The key first: a host that reads in between finds a pair that doesn't fit, and keeps the earlier one.
    for (path, text) in [(&key, &issued.key), (&certificate, &issued.certificate)] {
        put(path, text, existing).map_err(|error| {
            let is_kept = error.kind() == ErrorKind::AlreadyExists && existing == Existing::Kept;
            let hint = if is_kept { "; it is left as it is" } else { "" };
            Fail::failed(format!("{}: {error}{hint}", path.display()))
        })?;
    }
    Ok(format!("{}  {}", certificate.display(), key.display()))
}

/// Writes a file that only its owner can read. One that is replaced is replaced at once, so that a reader never sees half of it.
fn put(path: &Path, text: &str, existing: Existing) -> std::io::Result<()> {
    let create = |path: &Path| -> std::io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(KEY_MODE).open(path)
    };
    match existing {
        Existing::Kept => create(path)?.write_all(text.as_bytes()),
        Existing::Replaced => {
            let new = path.with_extension("new");
            create(&new)?.write_all(text.as_bytes())?;
            std::fs::rename(&new, path)
        }
    }
}
