//! Where a host may listen without TLS.

use core::net::SocketAddr;

use super::StartError;
use crate::transport::net::Network;

/// How far a host without TLS may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// From its own machine.
    Loopback,
    /// From anywhere: the operator said so.
    Anywhere,
}

impl Reach {
    /// Refuses an address beyond loopback on a network that proves nothing.
    pub(super) async fn check(self, network: &dyn Network, listen: &str) -> Result<(), StartError> {
        if self == Self::Anywhere || !network.is_open() {
            return Ok(());
        }
        let unknown = |source| StartError::Listen { address: listen.to_owned(), source };
        let mut addresses = tokio::net::lookup_host(listen).await.map_err(unknown)?;
        match addresses.find(|address| !is_loopback(*address)) {
            None => Ok(()),
            Some(far) => Err(StartError::Exposed { address: listen.to_owned(), ip: far.ip() }),
        }
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::net::Tcp;

    #[tokio::test]
    async fn only_loopback_addresses_are_accepted_by_default() {
        for near in ["127.0.0.1:0", "127.8.9.1:7400", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            assert!(Reach::Loopback.check(&Tcp, near).await.is_ok(), "{near}");
        }
        for far in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
            let refused = Reach::Loopback.check(&Tcp, far).await;
            assert!(matches!(refused, Err(StartError::Exposed { .. })), "{far}: {refused:?}");
            assert!(Reach::Anywhere.check(&Tcp, far).await.is_ok(), "{far}");
        }
        let nonsense = Reach::Loopback.check(&Tcp, "nonsense").await;
        assert!(matches!(nonsense, Err(StartError::Listen { .. })), "{nonsense:?}");
    }
}
