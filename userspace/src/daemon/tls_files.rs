//! The certificate for DNS over TLS and its key, from the files that the configuration names.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::ServerConfig;
use zeroize::Zeroizing;

use super::secret_file;
use crate::config::Config;
use crate::files;
use crate::transfer::tls::server_config;

/// The longest file in octets: a chain of certificates has some thousand.
const MAX_FILE: u64 = 1 << 20;

/// Reads them; none if no address is listened on over TLS.
///
/// # Errors
/// If a file cannot be read, others may read the key, or the two do not belong together.
pub fn load(config: &Config) -> anyhow::Result<Option<Arc<ServerConfig>>> {
    let server = &config.server;
    if server.listen_tls.is_empty() {
        return Ok(None);
    }
    let (certificate, key) = (&server.tls_certificate, &server.tls_key);
    let said = |path: &Path| format!("the certificate for TLS: {}", path.display());
    let opened = files::open(certificate).map_err(anyhow::Error::from);
    let certificates =
        opened.and_then(|file| read(file, certificate)).with_context(|| said(certificate))?;
    let opened = secret_file::open(key).and_then(|file| read(file, key));
    let opened = opened.with_context(|| format!("the key for TLS: {}", key.display()))?;
    server_config(&certificates, &opened).map(Some).with_context(|| said(certificate))
}

fn read(file: std::fs::File, path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(Vec::new());
    file.take(MAX_FILE + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_FILE {
        bail!("{} is longer than {MAX_FILE} octets", path.display());
    }
    Ok(octets)
}
