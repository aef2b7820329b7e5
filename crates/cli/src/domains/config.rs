//! The configuration file: the settings of a host (`settings_file.rs`), and the domains.
//!
//! ```toml
//! [host]
//! store = "s3://bucket/holocron"
//!
//! [domain.acme]
//! url = "s3://acme-data/holocron"
//! kinds = ["order", "invoice"]
//! key_prefixes = ["acme/"]
//! options = { aws_access_key_id = "AKIA…" }
//! ```

use std::{collections::BTreeMap, path::Path};

use holocron::Rule;
use holocron_protocol::epoch::domain::{HOME_NAME, check_name, check_rules};
use serde::Deserialize;
use toml::Spanned;

use super::{Configured, ConfiguredDomain};

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Options of the command line, by their long names.
    #[serde(default)]
    pub(crate) host: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    #[serde(default)]
    domain: BTreeMap<String, Table>,
}

/// `[domain.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    url: String,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    key_prefixes: Vec<String>,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

impl Table {
    fn rules(&self) -> Vec<Rule> {
        let kinds = self.kinds.iter().cloned().map(Rule::Kind);
        kinds.chain(self.key_prefixes.iter().cloned().map(Rule::KeyPrefix)).collect()
    }
}

impl Config {
    /// Reads a file. The error names the file and the line.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = text(path)?;
        Self::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            // Without the line itself: it may contain a secret.
            let line = error.span().map(|span| format!("line {}: ", line_of(text, span.start)));
            let line = line.unwrap_or_default();
            format!("{line}{}", error.message())
        })
    }

    pub(super) fn configured(self) -> Result<Configured, String> {
        let mut configured = Configured::default();
        for (name, table) in self.domain {
            let rules = table.rules();
            check_rules(&rules).map_err(|why| format!("domain {name}: {why}"))?;
            if name == HOME_NAME {
                if !table.url.is_empty() || !table.options.is_empty() {
                    return Err(
                        "domain home: its URL and options are given with --store and --option"
                            .to_owned(),
                    );
                }
                configured.home_rules = rules;
                continue;
            }
            check_name(&name)?;
            let options = table.options.into_iter().collect();
            configured.domains.push(ConfiguredDomain { name, url: table.url, rules, options });
        }
        Ok(configured)
    }
}

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("{}: can't be read: {error}", path.display()))
}

/// The number of the line that a byte is in, from 1 on.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_without_its_value() {
        let text = "[domain.acme]\nurl = \"s3://a\"\nkey_prefix = \"hush\"\n";
        let why = Config::parse(text).unwrap_err();
        assert!(why.starts_with("line 3: ") && why.contains("key_prefix"), "{why}");
        assert!(!why.contains("hush"), "{why}");
        let why = Config::parse("[domains.acme]\n").unwrap_err();
        assert!(why.contains("domains"), "{why}");
    }

    #[test]
    fn the_home_domain_has_rules_only() {
        let home = Config::parse("[domain.home]\nkinds = [\"a\"]\n").unwrap().configured().unwrap();
        assert_eq!(home.home_rules, [Rule::Kind("a".to_owned())]);
        let with_url = Config::parse("[domain.home]\nurl = \"file:///x\"\n").unwrap();
        assert!(with_url.configured().unwrap_err().contains("--store"));
        let bad_name = Config::parse("[domain.ACME]\nurl = \"file:///x\"\n").unwrap();
        assert!(bad_name.configured().unwrap_err().contains("ACME"));
    }
}
