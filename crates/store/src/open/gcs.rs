//! What the client for GCS does differently from the others, evened out: its endpoint and requests without signature.

use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use url::Url;

/// The options, with the name that this client has for an endpoint.
pub(super) fn options(given: &[(String, String)]) -> Vec<(String, String)> {
    let renamed = |name: &str| {
        let name = if name.eq_ignore_ascii_case("endpoint") { "base_url" } else { name };
        name.to_owned()
    };
    given.iter().map(|(name, value)| (renamed(name), value.clone())).collect()
}

/// The builder with what it got wrong; or what is wrong with the endpoint, on which the client would panic.
pub(super) fn corrected(
    mut builder: GoogleCloudStorageBuilder,
) -> Result<GoogleCloudStorageBuilder, String> {
    if let Some(given) = builder.get_config_value(&GoogleConfigKey::BaseUrl) {
        // Names are appended with a slash, and a bucket after two of them is none.
        let endpoint = given.trim_end_matches('/');
        let is_usable = Url::parse(endpoint)
            .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        if !is_usable {
            return Err("the endpoint must be a URL such as http://127.0.0.1:4443".to_owned());
        }
        builder = builder.with_base_url(endpoint);
    }
    if skips_signature(&builder) {
        // Writes ask for a token even so, and on most machines wait for a metadata service that isn't there.
        builder = builder.with_bearer_token("");
    }
    Ok(builder)
}

fn skips_signature(builder: &GoogleCloudStorageBuilder) -> bool {
    // The value as it was given; what counts as a yes is the client's list.
    builder.get_config_value(&GoogleConfigKey::SkipSignature).is_some_and(|value| {
        ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str())
    })
}
