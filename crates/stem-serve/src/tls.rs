//! Certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stem_core::with_causes;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Result};

/// What a server shows its callers: a certificate with those that vouch for it, and its key, both as PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate, and those above it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Tls {
    /// Reads both, for connections that speak one of `protocols`, where a caller names some.
    ///
    /// # Errors
    /// [`Error::Tls`] naming the file.
    pub(crate) fn acceptor(&self, protocols: &[&[u8]]) -> Result<TlsAcceptor> {
        let certificates = CertificateDer::pem_file_iter(&self.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = certificates.map_err(|error| unusable(&self.cert, &error))?;
        if certificates.is_empty() {
            return Err(Error::Tls { path: self.cert.clone(), what: "it holds no certificate".into() });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unusable(&self.key, &error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&self.cert, &error))?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(|error| unusable(&self.key, &error))?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::Tls { path: path.into(), what: with_causes(error) }
}
