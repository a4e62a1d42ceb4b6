//! Who a primary is: by its name and the certificate of an authority (RFC 8310 section 8.1), by pins of its public key
//! (RFC 7858 section 4.2), or by both. There is no way to take anybody.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// The SHA-256 digest of a public key (its SubjectPublicKeyInfo).
pub(super) type Pin = [u8; 32];

/// Verifies certificates of primaries.
#[derive(Debug)]
pub(super) struct Verifier {
    /// By name; none: by pins alone.
    by_name: Option<Arc<WebPkiServerVerifier>>,
    /// One of these must be that of the key; none: by name alone.
    pins: Vec<Pin>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(super) fn new(
        by_name: Option<Arc<WebPkiServerVerifier>>,
        pins: Vec<Pin>,
        provider: Arc<CryptoProvider>,
    ) -> Verifier {
        Verifier { by_name, pins, provider }
    }

    fn check_pin(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let key = parsed.subject_public_key_info();
        let found = digest(&SHA256, &key);
        if self.pins.iter().any(|pin| pin == found.as_ref()) {
            return Ok(());
        }
        Err(Error::General("the public key of its certificate has none of the pins".to_owned()))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The configuration has one of the two; if it ever had none, nobody is taken.
        if self.by_name.is_none() && self.pins.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        if let Some(by_name) = &self.by_name {
            by_name.verify_server_cert(end_entity, intermediates, name, ocsp, now)?;
        }
        if !self.pins.is_empty() {
            self.check_pin(end_entity)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
