//! Domains on the command line: a configuration file, options and environment variables.

pub(crate) mod config;

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use holocron::{Domain, Rule};
use holocron_protocol::epoch::domain::{HOME_NAME, check_name};
use holocron_store::Store;

use self::config::Config;
use crate::{
    deadline::Deadline,
    exit::{Fail, Failure},
    store::StoreOptions,
};

/// The begin of environment variables with options of a domain's store.
const VARIABLES: &str = "HOLOCRON_DOMAIN_";

/// The domains besides the home domain, each with a store and credentials of its own.
///
/// An option of a domain's store may be given in the file, by `--domain-option`, or as the environment variable
/// `HOLOCRON_DOMAIN_<NAME>_<OPTION>`; later ones of these override earlier ones, and all of them the variables that the home
/// domain uses, such as `AWS_ACCESS_KEY_ID`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DomainArguments {
    /// A TOML file: options of this command in a table `[host]`, by their long names, and the domains besides the home domain.
    /// The command line and environment variables override it.
    #[arg(long, value_name = "FILE", env = "HOLOCRON_CONFIG")]
    config: Option<PathBuf>,
    /// A domain and the URL of its store. Overrides the URL in the file. May be repeated.
    #[arg(long = "domain", value_name = "NAME=URL", value_parser = named)]
    urls: Vec<(String, String)>,
    /// An option of a domain's store, such as acme.endpoint=https://… Its environment variable is, for example,
    /// `HOLOCRON_DOMAIN_ACME_AWS_ACCESS_KEY_ID`. May be repeated.
    #[arg(long = "domain-option", value_name = "NAME.KEY=VALUE", value_parser = option)]
    options: Vec<(String, (String, String))>,
}

/// What was configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Configured {
    /// The rules of the home domain, for the host that founds the cluster.
    pub(crate) home_rules: Vec<Rule>,
    /// The others, in the order of the file and then of the command line.
    pub(crate) domains: Vec<ConfiguredDomain>,
}

/// One domain.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ConfiguredDomain {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) rules: Vec<Rule>,
    pub(crate) options: Vec<(String, String)>,
}

/// Options may be secrets, and a URL may contain one.
impl core::fmt::Debug for ConfiguredDomain {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ConfiguredDomain").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ConfiguredDomain {
    /// For a host.
    pub(crate) fn for_host(self) -> Domain {
        let domain = Domain::new(&self.name, &self.url);
        let domain = self.rules.into_iter().fold(domain, Domain::rule);
        self.options.iter().fold(domain, |domain, (key, value)| domain.option(key, value))
    }

    /// Opens its store, for a command that reads it.
    pub(crate) async fn open(&self, deadline: Deadline) -> Result<Arc<dyn Store>, Fail> {
        let options = StoreOptions { pairs: self.options.clone() };
        deadline.open(&self.url, &options).await
    }
}

fn usage(why: String) -> Fail {
    Fail::new(Failure::Usage, why)
}

impl DomainArguments {
    /// Everything that was configured.
    pub(crate) fn load(&self) -> Result<Configured, Fail> {
        let config = match &self.config {
            Some(path) => Config::read(path).map_err(usage)?,
            None => Config::default(),
        };
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        self.gather(config, variables.collect()).map_err(usage)
    }

    fn gather(
        &self,
        config: Config,
        variables: Vec<(String, String)>,
    ) -> Result<Configured, String> {
        let mut configured = config.configured()?;
        let domains = &mut configured.domains;
        for (name, url) in &self.urls {
            check_name(name)?;
            match domains.iter_mut().find(|domain| domain.name == *name) {
                Some(domain) => domain.url.clone_from(url),
                None => domains.push(ConfiguredDomain {
                    name: name.clone(),
                    url: url.clone(),
                    rules: Vec::new(),
                    options: Vec::new(),
                }),
            }
        }
        if let Some(domain) = domains.iter().find(|domain| domain.url.is_empty()) {
            let name = &domain.name;
            return Err(format!(
                "domain {name} has no URL: add url to its table, or --domain {name}=URL"
            ));
        }
        for (name, option) in &self.options {
            let domain = domains.iter_mut().find(|domain| domain.name == *name);
            let domain = domain.ok_or_else(|| {
                format!("--domain-option {name}.{}: there is no domain {name}", option.0)
            })?;
            domain.options.push(option.clone());
        }
        for (variable, value) in variables {
            let Some(rest) = variable.strip_prefix(VARIABLES) else { continue };
            // Of two domains a and a-b, A_B_… is of the latter.
            let of = |domain: &&mut ConfiguredDomain| {
                let name = variable_part(&domain.name);
                let option = rest.strip_prefix(&name)?.strip_prefix('_')?;
                Some((name.len(), option.to_ascii_lowercase()))
            };
            let longest =
                domains.iter_mut().filter_map(|domain| of(&domain).map(|it| (it, domain)));
            match longest.max_by_key(|((len, _), _)| *len) {
                Some(((_, option), domain)) => domain.options.push((option, value)),
                None => tracing::warn!(variable, "no configured domain has this name; ignored"),
            }
        }
        Ok(configured)
    }
}

