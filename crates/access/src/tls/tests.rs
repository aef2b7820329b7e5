//! Handshakes between good, bad and foreign certificates.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::{sleep, timeout},
};

use super::*;
use crate::issue::{Authority, Issued, Request};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A folder with the certificates of a cluster.
struct Folder {
    folder: TempDir,
    authority: Authority,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (authority, issued) = Authority::found(SystemTime::now()).unwrap();
        let it = Self { folder, authority };
        it.write("ca", &issued);
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, stem: &str, issued: &Issued) {
        std::fs::write(self.path(&format!("{stem}.pem")), &issued.certificate).unwrap();
        std::fs::write(self.path(&format!("{stem}.key")), &issued.key).unwrap();
    }

    fn request(role: Role) -> Request<'static> {
        let now = SystemTime::now();
        Request { role, name: Some("n"), from: now - DAY, until: now + 90 * DAY }
    }

    fn issue(&self, stem: &str, request: &Request<'_>) {
        self.write(stem, &self.authority.issue(request).unwrap());
    }

    fn files(&self, stem: &str) -> TlsFiles {
        TlsFiles {
            authority: self.path("ca.pem"),
            certificate: self.path(&format!("{stem}.pem")),
            key: self.path(&format!("{stem}.key")),
        }
    }

    fn open(&self, role: Role) -> Tls {
        self.issue(role.as_str(), &Self::request(role));
        Tls::open(&self.files(role.as_str())).unwrap()
    }
}

type Accepted = io::Result<(tokio_rustls::server::TlsStream<DuplexStream>, Certified)>;
type Connected = io::Result<tokio_rustls::client::TlsStream<DuplexStream>>;

/// A handshake. The opener reads a byte, because TLS 1.3 tells it only then what the other end thinks of its certificate.
async fn meet(opener: &Tls, acceptor: &Tls) -> (io::Result<u8>, io::Result<Certified>) {
    let (near, far) = duplex(64 << 10);
    let opening = async {
        let stream = opener.connect(near).await?;
        let mut reads = Reads(stream);
        reads.read_u8().await
    };
    let accepting = async {
        let (mut stream, certified) = acceptor.accept(far).await?;
        stream.write_all(b"x").await?;
        stream.shutdown().await?;
        Ok(certified)
    };
    timeout(Duration::from_secs(20), async { tokio::join!(opening, accepting) }).await.unwrap()
}

#[tokio::test]
async fn members_of_a_cluster_meet_and_know_each_others_role() {
    let folder = Folder::new();
    let host = folder.open(Role::Host);
    for role in Role::ALL {
        let (read, certified) = meet(&folder.open(role), &host).await;
        assert_eq!(read.unwrap(), b'x');
        assert_eq!(certified.unwrap(), Certified { role, name: Some("n".into()) });
    }
    folder.issue("any", &Request { name: None, ..Folder::request(Role::Host) });
    let any = Tls::open(&folder.files("any")).unwrap();
    assert_eq!(meet(&any, &host).await.1.unwrap(), Certified { role: Role::Host, name: None });
    assert!(host.check_may_listen().is_ok());
    let refused = folder.open(Role::Client).check_may_listen().unwrap_err();
    assert!(refused.to_string().contains("that of client n; a host needs"), "{refused}");
}

#[tokio::test]
async fn only_a_host_is_accepted_as_one() {
    let folder = Folder::new();
    for role in [Role::Client, Role::Operator] {
        let (read, accepted) = meet(&folder.open(Role::Client), &folder.open(role)).await;
        let (read, accepted) = (read.unwrap_err().to_string(), accepted.unwrap_err().to_string());
        assert!(read.contains("its certificate is not"), "{read}");
        assert!(accepted.contains("it refused our certificate"), "{accepted}");
    }
}

