//! Differences of the GCS client, removed: the name of its endpoint, and requests without signature.

use std::str::FromStr;

use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

/// The library's own name for any name of a setting. It calls an endpoint `base_url`.
pub(super) fn canonical(name: &str) -> Option<String> {
    let name = if name == "endpoint" { "base_url" } else { name };
    Some(GoogleConfigKey::from_str(name).ok()?.as_ref().to_owned())
}

/// The builder with two mistakes of the library corrected.
pub(super) fn corrected(mut builder: GoogleCloudStorageBuilder) -> GoogleCloudStorageBuilder {
    if let Some(url) = builder.get_config_value(&GoogleConfigKey::BaseUrl) {
        // The client appends names with a slash; with a second slash the server doesn't find the bucket.
        builder = builder.with_base_url(url.trim_end_matches('/'));
    }
    if skips_signature(&builder) {
        // Writes ask for a token anyway, and on most machines wait for a metadata service that doesn't exist.
        builder = builder.with_bearer_token("");
    }
    builder
}

fn skips_signature(builder: &GoogleCloudStorageBuilder) -> bool {
    // The value as given; these are the values that the client reads as true.
    builder.get_config_value(&GoogleConfigKey::SkipSignature).is_some_and(|value| {
        ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str())
    })
}
