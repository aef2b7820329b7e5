//! The certificates on the command line.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use holocron::{
    Tls, TlsFiles,
    net::{Network, Tcp},
};

use crate::exit::{Fail, Failure};

/// Certificates, for clusters whose hosts use TLS.
#[derive(Clone, Debug, Args)]
pub(crate) struct TlsArguments {
    /// Use TLS between hosts and clients: file with the certificate of the cluster's authority, in PEM. `holocron cert` makes
    /// one. All three files are read again when they change.
    // Help shows no values of variables: a key may have been given instead of the name of its file.
    #[arg(long, value_name = "FILE", env = "HOLOCRON_TLS_CA", hide_env_values = true)]
    tls_ca: Option<PathBuf>,
    /// File with the own certificate, in PEM. Its role says what may be done: client, operator or host.
    #[arg(long, value_name = "FILE", env = "HOLOCRON_TLS_CERT", hide_env_values = true)]
    tls_cert: Option<PathBuf>,
    /// File with the key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", env = "HOLOCRON_TLS_KEY", hide_env_values = true)]
    tls_key: Option<PathBuf>,
}

impl TlsArguments {
    /// The network to the hosts.
    pub(crate) fn network(&self) -> Result<Arc<dyn Network>, Fail> {
        let files = match (&self.tls_ca, &self.tls_cert, &self.tls_key) {
            (None, None, None) => return Ok(Arc::new(Tcp)),
            (Some(authority), Some(certificate), Some(key)) => TlsFiles {
                authority: authority.clone(),
                certificate: certificate.clone(),
                key: key.clone(),
            },
            (_, _, _) => {
                let why = "TLS needs three files: --tls-ca, --tls-cert and --tls-key (or HOLOCRON_TLS_CA, HOLOCRON_TLS_CERT, \
                           HOLOCRON_TLS_KEY)";
                return Err(Fail::new(Failure::Usage, why));
            }
        };
        match Tls::open(&files) {
            Ok(tls) => Ok(Arc::new(tls)),
            Err(unusable) => Err(Fail::failed(format!("TLS can't be used: {unusable}"))),
        }
    }
}
