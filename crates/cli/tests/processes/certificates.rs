//! Certificates, made by `holocron cert`.

use std::path::PathBuf;

use holocron::{Tls, TlsFiles};
use tempfile::TempDir;

use super::support::{Host, Place, run, text};

/// A folder with an authority and certificates.
pub(crate) struct Certificates(pub(crate) TempDir);

impl Certificates {
    pub(crate) async fn new() -> Self {
        let it = Self(tempfile::tempdir().unwrap());
        it.cert(&["init"], &[]).await;
        it
    }

    pub(crate) fn folder(&self) -> String {
        self.0.path().display().to_string()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// `holocron cert` with this folder.
    pub(crate) async fn cert(&self, before: &[&str], after: &[&str]) {
        let folder = self.folder();
        let arguments = [&["cert"], before, &[folder.as_str()], after].concat();
        let output = run(&arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    }

    pub(crate) async fn issue(&self, role: &str, name: &str) -> Vec<String> {
        self.cert(&[role], &[name]).await;
        self.arguments(&format!("{role}-{name}"))
    }

    pub(crate) fn files(&self, stem: &str) -> TlsFiles {
        TlsFiles {
            authority: self.path("ca.pem"),
            certificate: self.path(&format!("{stem}.pem")),
            key: self.path(&format!("{stem}.key")),
        }
    }

    /// The arguments for the certificate of that name.
    pub(crate) fn arguments(&self, stem: &str) -> Vec<String> {
        let TlsFiles { authority, certificate, key } = self.files(stem);
        [("--tls-ca", authority), ("--tls-cert", certificate), ("--tls-key", key)]
            .into_iter()
            .flat_map(|(option, path)| [option.to_owned(), path.display().to_string()])
            .collect()
    }

    pub(crate) fn tls(&self, stem: &str) -> Tls {
        Tls::open(&self.files(stem)).unwrap()
    }

    pub(crate) async fn host(&self, place: &Place, name: &str) -> Host {
        let certificate = self.arguments(&format!("host-{name}"));
        place.host(name, &as_text(&certificate)).await
    }
}

pub(crate) fn as_text(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
