//! TLS to upstreams: whom it trusts, and by which name an upstream has to show itself.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto},
};

use super::{
    error::{Error, Kind, Phase},
    stream::Stream,
};

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
            [] => SYSTEM.clone()?,
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

/// What trusts the authorities that this system trusts, for requests of the gateway's own.
///
/// # Errors
/// When there are none, as half a sentence for the error about the setting.
pub fn system() -> Result<Arc<ClientConfig>, String> {
    SYSTEM.clone()
}

/// What trusts the system's authorities; they are read once, when the first upstream needs them.
static SYSTEM: LazyLock<Result<Arc<ClientConfig>, String>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    trusting(&found.certs).map(Arc::new).map_err(|_| {
        "is for https, and this system has no certificate authorities (install ca-certificates, \
         or set ca_file)"
            .to_owned()
    })
});

fn trusting(authorities: &[CertificateDer<'static>]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // Systems have certificates among theirs that are too old to be understood.
    let (usable, _) = roots.add_parsable_certificates(authorities.iter().cloned());
    if usable == 0 {
        return Err("is for https, and its ca_file has no certificate that can be used".to_owned());
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
