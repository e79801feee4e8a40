//! TLS to upstreams: by which name an upstream has to show itself.

use std::{fmt, sync::Arc};

use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    error::{Error, Kind, Phase},
    stream::Stream,
};
use crate::outbound::{system_tls, trusting};

/// How connections to one upstream are secured.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tls {
    /// For an upstream of this name or address, which one of `authorities` has to vouch for; if
    /// there are none, one that the system trusts.
    ///
    /// # Errors
    /// What is wrong, as half a sentence for the error about the setting.
    pub(super) fn to(host: &str, authorities: &[CertificateDer<'static>]) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| "names no host that a certificate could be for")?;
        let config = match authorities {
            [] => system_tls()?,
            own => Arc::new(trusting(own)?),
        };
        Ok(Self { connector: config.into(), name })
    }

    /// Makes a TLS stream of a connected socket.
    ///
    /// # Errors
    /// Whatever the handshake fails by: the upstream cannot be trusted or understood.
    pub(super) async fn handshake(&self, socket: TcpStream) -> Result<Stream, Error> {
        match self.connector.connect(self.name.clone(), socket).await {
            Ok(stream) => Ok(Stream::tls(stream)),
            Err(error) => Err(Error::new(Kind::Untrusted, Phase::Connect).because(error)),
        }
    }
}
