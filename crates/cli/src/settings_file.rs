//! Options of the command line from a TOML file: the table `[host]` of `--config FILE`.
//!
//! ```toml
//! [host]
//! store = "s3://bucket/holocron"
//! listen = "10.0.0.7:7400"
//! heartbeat-ms = 250
//! option = { region = "eu-west-1" }
//! ```
//!
//! Every long option of `holocron host` may stand there under its name. So nothing here knows a single setting: what is valid,
//! and what it means, is said where the option is declared. A value counts as the option's default, so environment variables
//! and the command line override it.

use core::fmt;
use std::{collections::BTreeSet, ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use toml::Value;

use crate::{
    domains::config::{Config, line_of, text},
    exit::{Fail, Failure},
};

/// The subcommand whose options a file may have.
const HOST: &str = "host";
/// Options that mean something on the command line only.
const NOT_IN_FILES: [&str; 4] = ["config", "print-config", "help", "json"];

/// The command line with what a file adds.
#[derive(Debug)]
pub(crate) struct Given {
    /// As it is without the file.
    command: Command,
    pub(crate) matches: ArgMatches,
    /// The file, and the options that it sets.
    file: Option<(PathBuf, BTreeSet<String>)>,
}

/// One setting of a file.
struct Setting {
    name: String,
    values: Vec<String>,
    line: usize,
}

/// Parses the command line, and the file that it names. Wrong usage ends the process with clap's message.
pub(crate) fn read(
    command: Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Given, Fail> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let Some((subcommand, path)) = named_file(&command, &arguments) else {
        let matches = command.clone().get_matches_from(arguments);
        return Ok(Given { command, matches, file: None });
    };
    let usage = |why: String| Fail::new(Failure::Usage, format!("{}: {why}", path.display()));
    let text = text(&path).map_err(|why| Fail::new(Failure::Usage, why))?;
    let settings = settings(&command, &text).map_err(usage)?;
    let set = settings.iter().map(|setting| setting.name.clone()).collect();
    let with_file = command.clone();
    let with_file = with_file.mut_subcommand(&subcommand, |own| with_defaults(own, settings));
    let matches = with_file.get_matches_from(arguments);
    Ok(Given { command, matches, file: Some((path, set)) })
}

/// The subcommand and its `--config`, whatever else is wrong with the command line.
fn named_file(command: &Command, arguments: &[OsString]) -> Option<(String, PathBuf)> {
    let lenient = command.clone().ignore_errors(true);
    let matches = lenient.try_get_matches_from(arguments).ok()?;
    let (subcommand, matches) = matches.subcommand()?;
    let path = matches.try_get_one::<PathBuf>("config").ok()??;
    Some((subcommand.to_owned(), path.clone()))
}

/// The settings of a file. Each is valid by itself.
fn settings(command: &Command, text: &str) -> Result<Vec<Setting>, String> {
    let config = Config::parse(text)?;
    let mut settings = Vec::new();
    for (key, value) in config.host {
        let line = line_of(text, key.span().start);
        let name = key.into_inner();
        let wrong = |why: String| format!("line {line}: {why}");
        let option = option(command, &name).ok_or_else(|| wrong(unknown(command, &name)))?;
        let values = values(&name, value.into_inner()).map_err(wrong)?;
        check(option, &values).map_err(wrong)?;
        settings.push(Setting { name, values, line });
    }
    settings.sort_by_key(|setting| setting.line);
    Ok(settings)
}

fn host(command: &Command) -> &Command {
    command.find_subcommand(HOST).expect("the command line has it")
}

/// The option of that name that a file may have.
fn option<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    options(command).find(|option| option.get_long() == Some(name))
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let options = host(command).get_arguments().filter(|option| !option.is_hide_set());
    options.filter(|option| option.get_long().is_some_and(|long| !NOT_IN_FILES.contains(&long)))
}

fn unknown(command: &Command, name: &str) -> String {
    let known: Vec<&str> = options(command).filter_map(Arg::get_long).collect();
    format!("unknown setting {name:?}; there are: {}", known.join(", "))
}

/// A value as on the command line. A table is one option of the store per entry.
fn values(name: &str, value: Value) -> Result<Vec<String>, String> {
    let one = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(is) => Ok(is.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err(format!("{name} takes text, a number, true or false"))
        }
    };
    match value {
        Value::Array(values) => values.into_iter().map(one).collect(),
        Value::Table(entries) => {
            let pairs = entries.into_iter();
            pairs.map(|(key, value)| Ok(format!("{key}={}", one(value)?))).collect()
        }
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => Ok(vec![one(value)?]),
    }
}

