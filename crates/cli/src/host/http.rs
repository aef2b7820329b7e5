//! The HTTP gateway of `holocron host`.

use core::net::SocketAddr;
use std::{path::PathBuf, sync::Arc};

use clap::Args;
use holocron::Host;
use holocron_access::{Https, HttpsFiles, Tokens};
use holocron_gateway::{ByToken, Gateway, HttpsListener, ServeSettings, serve};
use holocron_metrics::{Exporter, Prices};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::exit::{Fail, Failure};

/// The gateway on the command line.
#[derive(Debug, Args)]
pub(super) struct HttpArguments {
    /// Serve HTTP at this address too; port 0 means any free port. docs/http.md describes the interface. Beyond loopback it
    /// needs --http-cert, --http-key and --tokens, or --allow-remote.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) http: Option<String>,
    /// File with the certificate that callers of the gateway are shown, in PEM: HTTPS instead of HTTP. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    http_cert: Option<PathBuf>,
    /// File with the key of that certificate, in PEM.
    #[arg(long, value_name = "FILE")]
    http_key: Option<PathBuf>,
    /// File with the bearer tokens that the gateway accepts (`holocron token`); without it everyone may do everything. Read
    /// again when it changes.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

/// How far a gateway without TLS or tokens may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// From its own machine.
    Loopback,
    /// From anywhere: the operator said so.
    Anywhere,
}

/// A gateway that serves.
pub(super) struct Http {
    /// Where, as a URL.
    pub(super) url: String,
    pub(super) address: SocketAddr,
    ends: CancellationToken,
    serving: JoinHandle<()>,
}

/// A gateway that may begin to serve: its address is bound, and its files are read.
pub(super) struct Prepared {
    tcp: TcpListener,
    bound: SocketAddr,
    https: Option<Https>,
    tokens: Option<Tokens>,
}

impl HttpArguments {
    /// The files of the certificate, if there is one. A setting of a file counts as a default, of which the command line's
    /// parser doesn't know what it requires: so it is checked here.
    fn https_files(&self) -> Result<Option<HttpsFiles>, Fail> {
        match (&self.http_cert, &self.http_key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(HttpsFiles { certificate: certificate.clone(), key: key.clone() }))
            }
            (None, None) => Ok(None),
            (_, _) => Err(Fail::new(Failure::Usage, "HTTPS needs both --http-cert and --http-key")),
        }
    }

    /// Prepares the gateway, if one is wanted. Finds mistakes before the host joins.
    pub(super) async fn prepare(&self, reach: Reach) -> Result<Option<Prepared>, Fail> {
        let files = self.https_files()?;
        let Some(address) = &self.http else { return Ok(None) };
        let unusable = |error: std::io::Error| {
            Fail::new(Failure::Usage, format!("can't serve HTTP at {address}: {error}"))
        };
        let tcp = TcpListener::bind(address).await.map_err(unusable)?;
        let bound = tcp.local_addr().map_err(unusable)?;
        self.check_reach(bound, reach)?;
        let unread = |why| Fail::failed(format!("--http-cert can't be used: {why}"));
        let https = files.as_ref().map(Https::open).transpose().map_err(unread)?;
        let unread = |why| Fail::failed(format!("--tokens can't be used: {why}"));
        let tokens = self.tokens.as_ref().map(Tokens::open).transpose().map_err(unread)?;
        Ok(Some(Prepared { tcp, bound, https, tokens }))
    }

    /// Refuses to be reached from other machines without TLS and tokens.
    fn check_reach(&self, bound: SocketAddr, reach: Reach) -> Result<(), Fail> {
        let is_safe = self.http_cert.is_some() && self.tokens.is_some();
        if is_safe || reach == Reach::Anywhere || bound.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        let why = format!(
            "--http {bound} is reachable from other machines: give --http-cert, --http-key and --tokens, or use 127.0.0.1, or \
             add --allow-remote if you trust every machine in that network"
        );
        Err(Fail::new(Failure::Usage, why))
    }
}

impl Prepared {
    /// Begins to serve the host's gateway.
    pub(super) fn serve(self, host: &Host, prices: Prices) -> Http {
        let Self { tcp, bound, https, tokens } = self;
        let exporter = Exporter::new(host.meter(), prices);
        let mut gateway = Gateway::of_host(host)
            .metrics(Arc::new(move || exporter.text()))
            .cost(Arc::new(move |requests| prices.of_verbs(requests)));
        if let Some(tokens) = tokens {
            gateway = gateway.authorize(ByToken(tokens));
        }
        let (gateway, ends, settings) =
            (gateway.build(), CancellationToken::new(), ServeSettings::default());
        let told = ends.clone();
        let (scheme, serving) = match https {
            Some(https) => {
                let streams = HttpsListener { tcp, https };
                let serving =
                    async move { serve(streams, gateway, settings, told.cancelled()).await };
                ("https", tokio::spawn(serving))
            }
            None => {
                let serving = async move { serve(tcp, gateway, settings, told.cancelled()).await };
                ("http", tokio::spawn(serving))
            }
        };
        Http { url: format!("{scheme}://{bound}"), address: bound, ends, serving }
    }
}

impl Http {
    /// Accepts nothing more, and waits until requests under way are answered; for a bounded time.
    pub(super) async fn end(self) {
        self.ends.cancel();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the HTTP gateway panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_it_needs_tls_and_tokens() {
        let far = SocketAddr::from(([0, 0, 0, 0], 80));
        let near = SocketAddr::from(([127, 0, 0, 1], 80));
        let file = || Some(PathBuf::from("file"));
        let arguments = |http_cert: Option<PathBuf>, tokens| HttpArguments {
            http: None,
            http_key: http_cert.clone(),
            http_cert,
            tokens,
        };
        let check = |(http_cert, tokens), bound, reach| {
            arguments(http_cert, tokens).check_reach(bound, reach).is_ok()
        };
        assert!(check((None, None), near, Reach::Loopback));
        assert!(!check((None, None), far, Reach::Loopback));
        assert!(!check((file(), None), far, Reach::Loopback), "TLS alone says nothing of callers");
        assert!(
            !check((None, file()), far, Reach::Loopback),
            "tokens alone can be read on the way"
        );
        assert!(check((file(), file()), far, Reach::Loopback));
        assert!(check((None, None), far, Reach::Anywhere));
    }

    #[tokio::test]
    async fn a_certificate_without_its_key_is_refused_and_not_left_out() {
        for (http_cert, http_key) in [(Some("a.pem"), None), (None, Some("a.key"))] {
            let arguments = HttpArguments {
                http: Some("127.0.0.1:0".to_owned()),
                http_cert: http_cert.map(PathBuf::from),
                http_key: http_key.map(PathBuf::from),
                tokens: None,
            };
            let refused = arguments.prepare(Reach::Anywhere).await.err().expect("it is half of it");
            assert_eq!(refused.failure(), Failure::Usage);
        }
    }
}
