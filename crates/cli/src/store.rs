//! The store arguments of the command line.

use core::time::Duration;

use clap::Args;

use crate::tls::TlsArguments;

/// How long a store may take to answer at the start, so that an error is reported within 10 s.
pub(crate) const STORE_WITHIN: Duration = Duration::from_secs(8);

/// Which cluster, and how to reach its hosts.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
}

/// Which store, and how to reach it.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreArguments {
    /// The store all hosts share.
    #[arg(
        long = "store",
        value_name = "URL",
        env = "HOLOCRON_STORE",
        // The value may contain a secret by mistake, so help must not show it.
        hide_env_values = true,
        help = "The store all hosts share: file:///path, s3://bucket/prefix, gs://… or az://…"
    )]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) options: StoreOptions,
}

/// Options of the store's client.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct StoreOptions {
    /// An option of the store's client, such as endpoint, region or `allow_http`. Overrides environment variables. May
    /// be repeated.
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) pairs: Vec<(String, String)>,
}

pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_cut_at_its_first_equals_sign() {
        assert_eq!(pair("endpoint=http://h/?a=b"), Ok(("endpoint".into(), "http://h/?a=b".into())));
        assert!(pair("endpoint").is_err());
        assert!(pair("=x").is_err());
    }
}
