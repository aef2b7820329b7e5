//! What the client for GCS does differently from the others, evened out: its endpoint and requests without signature.

use std::str::FromStr;

use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

/// The library's own name for any of a setting's names. Its name for an endpoint is `base_url`.
pub(super) fn canonical(name: &str) -> Option<String> {
    let name = if name == "endpoint" { "base_url" } else { name };
    Some(GoogleConfigKey::from_str(name).ok()?.as_ref().to_owned())
}

/// The builder with what it got wrong.
pub(super) fn corrected(mut builder: GoogleCloudStorageBuilder) -> GoogleCloudStorageBuilder {
    if let Some(url) = builder.get_config_value(&GoogleConfigKey::BaseUrl) {
        // Names are appended with a slash, and a bucket after two of them is none.
        builder = builder.with_base_url(url.trim_end_matches('/'));
    }
    if skips_signature(&builder) {
        // Writes ask for a token even so, and on most machines wait for a metadata service that isn't there.
        builder = builder.with_bearer_token("");
    }
    builder
}

fn skips_signature(builder: &GoogleCloudStorageBuilder) -> bool {
    // The value as it was given; what counts as a yes is the client's list.
    builder.get_config_value(&GoogleConfigKey::SkipSignature).is_some_and(|value| {
        ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str())
    })
}
