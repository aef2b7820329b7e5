//! What opening a URL says when it can't be used, and that it sends nothing.

use holocron_store::{explain, open};

fn refusal(url: &str, options: &[(&str, &str)]) -> String {
    let options: Vec<_> =
        options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    explain(&open(url, &options).expect_err("it can't be opened"))
}

#[test]
fn a_url_that_cannot_be_used_is_refused_with_one_sentence() {
    for (url, sentence) in [
        ("/tmp/holocron", "/tmp/holocron: relative URL without a base"),
        ("ftp://host/path", "ftp://host/path: ftp is none of file, memory, s3, gs, az"),
        (
            "file://relative/path",
            "file://relative/path: a directory needs an absolute path: file:///path",
        ),
        ("s3:///prefix", "s3:///prefix: a bucket is missing: s3://bucket/prefix"),
        ("gs://", "gs://: a bucket is missing: gs://bucket/prefix"),
        (
            "s3://bucket/a//b",
            "s3://bucket/a//b: the prefix may have letters, digits and -_.~= between single slashes",
        ),
        (
            "s3://bucket/%20",
            "s3://bucket/%20: a prefix with escapes would not be what it looks like",
        ),
    ] {
        assert_eq!(refusal(url, &[]), sentence);
    }
}

#[test]
fn an_option_nobody_knows_is_refused_by_name() {
    for url in ["memory://", "file:///tmp", "s3://bucket", "gs://bucket", "az://container"] {
        assert_eq!(refusal(url, &[("endpiont", "x")]), format!("{url}: unknown option endpiont"));
    }
}

#[test]
fn a_malformed_setting_is_told_at_once() {
    let error = refusal("az://container/prefix", &[("account_name", "me"), ("access_key", "~")]);
    assert!(error.starts_with("az://container/prefix: can't be opened: "), "{error}");
    let error = refusal("s3://bucket", &[("allow_http", "perhaps")]);
    assert!(error.starts_with("s3://bucket: can't be opened: "), "{error}");
    assert!(error.contains("perhaps"), "{error}");
}

#[test]
fn opening_a_bucket_sends_nothing_and_hides_its_secrets() {
    let options = [
        ("access_key_id", "AKIDEXAMPLE"),
        ("secret_access_key", "wJalrXUtnFEMI"),
        ("endpoint", "http://127.0.0.1:1"),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let store = open("s3://bucket/prefix", &options).unwrap();
    let printed = format!("{store:?}");
    assert_eq!(printed, "Cloud(AmazonS3(bucket)/prefix)");
}

#[tokio::test]
async fn each_memory_url_is_a_store_of_its_own() {
    let (one, two) = (open("memory://", &[]).unwrap(), open("memory://", &[]).unwrap());
    one.create("a", "x".into()).await.unwrap();
    assert_eq!(two.get("a").await.unwrap(), None);
}
