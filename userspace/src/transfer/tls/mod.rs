//! TLS (RFC 8446) for DNS over TLS (RFC 7858) and for zone transfers (RFC 9103): what a server and a client need, made of
//! files that the configuration names. Only TLS 1.3, as RFC 9103 section 7.2 wants it.

mod verifier;

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::PrimaryTls;
use verifier::Verifier;

/// The protocol that is negotiated (ALPN): DNS over TLS, and transfers, too (RFC 9103 section 7.1).
const DOT: &[u8] = b"dot";

/// Why files are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no PEM, or holds nothing of what is wanted.
    #[error("{0}")]
    Pem(#[from] pem::Error),
    /// It holds no certificate.
    #[error("holds no certificate")]
    NoCertificate,
    /// Certificate and key are none that can be used, or do not belong together.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// No certificate can be verified by what is there.
    #[error("{0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The name to authenticate is none.
    #[error("{0}")]
    Name(#[from] InvalidDnsNameError),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What a server needs: its certificate with those above it, and its key, both in PEM.
///
/// # Errors
/// If there is none, or they do not belong together.
pub fn server_config(certificates: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = certificates_of(certificates)?;
    let key = PrivateKeyDer::from_pem_slice(key)?;
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[&TLS13])?.with_no_client_auth();
    let mut config = builder.with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![DOT.to_vec()];
    Ok(Arc::new(config))
}

fn certificates_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?;
    if certificates.is_empty() { Err(TlsError::NoCertificate) } else { Ok(certificates) }
}

/// Speaks TLS over a connection to a primary, which must be who the configuration says.
///
/// # Errors
/// If it is another, or the handshake fails.
pub async fn connect(tls: &PrimaryTls, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let config = client_config(tls).map_err(io::Error::other)?;
    let name = match &tls.name {
        Some(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
        None => ServerName::from(stream.peer_addr()?.ip()),
    };
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The files are read each time: there may be new ones.
fn client_config(tls: &PrimaryTls) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let by_name = match &tls.ca_file {
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates_of(&std::fs::read(file)?)? {
                roots.add(certificate)?;
            }
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            Some(builder.build()?)
        }
        None => None,
    };
    let pins = tls.pins.iter().map(|pin| pin.0).collect();
    let verifier = Verifier::new(by_name, pins, Arc::clone(&provider));
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&TLS13])?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![DOT.to_vec()];
    Ok(config)
}
