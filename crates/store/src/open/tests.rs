//! Every option and variable of every store, with every kind of value: no panic, and an error that names it.

use std::collections::BTreeSet;
use std::time::Duration;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

use super::settings::{AZURE, CLIENT, GCS, S3};
use super::shape::Shape;
use super::*;
use crate::error::{Error, explain};

/// The settings that each store needs besides the one under test. No server listens at port 1.
fn complete(provider: Provider) -> (&'static str, Vec<(String, String)>) {
    let (url, options): (_, &[(&str, &str)]) = match provider {
        Provider::S3 => (
            "s3://bucket/p",
            &[
                ("aws_endpoint", "http://127.0.0.1:1"),
                ("aws_access_key_id", "id"),
                ("aws_secret_access_key", "key"),
            ],
        ),
        Provider::Gcs => (
            "gs://bucket/p",
            &[("google_base_url", "http://127.0.0.1:1"), ("google_bearer_token", "t")],
        ),
        Provider::Azure => (
            "az://container/p",
            &[
                ("azure_storage_endpoint", "http://127.0.0.1:1"),
                ("azure_storage_account_name", "me"),
                ("azure_storage_account_key", "a2V5a2V5"),
            ],
        ),
    };
    let mut options: Vec<_> =
        options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    options.push(("allow_http".to_owned(), "true".to_owned()));
    (url, options)
}

fn table(provider: Provider) -> impl Iterator<Item = &'static (&'static str, Shape)> {
    let own = match provider {
        Provider::S3 => S3,
        Provider::Gcs => GCS,
        Provider::Azure => AZURE,
    };
    own.iter().chain(CLIENT)
}

fn values() -> Vec<String> {
    let huge = [1 << 10, 17 << 10, 1 << 20].map(|len| "x".repeat(len));
    let odd = [
        "",
        " ",
        "\n",
        "\0",
        "ä\u{1f600}",
        "minio",
        "127.0.0.1:9000",
        "localhost:9000",
        "http://",
        "http://[",
        "http://h h",
        "http://127.0.0.1:1",
        "http://127.0.0.1:1/%zz",
        "https://127.0.0.1:1",
        "https://127.0.0.1:1/?",
        "://",
        "/",
        "..",
        "a\r\nb: c",
        "true",
        "off",
        "0",
        "-1",
        "1",
        "16384",
        "99999999999999999999",
        "18446744073709551615",
        "0s",
        "1ns",
        "30s",
        "584942417355years",
        "etag",
        "disabled",
        "auto",
        "sas_token",
        "azure_cli",
        "managed_identity",
        "workload_identity",
        "client_secret",
        "access_key",
        "bearer_token",
        "AES256",
        "aws:kms",
        "sse-c",
        "sv=1&sig=%ff",
        "{}",
        "{\"gcs_base_url\":\"minio\",\"disable_oauth\":true,\"private_key\":\"\",\"private_key_id\":\"\",\"client_email\":\"\"}",
        "-----BEGIN CERTIFICATE-----",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "/etc/hostname",
        "/not/there",
    ];
    odd.iter().map(|value| (*value).to_owned()).chain(huge).collect()
}