#[tokio::test]
async fn each_end_says_what_is_wrong_with_the_certificates() {
    let (ours, theirs) = (Folder::new(), Folder::new());
    let (host, foreign) = (ours.open(Role::Host), theirs.open(Role::Host));
    let (read, accepted) = meet(&foreign, &host).await;
    let (read, accepted) = (read.unwrap_err().to_string(), accepted.unwrap_err().to_string());
    assert!(read.contains("its certificate is not from this cluster's authority"), "{read}");
    assert!(
        accepted.contains("it refused our certificate: it is not from the authority"),
        "{accepted}"
    );
    // One that trusts our authority, and has a certificate of another.
    std::fs::copy(ours.path("ca.pem"), theirs.path("ours.pem")).unwrap();
    let stranger = stranger(&theirs, Some("host"));
    let (read, accepted) = meet_raw(stranger, &host).await;
    assert!(read.contains("it refused our certificate: it is not from the authority"), "{read}");
    assert!(
        accepted.contains("its certificate is not from this cluster's authority"),
        "{accepted}"
    );
    let (read, accepted) = meet_raw(self::stranger(&theirs, None), &host).await;
    assert!(read.contains("it requires a certificate, and none was shown"), "{read}");
    assert!(accepted.contains("it showed no certificate"), "{accepted}");
    for (from, until, why) in [(-20, -10, "expired"), (10, 20, "not valid yet")] {
        let at = |days: i32| {
            let by = DAY * days.unsigned_abs();
            if days < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
        };
        let request = Request { from: at(from), until: at(until), ..Folder::request(Role::Client) };
        ours.issue("odd", &request);
        std::fs::copy(ours.path("ca.pem"), ours.path("ours.pem")).unwrap();
        let (read, accepted) = meet_raw(self::stranger(&ours, Some("odd")), &host).await;
        assert!(read.contains("it is expired or not valid yet"), "{read}");
        assert!(accepted.contains(why), "{accepted}");
        // Who has the file is told before any connection.
        let error = Tls::open(&ours.files("odd")).unwrap_err().to_string();
        assert!(
            error.contains(if from < 0 { "expired since" } else { "not valid before" }),
            "{error}"
        );
    }
}

