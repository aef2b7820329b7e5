//! The settings of a cloud client: their sources, their names, and the form of each value.
//!
//! Invariants:
//!
//! * Options override variables, also if they use different names of one setting.
//! * Every value is checked before a client sees it, and an error names the option or the variable.

use std::collections::BTreeMap;

use super::place::Provider;
use super::shape::{Shape, is_on};

/// A setting's value, and where it was given.
#[derive(Clone)]
struct Setting {
    /// `option endpoint`, `variable AWS_ENDPOINT_URL`.
    origin: String,
    value: String,
}

/// All settings of one client, by the client library's name of each.
pub(super) struct Settings {
    provider: Provider,
    given: BTreeMap<String, Setting>,
}

/// A setting that can't be used: which, and why.
#[derive(Debug)]
pub(super) struct Unusable {
    pub(super) setting: String,
    pub(super) why: String,
}

impl Settings {
    /// Gathers and checks options and environment. `canonical` returns the library's own name for any name of a
    /// setting.
    pub(super) fn gather(
        provider: Provider,
        options: &[(String, String)],
        environment: impl Iterator<Item = (String, String)>,
        canonical: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Unusable> {
        let mut given = BTreeMap::new();
        for (name, value) in environment {
            // Variables of other programs share the prefix, so unknown and empty ones are ignored. A variable that
            // names a bucket is ignored too, because the URL names ours.
            let is_ours = name.starts_with(variables(provider)) && !value.is_empty();
            let Some(key) = canonical(&name.to_ascii_lowercase()).filter(|_| is_ours) else {
                continue;
            };
            if !matches!(shape(provider, &key), Shape::Never(_)) {
                given.insert(key, Setting { origin: format!("variable {name}"), value });
            }
        }
        for (name, value) in options {
            let Some(key) = canonical(&name.to_ascii_lowercase()) else {
                return Err(Unusable {
                    setting: format!("option {name}"),
                    why: unknown(provider, name),
                });
            };
            // In the library this variable would override the option.
            if key == "aws_endpoint" {
                given.remove("aws_endpoint_url_s3");
            }
            given.insert(key, Setting { origin: format!("option {name}"), value: value.clone() });
        }
        let settings = Self { provider, given };
        settings.check()?;
        Ok(settings)
    }

    /// The library's names, and the values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|(key, setting)| (key.as_str(), setting.value.as_str()))
    }

    /// The origins of all settings, for an error that may be about any of them.
    pub(super) fn origins(&self) -> String {
        let origins: Vec<_> = self.given.values().map(|setting| setting.origin.as_str()).collect();
        if origins.is_empty() { "nothing".to_owned() } else { origins.join(", ") }
    }

    fn check(&self) -> Result<(), Unusable> {
        for (key, setting) in &self.given {
            shape(self.provider, key)
                .check(&setting.value)
                .map_err(|why| Unusable { setting: setting.origin.clone(), why })?;
        }
        let is_set = |key: &str| self.given.get(key).is_some_and(|setting| is_on(&setting.value));
        for key in
            ["aws_endpoint", "aws_endpoint_url_s3", "google_base_url", "azure_storage_endpoint"]
        {
            let Some(endpoint) = self.given.get(key) else { continue };
            if endpoint.value.starts_with("http://") && !is_set("allow_http") {
                let why = "http:// sends everything unencrypted; if that is meant, add --option allow_http=true, else \
                           write https://";
                return Err(Unusable { setting: endpoint.origin.clone(), why: why.to_owned() });
            }
        }
        if is_set("http1_only") && is_set("http2_only") {
            let why = "http1_only and http2_only exclude each other; leave one out";
            return Err(Unusable {
                setting: self.given["http1_only"].origin.clone(),
                why: why.to_owned(),
            });
        }
        self.check_account()
    }

    /// The key of a service account may name the server. The client uses that name unchecked, so it is checked here.
    fn check_account(&self) -> Result<(), Unusable> {
        if self.given.contains_key("google_base_url") {
            return Ok(());
        }
        for key in ["google_service_account", "google_service_account_key"] {
            let Some(Setting { origin, value }) = self.given.get(key) else { continue };
            let content = if key.ends_with("key") {
                value.clone()
            } else {
                // If the file can't be read, the client reports it.
                std::fs::read_to_string(value).unwrap_or_default()
            };
            let named =
                content.split_once("\"gcs_base_url\"").and_then(|(_, rest)| rest.split('"').nth(1));
            if let Some(Err(why)) = named.map(|named| Shape::Server.check(named)) {
                let why = format!("its gcs_base_url can't be used: {why}");
                return Err(Unusable { setting: origin.clone(), why });
            }
        }
        Ok(())
    }
}

/// The prefix of the variables of a cloud's tools.
pub(super) const fn variables(provider: Provider) -> &'static str {
    match provider {
        Provider::S3 => "AWS_",
        Provider::Gcs => "GOOGLE_",
        Provider::Azure => "AZURE_",
    }
}

fn unknown(provider: Provider, name: &str) -> String {
    match (provider, name.to_ascii_lowercase().as_str()) {
        (Provider::S3 | Provider::Azure, "base_url") => {
            "unknown option; give the server in endpoint".to_owned()
        }
        _ => "unknown option; docs/operating.md lists the options of each store".to_owned(),
    }
}

/// The form of a setting's value.
pub(super) fn shape(provider: Provider, key: &str) -> Shape {
    let of_cloud = match provider {
        Provider::S3 => S3,
        Provider::Gcs => GCS,
        Provider::Azure => AZURE,
    };
    let known = of_cloud.iter().chain(CLIENT).find(|(name, _)| *name == key);
    // A setting of a newer library: accept any text that a header can carry.
    known.map_or(Shape::Secret, |(_, shape)| *shape)
}

