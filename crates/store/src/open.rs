//! Opening a store from its URL and options.

mod gcs;
mod place;
mod settings;
mod shape;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use crate::cloud::{Cloud, Wire};
use crate::directory::Directory;
use crate::error::BoxError;
use crate::memory::Memory;
use crate::store::Store;
use place::{Place, Provider, redacted};
use settings::{Settings, Unusable};
use shape::{Shape, is_on};

/// No request lasts longer than this, even if its caller gave up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A server that doesn't accept a connection in this time is unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// We close connections that are idle for longer. Servers close theirs after 20 s or more, and a request that meets the
/// closing costs two more requests to find its outcome.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The variable with the address of Azure's emulator, if that isn't the default. The client library reads it.
const EMULATOR_URL: &str = "AZURITE_BLOB_STORAGE_URL";

/// Why a store can't be opened. It contains no secret: a URL is shown without user part, query and fragment, and an
/// option's value only if it can't be a secret.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL can't be used.
    #[error("{url}: {why}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// An option is unknown to this kind of store, or an option or variable has an invalid value.
    #[error("{url}: {setting}: {why}")]
    Setting {
        /// The URL.
        url: String,
        /// Its origin and name: `option endpoint`, `variable AWS_REGION`.
        setting: String,
        /// What is wrong with it, and what a valid value looks like.
        why: String,
    },
    /// The store can't be set up: a missing account, settings that contradict each other, a missing directory.
    #[error("{url}: can't be opened")]
    Setup {
        /// The URL.
        url: String,
        /// What the client library or the file system says.
        source: BoxError,
    },
}

/// Opens the store at `url`; all keys are below its path. Creates nothing: a directory must exist.
///
/// * `file:///path`: a directory; every write is synced.
/// * `memory://`: a fresh store in memory each time.
/// * `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, configured by the usual `AWS_`, `GOOGLE_` and
///   `AZURE_` environment variables and by `options`, which override them (names as in `object_store`: `allow_http`,
///   `region` and so on; `endpoint` for all three).
///
/// Doesn't check whether the store answers: [`probe`](crate::probe()) does.
///
/// # Errors
///
/// What is wrong with the URL, an option or the setup, in one sentence.
pub fn open(url: &str, options: &[(String, String)]) -> Result<Arc<dyn Store>, OpenError> {
    open_with(url, options, Directory::open)
}

/// Like [`open`], for a host that may found a cluster: creates a missing directory if its parent exists.
///
/// # Errors
///
/// As for [`open`].
pub fn open_or_make(url: &str, options: &[(String, String)]) -> Result<Arc<dyn Store>, OpenError> {
    open_with(url, options, Directory::make)
}

fn open_with(
    url: &str,
    options: &[(String, String)],
    directory: impl FnOnce(&Path) -> std::io::Result<Directory>,
) -> Result<Arc<dyn Store>, OpenError> {
    let place = Place::of(url).map_err(|why| OpenError::Url { url: redacted(url), why })?;
    if let (Place::Memory | Place::Directory(_), Some((option, _))) = (&place, options.first()) {
        let why = "this kind of store has no options".to_owned();
        return Err(OpenError::Setting {
            url: redacted(url),
            setting: format!("option {option}"),
            why,
        });
    }
    match place {
        Place::Memory => Ok(Arc::new(Memory::new())),
        Place::Directory(path) => {
            let opened = directory(&path).map_err(|error| setup(url, error))?;
            Ok(Arc::new(opened))
        }
        Place::Bucket { provider, prefix } => {
            let client: Box<dyn ObjectStore> = match provider {
                Provider::S3 => Box::new(s3(url, options)?),
                Provider::Gcs => Box::new(gcs(url, options)?),
                Provider::Azure => Box::new(azure(url, options)?),
            };
            Ok(Arc::new(Cloud::new(client, prefix)))
        }
    }
}

/// The builders of `object_store` share their shape but no trait.
macro_rules! configured {
    ($builder:ty, $key:ty, $url:expr, $settings:expr) => {{
        let builder = <$builder>::new()
            .with_url($url)
            .with_client_options(client())
            .with_retry(no_retries())
            .with_http_connector(Wire);
        $settings.iter().fold(builder, |builder, (name, value)| {
            let key = <$key>::from_str(name).expect("it is the library's own name");
            builder.with_config(key, value)
        })
    }};
}

fn s3(url: &str, options: &[(String, String)]) -> Result<impl ObjectStore + use<>, OpenError> {
    let canonical = |name: &str| Some(AmazonS3ConfigKey::from_str(name).ok()?.as_ref().to_owned());
    let settings = gather(url, Provider::S3, options, canonical)?;
    // Objects are deleted one by one; not every server has the bulk request.
    let builder = configured!(AmazonS3Builder, AmazonS3ConfigKey, url, settings)
        .with_disable_bulk_delete(true);
    builder.build().map_err(|error| unbuilt(url, &settings, &error))
}

fn gcs(url: &str, options: &[(String, String)]) -> Result<impl ObjectStore + use<>, OpenError> {
    let settings = gather(url, Provider::Gcs, options, gcs::canonical)?;
    gcs::corrected(configured!(GoogleCloudStorageBuilder, GoogleConfigKey, url, settings))
        .build()
        .map_err(|error| unbuilt(url, &settings, &error))
}

fn azure(url: &str, options: &[(String, String)]) -> Result<impl ObjectStore + use<>, OpenError> {
    let canonical = |name: &str| Some(AzureConfigKey::from_str(name).ok()?.as_ref().to_owned());
    let settings = gather(url, Provider::Azure, options, canonical)?;
    let with_emulator =
        settings.iter().any(|(key, value)| key == "azure_storage_use_emulator" && is_on(value));
    if let Some(value) = std::env::var_os(EMULATOR_URL).filter(|_| with_emulator) {
        let setting = format!("variable {EMULATOR_URL}");
        Shape::Server
            .check(&value.to_string_lossy())
            .map_err(|why| unusable(url, Unusable { setting, why }))?;
    }
    configured!(MicrosoftAzureBuilder, AzureConfigKey, url, settings)
        .build()
        .map_err(|error| unbuilt(url, &settings, &error))
}

fn gather(
    url: &str,
    provider: Provider,
    options: &[(String, String)],
    canonical: impl Fn(&str) -> Option<String>,
) -> Result<Settings, OpenError> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    });
    Settings::gather(provider, options, variables, canonical).map_err(|found| unusable(url, found))
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

fn unusable(url: &str, Unusable { setting, why }: Unusable) -> OpenError {
    OpenError::Setting { url: redacted(url), setting, why }
}

/// An error of the client library about settings that are valid one by one.
fn unbuilt(url: &str, settings: &Settings, error: &object_store::Error) -> OpenError {
    let why = crate::explain(error);
    setup(url, format!("{why} (given: {})", settings.origins()))
}

fn setup(url: &str, source: impl Into<BoxError>) -> OpenError {
    OpenError::Setup { url: redacted(url), source: source.into() }
}

#[cfg(test)]
mod tests;
