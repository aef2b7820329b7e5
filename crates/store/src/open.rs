//! From a URL to a store.

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

/// No request lasts longer than this, even where nobody waits for it any more.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A host that doesn't take the connection in this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections idle for longer are closed by us: servers close theirs after 20 s or more, and a request that meets
/// the closing costs two more to find out what became of it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Where Azure's emulator is, if not at its usual place. The client's library reads it.
const EMULATOR_URL: &str = "AZURITE_BLOB_STORAGE_URL";

/// Why a URL and its options don't make a store. No secret is in it: a URL is shown without user part, query and
/// fragment, an option's value only where none can be in it.
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
    /// An option isn't known to this kind of store, or it or a variable has a value that can't be used.
    #[error("{url}: {setting}: {why}")]
    Setting {
        /// The URL.
        url: String,
        /// Which: `option endpoint`, `variable AWS_REGION`.
        setting: String,
        /// What is wrong with it, and what a right value looks like.
        why: String,
    },
    /// The store can't be set up: a missing account, settings that don't go together, a directory that isn't there.
    #[error("{url}: can't be opened")]
    Setup {
        /// The URL.
        url: String,
        /// What the client library or the file system says.
        source: BoxError,
    },
}

/// Opens the store at `url`; all keys are below its path. Makes nothing: a directory must be there.
///
/// * `file:///path`: a directory; every write is synced.
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
    open_with(url, options, Directory::open)
}

/// The same for whoever may found a cluster there: a directory that isn't there is made, if the one above it is.
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
    // Objects are deleted one by one; the bulk request is not everywhere.
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

/// What the client's library finds wrong with settings that are well-formed one by one.
fn unbuilt(url: &str, settings: &Settings, error: &object_store::Error) -> OpenError {
    let why = crate::explain(error);
    setup(url, format!("{why} (given: {})", settings.origins()))
}

fn setup(url: &str, source: impl Into<BoxError>) -> OpenError {
    OpenError::Setup { url: redacted(url), source: source.into() }
}

#[cfg(test)]
mod tests;