const IN_THE_URL: Shape = Shape::Never("the URL names it; leave the option out");
const WAIT: Shape = Shape::Wait;

/// The settings of every client.
pub(super) const CLIENT: &[(&str, Shape)] = &[
    ("allow_http", Shape::Switch),
    ("allow_invalid_certificates", Shape::Switch),
    ("connect_timeout", WAIT),
    ("default_content_type", Shape::Word(&["application/octet-stream", "binary/octet-stream"])),
    ("disable_system_certificates", Shape::Switch),
    ("http1_only", Shape::Switch),
    ("http2_keep_alive_interval", WAIT),
    ("http2_keep_alive_timeout", WAIT),
    ("http2_keep_alive_while_idle", Shape::Switch),
    // The limits of the protocol.
    ("http2_max_frame_size", Shape::Count(16_384, 16_777_215)),
    ("http2_only", Shape::Switch),
    ("pool_idle_timeout", WAIT),
    ("pool_max_idle_per_host", Shape::Count(0, 10_000)),
    ("proxy_ca_certificate", Shape::Content),
    ("proxy_excludes", Shape::Text),
    ("proxy_url", Shape::Proxy),
    ("randomize_addresses", Shape::Switch),
    ("read_timeout", WAIT),
    ("timeout", WAIT),
    ("user_agent", Shape::Text),
];

pub(super) const S3: &[(&str, Shape)] = &[
    ("aws_access_key_id", Shape::Text),
    ("aws_bucket", IN_THE_URL),
    ("aws_checksum_algorithm", Shape::Word(&["sha256", "crc64nvme"])),
    ("aws_conditional_put", Shape::Word(&["etag"])),
    ("aws_container_authorization_token_file", Shape::File),
    ("aws_container_credentials_full_uri", Shape::Server),
    ("aws_container_credentials_relative_uri", Shape::UrlPath),
    ("aws_copy_if_not_exists", Shape::Never("nothing is ever copied; leave the option out")),
    ("aws_default_region", Shape::Label),
    ("aws_disable_bulk_delete", Shape::Switch),
    ("aws_disable_tagging", Shape::Switch),
    ("aws_endpoint", Shape::Server),
    ("aws_endpoint_url_s3", Shape::Server),
    ("aws_endpoint_url_sts", Shape::Server),
    ("aws_imdsv1_fallback", Shape::Switch),
    ("aws_metadata_endpoint", Shape::Server),
    ("aws_region", Shape::Label),
    ("aws_request_payer", Shape::Word(&["requester", "true", "false"])),
    ("aws_role_arn", Shape::Text),
    ("aws_role_session_name", Shape::Text),
    ("aws_s3_express", Shape::Switch),
    ("aws_secret_access_key", Shape::Secret),
    ("aws_server_side_encryption", Shape::Word(&["AES256", "aws:kms", "aws:kms:dsse", "sse-c"])),
    ("aws_session_token", Shape::Secret),
    ("aws_skip_signature", Shape::Switch),
    ("aws_sse_bucket_key_enabled", Shape::Switch),
    ("aws_sse_customer_key_base64", Shape::Key256),
    ("aws_sse_kms_key_id", Shape::Text),
    ("aws_unsigned_payload", Shape::Switch),
    ("aws_virtual_hosted_style_request", Shape::Switch),
    ("aws_web_identity_token_file", Shape::File),
];

pub(super) const GCS: &[(&str, Shape)] = &[
    ("google_application_credentials", Shape::File),
    ("google_base_url", Shape::Server),
    ("google_bearer_token", Shape::Secret),
    ("google_bucket", IN_THE_URL),
    ("google_service_account", Shape::File),
    ("google_service_account_key", Shape::Content),
    ("google_skip_signature", Shape::Switch),
];

pub(super) const AZURE: &[(&str, Shape)] = &[
    ("azure_container_name", IN_THE_URL),
    (
        "azure_credential_type",
        Shape::Word(&[
            "auto",
            "access_key",
            "azure_cli",
            "bearer_token",
            "client_secret",
            "managed_identity",
            "sas_token",
            "workload_identity",
        ]),
    ),
    ("azure_disable_tagging", Shape::Switch),
    ("azure_fabric_cluster_identifier", Shape::Text),
    ("azure_fabric_session_token", Shape::Secret),
    ("azure_fabric_token_service_url", Shape::Server),
    ("azure_fabric_workload_host", Shape::Text),
    ("azure_federated_token_file", Shape::File),
    ("azure_msi_endpoint", Shape::Server),
    ("azure_msi_resource_id", Shape::Text),
    ("azure_object_id", Shape::Text),
    ("azure_skip_signature", Shape::Switch),
    ("azure_storage_account_key", Shape::Base64),
    ("azure_storage_account_name", Shape::Label),
    ("azure_storage_authority_host", Shape::Server),
    ("azure_storage_client_id", Shape::Text),
    ("azure_storage_client_secret", Shape::Secret),
    ("azure_storage_encryption_key", Shape::Key256),
    ("azure_storage_endpoint", Shape::Server),
    ("azure_storage_sas_key", Shape::Secret),
    ("azure_storage_tenant_id", Shape::Label),
    ("azure_storage_token", Shape::Secret),
    ("azure_storage_use_emulator", Shape::Switch),
    ("azure_use_azure_cli", Shape::Switch),
    ("azure_use_fabric_endpoint", Shape::Switch),
];