#[test]
fn the_tables_have_every_setting_the_client_knows_under_its_own_name() {
    for (name, _) in S3.iter().chain(CLIENT) {
        assert_eq!(
            AmazonS3ConfigKey::from_str(name).map(|key| key.as_ref().to_owned()).ok().as_deref(),
            Some(*name)
        );
    }
    for (name, _) in GCS.iter().chain(CLIENT) {
        assert_eq!(
            GoogleConfigKey::from_str(name).map(|key| key.as_ref().to_owned()).ok().as_deref(),
            Some(*name)
        );
    }
    for (name, _) in AZURE.iter().chain(CLIENT) {
        assert_eq!(
            AzureConfigKey::from_str(name).map(|key| key.as_ref().to_owned()).ok().as_deref(),
            Some(*name)
        );
    }
    for provider in [Provider::S3, Provider::Gcs, Provider::Azure] {
        let names: BTreeSet<_> = table(provider).map(|(name, _)| name).collect();
        assert_eq!(names.len(), table(provider).count(), "none twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_any_option_panics_and_what_is_refused_is_named() {
    let mut refused = 0;
    let mut asked = 0;
    for provider in [Provider::S3, Provider::Gcs, Provider::Azure] {
        // The client's own settings are handled the same in all three.
        let own = table(provider).count() - if provider == Provider::S3 { 0 } else { CLIENT.len() };
        for (name, shape) in table(provider).take(own) {
            for value in values() {
                // Also without other credentials, if that makes a difference.
                let ways: &[bool] = if CLIENT.iter().any(|(client, _)| client == name) {
                    &[false]
                } else {
                    &[false, true]
                };
                for &alone in ways {
                    let (url, mut options) = complete(provider);
                    if alone {
                        // Without credentials of another kind, so that this kind is used.
                        options.retain(|(name, _)| {
                            !["key", "token", "key_id"].iter().any(|end| name.ends_with(end))
                        });
                    }
                    options.retain(|(given, _)| given != name);
                    options.push(((*name).to_owned(), value.clone()));
                    let short: String = value.chars().take(40).collect();
                    match open(url, &options) {
                        Err(error) => {
                            refused += 1;
                            let said = explain(&error);
                            assert!(said.contains(name), "{name}={short:?}: {said}");
                            assert!(said.len() < 2_500, "{name}={short:?}: {said}");
                            let shown = format!("{error:?}").contains(&"x".repeat(200));
                            assert!(!shown || *shape == Shape::File, "{name}={short:?}: {error:?}");
                        }
                        Ok(store) => {
                            asked += 1;
                            // In a task, so that a panic is a join error. No answer is fine.
                            let asking = tokio::spawn(async move {
                                let ask = async {
                                    let got = store.get("a/b").await.map(|_| ());
                                    let put = store.create("a/b", "x".into()).await;
                                    (got, put, store.list("a").await.map(|_| ()))
                                };
                                tokio::time::timeout(Duration::from_millis(15), ask).await
                            });
                            let answered = asking
                                .await
                                .unwrap_or_else(|panic| panic!("{name}={short:?}: {panic}"));
                            if let Ok((got, put, listed)) = answered {
                                for answer in [got, put, listed] {
                                    let nothing = matches!(
                                        answer,
                                        Err(Error::Unclear { .. }
                                            | Error::Denied { .. }
                                            | Error::Rejected { .. })
                                    );
                                    assert!(nothing, "{name}={short:?}: {answer:?}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(refused > 2_000 && asked > 200, "{refused} refused, {asked} asked");
}

#[test]
fn variables_are_judged_like_options_but_empty_and_foreign_ones_are_not_ours() {
    let canonical = |name: &str| Some(AmazonS3ConfigKey::from_str(name).ok()?.as_ref().to_owned());
    let gather = |variables: &[(&str, &str)], options: &[(&str, &str)]| {
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Settings::gather(Provider::S3, &own(options), own(variables).into_iter(), canonical)
            .map(|settings| {
                settings.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
            })
            .map_err(|found| format!("{}: {}", found.setting, found.why))
    };
    let error = gather(&[("AWS_ENDPOINT_URL", "localhost:9000")], &[]).unwrap_err();
    assert!(
        error.starts_with("variable AWS_ENDPOINT_URL: write a URL such as http://127.0.0.1:9000"),
        "{error}"
    );
    let error = gather(&[("AWS_ENDPOINT_URL", "http://h:1")], &[]).unwrap_err();
    assert!(
        error.starts_with("variable AWS_ENDPOINT_URL: http:// sends everything unencrypted"),
        "{error}"
    );
    let given = gather(
        &[("AWS_REGION", ""), ("AWS_BUCKET", "theirs"), ("AWS_PROFILE", "\n"), ("PATH", "x")],
        &[],
    );
    assert_eq!(given, Ok(Vec::new()));
    // An option overrides a variable for the same setting, under any of its names.
    let both = gather(
        &[("AWS_ENDPOINT_URL_S3", "https://theirs"), ("AWS_DEFAULT_REGION", "b")],
        &[("Endpoint", "https://ours"), ("default_region", "c")],
    );
    assert_eq!(
        both,
        Ok(vec!["aws_default_region=c".to_owned(), "aws_endpoint=https://ours".to_owned()])
    );
}
