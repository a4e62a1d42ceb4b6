//! DNS over TLS (RFC 7858): the certificate that is shown to clients, which a reload may change.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;

/// Whether a socket's connections are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Security {
    /// They are not.
    Plain,
    /// By TLS.
    Tls,
}

/// What is shown to clients; none: their connections are closed.
#[derive(Default)]
pub struct TlsIdentity(RwLock<Option<Arc<ServerConfig>>>);

impl TlsIdentity {
    /// Shows this to clients from the next connection on.
    pub fn set(&self, config: Option<Arc<ServerConfig>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// What is shown now. The lock is held for the copy of a pointer.
    pub fn get(&self) -> Option<Arc<ServerConfig>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