/// A process that checks nothing of its own: it trusts `ours.pem`, and shows that certificate of the folder.
fn stranger(folder: &Folder, stem: Option<&str>) -> Arc<rustls::ClientConfig> {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.path("ours.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match stem {
        None => builder.with_no_client_auth(),
        Some(stem) => {
            let chain =
                vec![CertificateDer::from_pem_file(folder.path(&format!("{stem}.pem"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(folder.path(&format!("{stem}.key"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

async fn meet_raw(opener: Arc<rustls::ClientConfig>, acceptor: &Tls) -> (String, String) {
    let (near, far) = duplex(64 << 10);
    let opening = async {
        let stream = handshake::connect(opener, near).await?;
        Reads(stream).read_u8().await
    };
    let accepting = acceptor.accept(far);
    let (opened, accepted): (io::Result<u8>, Accepted) = tokio::join!(opening, accepting);
    (opened.unwrap_err().to_string(), accepted.unwrap_err().to_string())
}

#[tokio::test]
async fn what_isnt_tls_is_named() {
    let folder = Folder::new();
    let host = folder.open(Role::Host);
    for sent in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"HLCN\0\0\0\0\0\0\0\0",
        b"\x16\x03\x01\xff\xff",
        &[0; 4096],
    ] {
        let (mut near, far) = duplex(64 << 10);
        near.write_all(sent).await.unwrap();
        near.shutdown().await.unwrap();
        let refused: Accepted = host.accept(far).await;
        let refused = refused.unwrap_err().to_string();
        let named = refused.contains("it doesn't speak TLS, and this host requires it");
        assert!(
            named || refused.contains("closed the connection during the TLS handshake"),
            "{refused}"
        );
    }
    let (near, mut far) = duplex(64 << 10);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let refused: Connected = host.connect(near).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("it doesn't speak TLS; it may run without TLS"), "{refused}");
    let (near, far) = duplex(64 << 10);
    drop(far);
    assert!(Tls::connect(&host, near).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up() {
    let folder = Folder::new();
    let host = folder.open(Role::Host);
    let (near, _far) = duplex(64);
    let refused: Accepted = host.accept(near).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::TimedOut, "{refused}");
    let (near, _far) = duplex(64 << 10);
    let refused: Connected = host.connect(near).await;
    assert!(refused.unwrap_err().to_string().contains("within 5s"));
}

#[tokio::test]
async fn files_that_dont_fit_are_named_and_show_no_key() {
    let (folder, other) = (Folder::new(), Folder::new());
    folder.issue("host", &Folder::request(Role::Host));
    folder.issue("more", &Folder::request(Role::Host));
    let files = folder.files("host");
    let secret = std::fs::read_to_string(&files.key).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    std::fs::write(folder.path("text"), format!("{secret}\n")).unwrap();
    std::fs::write(folder.path("cut"), format!("-----BEGIN PRIVATE KEY-----\n{secret}\n")).unwrap();
    let nobodys = Authority::found(SystemTime::now()).unwrap().1;
    std::fs::write(folder.path("roleless"), nobodys.certificate).unwrap();
    let with = |change: &dyn Fn(&mut TlsFiles)| {
        let mut files = files.clone();
        change(&mut files);
        Tls::open(&files).unwrap_err().to_string()
    };
    let path = |name: &str| -> PathBuf { folder.path(name) };
    for (said, file, why) in [
        (
            with(&|files| files.key = path("more.key")),
            "more.key",
            "it isn't the key of the certificate in",
        ),
        (with(&|files| files.key = path("host.pem")), "host.pem", "there is no private key"),
        (with(&|files| files.key = path("text")), "text", "there is no private key"),
        (with(&|files| files.key = path("cut")), "cut", "there is no private key"),
        (with(&|files| files.key = path("none")), "none", "No such file"),
        (
            with(&|files| files.certificate = path("host.key")),
            "host.key",
            "there is no certificate in it",
        ),
        (with(&|files| files.certificate = path("text")), "text", "there is no certificate in it"),
        (with(&|files| files.certificate = path("cut")), "cut", "it isn't PEM"),
        (with(&|files| files.certificate = path("roleless")), "roleless", "it has no role"),
        (
            with(&|files| files.authority = path("host.key")),
            "host.key",
            "there is no certificate in it",
        ),
        (
            with(&|files| files.authority = other.path("ca.pem")),
            "host.pem",
            "is not from the authority in",
        ),
    ] {
        assert!(said.contains(file) && said.contains(why), "{said}");
        assert!(!said.contains(&secret[..16]), "{said}");
    }
}

#[tokio::test]
async fn certificates_are_replaced_while_connections_are_open() {
    let folder = Folder::new();
    let (host, client) = (folder.open(Role::Host), folder.open(Role::Client));
    let (near, far) = duplex(64 << 10);
    let (opened, accepted): (Connected, Accepted) =
        tokio::join!(client.connect(near), host.accept(far));
    let (mut opened, (mut accepted, _)) = (opened.unwrap(), accepted.unwrap());
    // Half of a rotation: a certificate without its key. What was read before stays in use.
    let renamed = Request { name: Some("renewed"), ..Folder::request(Role::Client) };
    let issued = folder.authority.issue(&renamed).unwrap();
    std::fs::write(folder.path("client.pem"), &issued.certificate).unwrap();
    sleep(crate::LOOK_EVERY + Duration::from_secs(1)).await;
    assert_eq!(meet(&client, &host).await.1.unwrap().name.as_deref(), Some("n"));
    std::fs::write(folder.path("client.key"), &issued.key).unwrap();
    let replaced = async {
        while meet(&client, &host).await.1.unwrap().name.as_deref() != Some("renewed") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(crate::LOOK_EVERY * 10, replaced).await.expect("it is read again");
    opened.write_all(b"still open").await.unwrap();
    opened.flush().await.unwrap();
    let mut read = [0; 10];
    accepted.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"still open");
}

#[tokio::test]
async fn an_authority_is_replaced_without_a_gap() {
    let (old, new) = (Folder::new(), Folder::new());
    let both = |first: &Path, second: &Path| {
        std::fs::read_to_string(first).unwrap() + &std::fs::read_to_string(second).unwrap()
    };
    let both = both(&old.path("ca.pem"), &new.path("ca.pem"));
    for folder in [&old, &new] {
        std::fs::write(folder.path("ca.pem"), &both).unwrap();
    }
    let (before, after) = (old.open(Role::Host), new.open(Role::Host));
    for (opener, acceptor) in [(&before, &after), (&after, &before), (&before, &before)] {
        assert!(meet(opener, acceptor).await.1.is_ok());
    }
}

#[test]
fn a_certificate_that_ends_soon_is_a_warning() {
    let folder = Folder::new();
    let now = SystemTime::now();
    folder.issue("host", &Request { until: now + 90 * DAY, ..Folder::request(Role::Host) });
    let files = folder.files("host");
    let read: Vec<_> = [files.authority, files.certificate, files.key]
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    let member = <Member as crate::watched::FromFiles>::read(&read).unwrap();
    let warning = |at| crate::watched::FromFiles::warning(&member, at);
    assert_eq!(warning(now), None);
    assert_eq!(warning(now + 68 * DAY), None);
    let said = warning(now + 80 * DAY).unwrap();
    assert!(said.contains("the certificate ends at 20") && said.contains("in 9 days"), "{said}");
    assert!(warning(now + 91 * DAY).unwrap().contains("the certificate ended at"));
}

#[tokio::test]
async fn a_site_needs_no_certificate_of_its_callers() {
    let folder = Folder::new();
    folder.issue("site", &Folder::request(Role::Host));
    std::fs::copy(folder.path("ca.pem"), folder.path("ours.pem")).unwrap();
    let files = HttpsFiles { certificate: folder.path("site.pem"), key: folder.path("site.key") };
    let site = Https::open(&files).unwrap();
    let (near, far) = duplex(64 << 10);
    let (opened, accepted) =
        tokio::join!(handshake::connect(stranger(&folder, None), near), site.accept(far));
    let (mut opened, mut accepted) = (opened.unwrap(), accepted.unwrap());
    accepted.write_all(b"hello").await.unwrap();
    accepted.flush().await.unwrap();
    let mut read = [0; 5];
    opened.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello");
    let error = Https::open(&HttpsFiles { key: folder.path("ca.key"), ..files }).unwrap_err();
    assert!(error.to_string().contains("it isn't the key of"), "{error}");
}
