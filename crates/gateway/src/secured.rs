//! Bearer tokens and TLS, for a gateway that is reached beyond its machine.

use core::net::SocketAddr;
use std::io;

use async_trait::async_trait;
use axum::http::{header, request::Parts};
use holocron_access::{Https, Tokens};
use tokio::net::TcpListener;

use crate::{
    access::{Access, Authorize, Denied, Principal},
    serve::{Accepted, Stream, Streams},
};

/// How a token is sent.
const BEARER: &str = "Bearer ";

/// Allows what the bearer token of a request allows. The principal is the token's name.
#[derive(Clone, Debug)]
pub struct ByToken(pub Tokens);

#[async_trait]
impl Authorize for ByToken {
    async fn authorize(&self, head: &Parts, access: Access<'_>) -> Result<Principal, Denied> {
        let shown = head.headers.get(header::AUTHORIZATION);
        // A header of another scheme, or one that isn't text, shows no token.
        let shown = shown.and_then(|value| value.to_str().ok()?.strip_prefix(BEARER));
        match self.0.allow(shown, access) {
            Ok(name) => Ok(Principal(name)),
            Err(denied) if denied.is_unauthenticated() => {
                Err(Denied::Unknown { challenge: "Bearer realm=\"holocron\"".to_owned() })
            }
            Err(denied) => Err(Denied::Forbidden(denied.to_string())),
        }
    }
}

/// Accepts connections with TLS. A handshake delays no other connection.
#[derive(Debug)]
pub struct HttpsListener {
    /// Where connections arrive.
    pub tcp: TcpListener,
    /// The certificate that is shown.
    pub https: Https,
}

#[async_trait]
impl Streams for HttpsListener {
    async fn accept(&mut self) -> io::Result<Accepted> {
        let (stream, peer): (_, SocketAddr) = self.tcp.accept().await?;
        stream.set_nodelay(true)?;
        let https = self.https.clone();
        let opening = async move {
            let stream = https.accept(stream).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        };
        Ok(Accepted { peer, opening: Box::pin(opening) })
    }
}