/// Checks a setting by what its option says.
fn check(option: &Arg, values: &[String]) -> Result<(), String> {
    let name = option.get_long().expect("only long options are looked up");
    if let ArgAction::SetTrue = option.get_action() {
        let is_switch = matches!(values, [value] if value == "true" || value == "false");
        return if is_switch { Ok(()) } else { Err(format!("{name} is true or false")) };
    }
    if values.len() > 1 && !matches!(option.get_action(), ArgAction::Append) {
        return Err(format!("{name} takes one value"));
    }
    // As if it were alone on the command line: without what it says of other options.
    let alone = Arg::new("value")
        .long(name.to_owned())
        .action(option.get_action().clone())
        .value_parser(option.get_value_parser().clone())
        .value_names(option.get_value_names().unwrap_or_default().iter().cloned());
    let alone = Command::new("check").arg(alone);
    let arguments = values.iter().map(|value| format!("--{name}={value}"));
    let parsed = alone.try_get_matches_from([String::from("check")].into_iter().chain(arguments));
    parsed.map(drop).map_err(|error| {
        let said = error.to_string();
        let said = said.lines().next().unwrap_or_default();
        // A value that may be a secret isn't repeated.
        let hidden = |said: &str, value: &String| said.replace(value, "…");
        values.iter().fold(said.trim_start_matches("error: ").to_owned(), |said, value| {
            if may_be_secret(name) { hidden(&said, value) } else { said }
        })
    })
}

/// Whether a value may be, or contain, a secret.
fn may_be_secret(name: &str) -> bool {
    name.contains("option") || name == "store" || name == "domain"
}

/// The subcommand with the settings as defaults, as far as it has these options.
fn with_defaults(own: Command, settings: Vec<Setting>) -> Command {
    settings.into_iter().fold(own, |own, Setting { name, values, .. }| {
        let found = own.get_arguments().find(|option| option.get_long() == Some(&name));
        match found.map(|option| option.get_id().clone()) {
            Some(id) => own.mut_arg(id, |option| option.required(false).default_values(values)),
            // A setting for hosts only.
            None => own,
        }
    })
}

impl Given {
    /// Whether only the settings are wanted.
    pub(crate) fn is_to_be_printed(&self) -> bool {
        let host = self.matches.subcommand_matches(HOST);
        host.is_some_and(|host| host.get_flag("_print_config"))
    }

    /// Where a value comes from.
    fn source(&self, option: &Arg, source: ValueSource) -> String {
        let in_file = |(_, set): &&(PathBuf, BTreeSet<String>)| {
            option.get_long().is_some_and(|long| set.contains(long))
        };
        if source == ValueSource::CommandLine {
            return "command line".to_owned();
        }
        if source == ValueSource::EnvVariable {
            let variable = option.get_env().map(|name| name.to_string_lossy().into_owned());
            return format!("environment: {}", variable.unwrap_or_default());
        }
        match self.file.as_ref().filter(in_file) {
            Some((path, _)) => path.display().to_string(),
            None => "default".to_owned(),
        }
    }
}

/// The settings of a host as a file, with where each comes from.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(host) = self.matches.subcommand_matches(HOST) else { return Ok(()) };
        writeln!(f, "[host]")?;
        for option in options(&self.command) {
            let (id, name) = (option.get_id().as_str(), option.get_long().expect("a long one"));
            let (Some(source), Some(values)) = (host.value_source(id), host.get_raw(id)) else {
                writeln!(f, "# {name} =")?;
                continue;
            };
            let values: Vec<String> =
                values.map(|value| shown(name, &value.to_string_lossy())).collect();
            let value = match (option.get_action(), values.as_slice()) {
                (ArgAction::Append, values) => format!("[{}]", values.join(", ")),
                (_, [value]) => value.clone(),
                (_, _) => continue,
            };
            writeln!(f, "{name} = {value} # {}", self.source(option, source))?;
        }
        Ok(())
    }
}

/// A value in TOML. What may hold a secret is cut: the password and the query of a URL, the value of an option.
fn shown(name: &str, value: &str) -> String {
    if value.parse::<bool>().is_ok() || value.parse::<u64>().is_ok() {
        return value.to_owned();
    }
    let cut = if !may_be_secret(name) {
        None
    } else if name.contains("option") {
        value.split_once('=').map(|(key, _)| format!("{key}=…"))
    } else if let Some((name, at)) = value.split_once("://") {
        let at = at.split_once('?').map_or(at, |(at, _)| at);
        let at = at.split_once('@').map_or(at, |(_, at)| at);
        Some(format!("{name}://{at}"))
    } else {
        None
    };
    // A JSON string is one in TOML, too.
    serde_json::Value::String(cut.unwrap_or_else(|| value.to_owned())).to_string()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn given(file: &str, arguments: &[&str]) -> Result<Given, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("holocron.toml");
        std::fs::write(&path, file).unwrap();
        let mut all = vec![OsString::from("holocron"), "host".into()];
        all.extend(["--config".into(), path.into_os_string()]);
        all.extend(arguments.iter().map(OsString::from));
        read(crate::Arguments::command(), all).map_err(|fail| fail.to_string())
    }

    const FILE: &str = r#"
