//! From a URL to a store.

mod gcs;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::cloud::Cloud;
use crate::directory::Directory;
use crate::error::BoxError;
use crate::key::key_is_legal;
use crate::memory::Memory;
use crate::store::Store;

/// No request lasts longer than this, even where nobody waits for it any more.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A host that doesn't take the connection in this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections idle for longer are closed by us: servers close theirs after 20 s or more, and a request that meets
/// the closing costs two more to find out what became of it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a URL and its options don't make a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL can't be used.
    #[error("{url}: {why}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// An option isn't known to this kind of store.
    #[error("{url}: unknown option {option}")]
    Option {
        /// The URL as given.
        url: String,
        /// The option's name.
        option: String,
    },
    /// The store can't be set up: a missing account, a malformed setting, a directory that can't be made.
    #[error("{url}: can't be opened")]
    Setup {
        /// The URL as given.
        url: String,
        /// What the client library or the file system says.
        source: BoxError,
    },
}

/// Opens the store at `url`; all keys are below its path.
///
/// * `file:///path`: a directory, created if need be; every write is synced.
/// * `memory://`: a fresh store in memory each time.
/// * `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, configured by the usual `AWS_`, `GOOGLE_` and
///   `AZURE_` environment variables and, over them, `options` (names as in `object_store`: `allow_http`, `region` and so
///   on; `endpoint` for each of them).
///
/// Says nothing about whether the store answers: [`probe`](crate::probe()) does.
///
/// # Errors
///
/// One sentence on what is wrong with the URL, an option or the setup.
pub fn open(url: &str, options: &[(String, String)]) -> Result<Arc<dyn Store>, OpenError> {
    let parsed = Url::parse(url).map_err(|error| bad_url(url, error.to_string()))?;
    match parsed.scheme() {
        "memory" => {
            no_options(url, options)?;
            Ok(Arc::new(Memory::new()))
        }
        "file" => {
            no_options(url, options)?;
            let path = parsed.to_file_path().map_err(|()| {
                bad_url(url, "a directory needs an absolute path: file:///path".to_owned())
            })?;
            let directory = Directory::open(&path).map_err(|error| setup(url, error))?;
            Ok(Arc::new(directory))
        }
        scheme @ ("s3" | "s3a" | "gs" | "az" | "azure" | "adl" | "abfs" | "abfss") => {
            if parsed.host_str().is_none_or(str::is_empty) {
                return Err(bad_url(url, format!("a bucket is missing: {scheme}://bucket/prefix")));
            }
            let prefix = prefix(url, &parsed)?;
            let client: Box<dyn ObjectStore> = match scheme {
                "s3" | "s3a" => Box::new(s3(url, options)?),
                "gs" => Box::new(gcs(url, options)?),
                _ => Box::new(azure(url, options)?),
            };
            Ok(Arc::new(Cloud::new(client, prefix)))
        }
        scheme => Err(bad_url(url, format!("{scheme} is none of file, memory, s3, gs, az"))),
    }
}

/// The builders of `object_store` share their shape but no trait.
macro_rules! configured {
    ($builder:ty, $environment:literal, $url:expr, $options:expr) => {{
        let mut builder =
            <$builder>::new().with_url($url).with_client_options(client()).with_retry(no_retries());
        for (name, value) in environment($environment) {
            // Other programs' variables share the prefix: unknown ones are not ours to judge.
            if let Ok(key) = FromStr::from_str(&name) {
                builder = builder.with_config(key, value);
            }
        }
        for (name, value) in $options {
            let Ok(key) = FromStr::from_str(&name.to_ascii_lowercase()) else {
                return Err(OpenError::Option { url: $url.to_owned(), option: name.clone() });
            };
            builder = builder.with_config(key, value);
        }
        builder
    }};
}

fn s3(url: &str, options: &[(String, String)]) -> Result<impl ObjectStore, OpenError> {
    // Objects are deleted one by one; the bulk request is not everywhere.
    let builder = configured!(AmazonS3Builder, "AWS_", url, options).with_disable_bulk_delete(true);
    builder.build().map_err(|error| setup(url, error))
}

fn gcs(url: &str, options: &[(String, String)]) -> Result<impl ObjectStore, OpenError> {
    let options = &gcs::options(options);
    gcs::corrected(configured!(GoogleCloudStorageBuilder, "GOOGLE_", url, options))
        .map_err(|why| bad_url(url, why))?
        .build()
        .map_err(|error| setup(url, error))
}

fn azure(url: &str, options: &[(String, String)]) -> Result<impl ObjectStore, OpenError> {
    configured!(MicrosoftAzureBuilder, "AZURE_", url, options)
        .build()
        .map_err(|error| setup(url, error))
}

fn client() -> ClientOptions {
    ClientOptions::new()
        .with_timeout(REQUEST_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_pool_idle_timeout(IDLE_TIMEOUT)
}

fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, retry_timeout: REQUEST_TIMEOUT, ..RetryConfig::default() }
}

/// The variables that start with `prefix`, their names in lower case.
fn environment(prefix: &str) -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(move |(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(prefix))?;
        Some((name.to_ascii_lowercase(), value.into_string().ok()?))
    })
}

/// The URL's path as the prefix of all keys.
fn prefix(url: &str, parsed: &Url) -> Result<String, OpenError> {
    let path = parsed.path().trim_matches('/');
    if path.contains('%') {
        let why = "a prefix with escapes would not be what it looks like";
        return Err(bad_url(url, why.to_owned()));
    }
    if path.is_empty() || key_is_legal(path) {
        Ok(path.to_owned())
    } else {
        Err(bad_url(
            url,
            "the prefix may have letters, digits and -_.~= between single slashes".to_owned(),
        ))
    }
}

fn no_options(url: &str, options: &[(String, String)]) -> Result<(), OpenError> {
    match options.first() {
        None => Ok(()),
        Some((option, _)) => Err(OpenError::Option { url: url.to_owned(), option: option.clone() }),
    }
}

fn bad_url(url: &str, why: String) -> OpenError {
    OpenError::Url { url: url.to_owned(), why }
}

fn setup(url: &str, source: impl Into<BoxError>) -> OpenError {
    OpenError::Setup { url: url.to_owned(), source: source.into() }
}