/// A domain's name in an environment variable: `eu-west` is `EU_WEST`.
fn variable_part(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn named(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((HOME_NAME, _)) => Err("the home domain's URL is given with --store".to_owned()),
        Some((name, url)) if !url.is_empty() => {
            check_name(name)?;
            Ok((name.to_owned(), url.to_owned()))
        }
        _ => Err("write it as NAME=URL".to_owned()),
    }
}

fn option(text: &str) -> Result<(String, (String, String)), String> {
    let parts = text.split_once('=').and_then(|(path, value)| Some((path.split_once('.')?, value)));
    match parts {
        Some(((name, key), value)) if !key.is_empty() => {
            check_name(name)?;
            Ok((name.to_owned(), (key.to_owned(), value.to_owned())))
        }
        _ => Err("write it as NAME.KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [domain.home]
        kinds = ["counter"]

        [domain.acme]
        url = "s3://acme/holocron"
        kinds = ["order"]
        key_prefixes = ["acme/"]
        options = { region = "eu-west-1" }
    "#;

    fn gather(
        urls: &[&str],
        options: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Configured, String> {
        let arguments = DomainArguments {
            config: None,
            urls: urls.iter().map(|text| named(text).unwrap()).collect(),
            options: options.iter().map(|text| option(text).unwrap()).collect(),
        };
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        arguments.gather(Config::parse(FILE).unwrap(), variables.collect())
    }

    #[test]
    fn a_file_options_and_variables_add_up_and_later_ones_come_last() {
        let configured = gather(
            &["acme=s3://other/prefix", "archive=file:///archive"],
            &["acme.region=us-east-1"],
            &[("HOLOCRON_DOMAIN_ACME_AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_REGION", "x")],
        );
        let configured = configured.unwrap();
        assert_eq!(configured.home_rules, [Rule::Kind("counter".to_owned())]);
        let [acme, archive] = configured.domains.as_slice() else { panic!("{configured:?}") };
        assert_eq!((&*acme.name, &*acme.url), ("acme", "s3://other/prefix"));
        let rules = [Rule::Kind("order".to_owned()), Rule::KeyPrefix("acme/".to_owned())];
        assert_eq!(acme.rules, rules);
        let options =
            [("region", "eu-west-1"), ("region", "us-east-1"), ("aws_access_key_id", "AKIA")];
        let given: Vec<(&str, &str)> =
            acme.options.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(given, options);
        assert!(archive.rules.is_empty() && archive.options.is_empty());
    }

    #[test]
    fn a_variable_belongs_to_the_domain_with_the_longest_name() {
        let urls = ["a=file:///a", "a-b=file:///b"];
        let configured = gather(&urls, &[], &[("HOLOCRON_DOMAIN_A_B_REGION", "x")]).unwrap();
        let options = |name: &str| {
            let domain = configured.domains.iter().find(|domain| domain.name == name);
            domain.map(|domain| domain.options.clone()).unwrap()
        };
        assert!(options("a").is_empty());
        assert_eq!(options("a-b"), [("region".to_owned(), "x".to_owned())]);
    }

    #[test]
    fn mistakes_are_named_and_secrets_are_not() {
        for bad in ["acme", "acme=", "home=file:///x", "ACME=file:///x"] {
            assert!(named(bad).is_err(), "{bad}");
        }
        for bad in ["acme=x", "acme.=x", ".key=x"] {
            assert!(option(bad).is_err(), "{bad}");
        }
        let why = gather(&[], &["archive.region=x"], &[]).unwrap_err();
        assert!(why.contains("no domain archive"), "{why}");
        let configured = gather(&[], &["acme.aws_secret_access_key=hush"], &[]).unwrap();
        assert!(!format!("{configured:?}").contains("hush"));
    }
}