[host]
store = "s3://user:hush@bucket/prefix?token=hush"
listen = "127.0.0.1:7400"
join = true
heartbeat-ms = 250
option = { region = "eu-west-1", aws_secret_access_key = "hush" }

[domain.acme]
url = "file:///acme"
"#;

    #[test]
    fn the_command_line_overrides_the_file_and_the_file_the_default() {
        let given = given(FILE, &["--listen", "127.0.0.1:7500", "--print-config"]).unwrap();
        assert!(given.is_to_be_printed());
        let host = given.matches.subcommand_matches(HOST).unwrap();
        assert_eq!(host.get_one::<u64>("heartbeat_ms"), Some(&250));
        assert!(host.get_flag("join"));
        let text = given.to_string();
        let line = |name: &str| {
            let begin = format!("{name} = ");
            text.lines().find_map(|line| line.strip_prefix(&begin)).unwrap().to_owned()
        };
        assert_eq!(line("listen"), "\"127.0.0.1:7500\" # command line");
        assert!(line("heartbeat-ms").starts_with("250 # ") && text.contains("holocron.toml"));
        assert_eq!(line("weight"), "100 # default");
        assert!(
            line("option").starts_with("[\"aws_secret_access_key=…\", \"region=…\"] # "),
            "{text}"
        );
        assert!(line("store").starts_with("\"s3://bucket/prefix\" # "), "{text}");
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("\n# linger-ms ="), "a setting without a value is listed: {text}");
    }

    #[test]
    fn what_is_printed_is_a_file_that_gives_the_same() {
        let file =
            "[host]\nstore = \"file:///tmp/h\"\nname = \"h1\"\nheartbeat-ms = 250\njoin = true\n";
        let first = given(file, &["--print-config"]).unwrap().to_string();
        let again = given(&first, &["--print-config"]).unwrap().to_string();
        let values = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split(" # ").next().unwrap().to_owned()).collect()
        };
        assert_eq!(values(&first), values(&again));
    }

    #[test]
    fn an_option_that_speaks_of_others_may_stand_in_a_file() {
        let file = "[host]\nstore = \"memory://\"\nhttp = \"127.0.0.1:0\"\nhttp-cert = \"a.pem\"\nhttp-key = \"a.key\"\njoin = true\n";
        let given = given(file, &[]).unwrap();
        let host = given.matches.subcommand_matches(HOST).unwrap();
        assert_eq!(host.get_one::<PathBuf>("http_cert"), Some(&PathBuf::from("a.pem")));
        assert_eq!(host.get_one::<PathBuf>("http_key"), Some(&PathBuf::from("a.key")));
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_without_a_secret() {
        let why = |file: &str| given(file, &[]).map(|_| ()).unwrap_err();
        let unknown = why("[host]\nstore = \"memory://\"\nheartbeat = 250\n");
        assert!(unknown.contains("line 3: unknown setting \"heartbeat\""), "{unknown}");
        assert!(unknown.contains("heartbeat-ms"), "{unknown}");
        let invalid = why("[host]\nheartbeat-ms = 1\n");
        assert!(invalid.contains("line 2: ") && invalid.contains("10..=60000"), "{invalid}");
        let kind = why("[host]\njoin = \"perhaps\"\n");
        assert!(kind.contains("line 2: join is true or false"), "{kind}");
        let secret = why("[host]\noption = [\"hush\"]\n");
        assert!(secret.contains("line 2: ") && !secret.contains("hush"), "{secret}");
        let price = why("[host]\nstore = \"memory://\"\n\n[host.price]\nput = 5\n");
        assert!(price.contains("line 4: ") && price.contains("write, read, delete"), "{price}");
        let syntax = why("[host]\nlisten = \n");
        assert!(syntax.contains("line 2: "), "{syntax}");
        let twice = why("[host]\nlisten = [\"a\", \"b\"]\n");
        assert!(twice.contains("listen takes one value"), "{twice}");
        assert!(why("[hosts]\n").contains("hosts"));
    }
}
