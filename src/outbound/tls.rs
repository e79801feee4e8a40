//! TLS to others: whom this process trusts.

use std::sync::{Arc, LazyLock};

use http::{Uri, uri::Scheme};
use rustls_pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// What trusts the authorities that this system trusts. They are read once, when somebody needs them.
///
/// # Errors
/// When there are none, as half a sentence for the error about a setting.
pub fn system() -> Result<Arc<ClientConfig>, String> {
    SYSTEM.clone()
}

static SYSTEM: LazyLock<Result<Arc<ClientConfig>, String>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    trusting(&found.certs).map(Arc::new).map_err(|_| {
        "is for https, and this system has no certificate authorities (install ca-certificates, \
         or set ca_file)"
            .to_owned()
    })
});

/// Whether `url` can be asked by who trusts what this system trusts.
///
/// # Errors
/// When it is for https and there is nobody to trust, as half a sentence for the error about a setting.
pub fn check_trust(url: &Uri) -> Result<(), String> {
    if url.scheme() == Some(&Scheme::HTTPS) { system().map(drop) } else { Ok(()) }
}

/// What trusts nobody.
pub(super) fn nobody() -> Result<ClientConfig, String> {
    with_roots(RootCertStore::empty())
}

/// What trusts these authorities, and speaks HTTP/1.1.
///
/// # Errors
/// When none of them can be used, as half a sentence for the error about a setting.
pub fn trusting(authorities: &[CertificateDer<'static>]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // Systems have certificates among theirs that are too old to be understood.
    let (usable, _) = roots.add_parsable_certificates(authorities.iter().cloned());
    if usable == 0 {
        return Err("is for https, and its ca_file has no certificate that can be used".to_owned());
    }
    with_roots(roots)
}

fn with_roots(roots: RootCertStore) -> Result<ClientConfig, String> {
    let config =
        ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
