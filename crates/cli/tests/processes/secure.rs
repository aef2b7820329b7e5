//! Clusters with TLS: certificates made by `holocron cert`, three hosts, and every way to be refused.

use core::time::Duration;
use std::{process::Output, sync::Arc};

use super::certificates::{Certificates, as_text};
use super::support::{
    Callers, PATIENCE, Place, add_to_all, all_served, holocron, run, text, turn, until, values_of,
};

/// A place with certificates for these hosts and for the operator `alice`, who the tests act as.
async fn secured(hosts: &[&str]) -> (Certificates, Place) {
    let certificates = Certificates::new().await;
    for host in hosts {
        certificates.issue("host", host).await;
    }
    certificates.issue("operator", "alice").await;
    let place = Place::over(Arc::new(certificates.tls("operator-alice")));
    (certificates, place)
}

/// Runs a subcommand with a certificate. Returns its exit code and all that it said.
async fn say(place: &Place, arguments: &[&str], with: &[String]) -> (Option<i32>, String) {
    let url = place.url();
    let mut all = arguments.to_vec();
    all.extend(["--store", &url, "--deadline", "5"]);
    all.extend(as_text(with));
    let Output { status, stdout, stderr } = run(&all).await;
    (status.code(), text(&stdout) + &text(&stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hosts_under_tls_lose_nothing_when_one_is_killed_and_certificates_are_replaced() {
    let _turn = turn().await;
    let (certificates, place) = secured(&["h1", "h2", "h3"]).await;
    let one = certificates.host(&place, "h1").await;
    let two = certificates.host(&place, "h2").await;
    let three = certificates.host(&place, "h3").await;
    all_served(&place, &[&one, &two, &three]).await;
    let client = place.client().await;
    let mut keys = place.keys_of(&one.name, 4).await;
    keys.extend(place.keys_of(&two.name, 4).await);
    keys.extend(place.keys_of(&three.name, 4).await);
    add_to_all(&client, &keys).await;
    // No call may fail from here on.
    let callers = Callers::start(&client, &keys);
    for stem in ["host-h1", "host-h2", "host-h3", "operator-alice"] {
        let (role, name) = stem.split_once('-').unwrap();
        certificates.cert(&[role], &[name, "--replace"]).await;
    }
    for host in [&one, &two, &three] {
        until("it reads its new certificate", async || {
            host.log().contains("certificates have changed").then_some(())
        })
        .await;
    }
    // Links are opened anew, with the new certificates.
    two.kill().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let two = certificates.host(&place, "h2").await;
    all_served(&place, &[&one, &two, &three]).await;
    let last = callers.stop().await;
    assert_eq!(values_of(&client, &keys).await, last);
    for host in [&one, &three] {
        let log = host.log();
        assert!(!log.contains("ERROR") && !log.contains("connection closed"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_right_certificate_is_refused_by_name() {
    let _turn = turn().await;
    let (certificates, place) = secured(&["h1"]).await;
    let host = certificates.host(&place, "h1").await;
    let client = certificates.issue("client", "shop").await;
    let foreign = Certificates::new().await;
    let of_foreign = foreign.issue("operator", "mallory").await;
    // It trusts our authority, and shows a certificate of another.
    let mut mixed = of_foreign.clone();
    mixed[1] = certificates.path("ca.pem").display().to_string();
    certificates.cert(&["client"], &["short", "--days", "1"]).await;
    let call = ["call", "counter", "a", "add", "1"];
    let seal = ["seal", "h1"];
    for (arguments, with, code, why) in [
        (&call[..], &client, 0, "1\n"),
        (&["status"], &client, 0, "h1 leads"),
        (
            &seal,
            &client,
            1,
            "the leader refused: this needs a certificate with the role operator; the one shown has client",
        ),
        (&["drain", "h1"], &client, 1, "the role operator"),
        (&["domain", "remove", "acme"], &client, 1, "the role operator"),
        (&call, &Vec::new(), 5, "the host requires TLS"),
        (&call, &of_foreign, 5, "its certificate is not from this cluster's authority"),
        (&call, &mixed, 1, "the certificate is not from the authority in"),
        (&call, &client[..4].to_vec(), 2, "TLS needs three files"),
        (&call, &certificates.arguments("absent"), 1, "absent.pem: No such file"),
    ] {
        let (ended, said) = say(&place, arguments, with).await;
        assert!(ended == Some(code) && said.contains(why), "{arguments:?}: {ended:?}: {said}");
    }
    // A client can't be a host, and a host only the one in its certificate.
    for (name, with, why) in [
        (
            "h2",
            &client,
            "its certificate is that of client shop; a host needs one with the role host",
        ),
        ("h2", &certificates.arguments("host-h1"), "that of host h1, which can't join as h2"),
    ] {
        let mut refused = place.try_host(name, &as_text(with));
        until("it is refused", async || refused.log().contains(why).then_some(())).await;
        refused.signal(rustix::process::Signal::KILL);
        refused.ended().await;
    }
    let log = host.log();
    let audit = "holocron::audit: admin action who=client shop";
    assert!(
        log.contains(audit) && log.contains("action=\"seal h1\" outcome=\"refused: this needs"),
        "{log}"
    );
    assert!(
        log.contains("connection turned away") && log.contains("it doesn't speak TLS"),
        "{log}"
    );
    let operator = certificates.arguments("operator-alice");
    let (ended, said) = say(&place, &["delete", "counter", "a"], &operator).await;
    assert_eq!(ended, Some(0), "{said}");
    let (ended, said) = say(&place, &seal, &operator).await;
    assert_eq!(ended, Some(0), "{said}");
    let log = host.log();
    for line in ["action=\"delete \\\"counter/a\\\"\" outcome=\"done\"", "who=operator alice"] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(log.contains("action=\"seal h1\" outcome=\"accepted\""), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_with_and_without_tls_dont_meet_and_both_say_why() {
    let _turn = turn().await;
    let (certificates, place) = secured(&["h1"]).await;
    let host = certificates.host(&place, "h1").await;
    let mut plain = place.try_host("h2", &[]);
    until("the host with TLS says it", async || {
        host.log().contains("it doesn't speak TLS, and this host requires it").then_some(())
    })
    .await;
    plain.signal(rustix::process::Signal::KILL);
    plain.ended().await;
    all_served(&place, &[&host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_tls_is_enough() {
    let _turn = turn().await;
    let (certificates, place) = secured(&["h1"]).await;
    let mut with = certificates.arguments("host-h1");
    with.extend(["--listen", "0.0.0.0:0"].map(ToOwned::to_owned));
    let far = place.host("h1", &as_text(&with)).await;
    assert!(far.address.starts_with("0.0.0.0:"), "{}", far.address);
}

/// The commands in `docs/security.md`.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_made_with_openssl_as_documented_are_good() {
    let _turn = turn().await;
    let page = include_str!("../../../../docs/security.md");
    let begin = page.find("openssl req -x509").expect("the page has the commands");
    let script = &page[begin..begin + page[begin..].find("```").unwrap()];
    let folder = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new("sh")
        .args(["-ec", script])
        .current_dir(folder.path())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let certificates = Certificates(folder);
    let place = Place::over(Arc::new(certificates.tls("h1")));
    let with = certificates.arguments("h1");
    let host = place.host("h1", &as_text(&with)).await;
    all_served(&place, &[&host]).await;
}

#[tokio::test]
async fn certificates_are_private_and_never_replaced_by_mistake() {
    use std::os::unix::fs::PermissionsExt as _;
    let _turn = turn().await;
    let certificates = Certificates::new().await;
    let arguments = certificates.issue("host", "h1").await;
    let folder = certificates.folder();
    for file in ["ca.key", "host-h1.key"] {
        let mode = std::fs::metadata(certificates.path(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    for again in [&["cert", "init", &folder][..], &["cert", "host", &folder, "h1"]] {
        let output = run(again).await;
        assert_eq!(output.status.code(), Some(1), "{again:?}");
        assert!(text(&output.stderr).contains("it is left as it is"), "{}", text(&output.stderr));
    }
    let output = run(&["cert", "client", &folder, "a b"]).await;
    assert!(output.status.code() == Some(2), "{}", text(&output.stderr));
    // The same from variables, for every command.
    let place = Place::new();
    let mut host = holocron(&["host", "--store", &place.url(), "--name", "h1"]);
    for (variable, file) in [("HOLOCRON_TLS_CA", 1), ("HOLOCRON_TLS_CERT", 3)] {
        host.env(variable, &arguments[file]);
    }
    let output = tokio::time::timeout(PATIENCE, host.output()).await.unwrap().unwrap();
    assert!(text(&output.stderr).contains("TLS needs three files"), "{}", text(&output.stderr));
}
