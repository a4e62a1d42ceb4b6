//! The keys that are shared with other servers (RFC 8945), with their secrets from where the configuration says.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use zeroize::Zeroizing;

use super::presented::warn_if_open;
use super::secret_file;
use crate::config::{Config, TsigAlgorithm, TsigKey, TsigSecret};
use crate::transfer::tsig::{Key, Keys};

/// The longest file with a secret in octets: some 700 octets of it in base64.
const MAX_FILE: u64 = 1024;

/// Reads the secrets of all keys.
///
/// # Errors
/// If a file cannot be read, may be read by others, or holds no secret.
pub fn load(config: &Config) -> anyhow::Result<Keys> {
    config.tsig_keys().map(load_one).collect()
}

/// Warns of keys that are weaker than they might be, and of files of a configuration that show a secret to others.
pub fn warn_of_weak(config: &Config) {
    let with_secret = config.files.iter().filter(|file| file.has_tsig_secret);
    with_secret.for_each(|file| warn_if_open(&file.path));
    for key in config.tsig_keys().filter(|key| key.algorithm == TsigAlgorithm::Sha1) {
        tracing::warn!(
            "the TSIG key {} is used with hmac-sha1: use hmac-sha256 if the other server can",
            key.name
        );
    }
}

fn load_one(section: &TsigKey) -> anyhow::Result<Key> {
    let secret = match (&section.secret, &section.secret_file) {
        (Some(secret), _) => secret.clone(),
        (None, Some(path)) => read(path)
            .with_context(|| format!("the TSIG key {}: {}", section.name, path.display()))?,
        (None, None) => bail!("the TSIG key {} has no secret", section.name),
    };
    Ok(Key::new(section.name.clone(), section.algorithm, &secret.0))
}

/// The secret in a file that only its owner may read.
fn read(path: &Path) -> anyhow::Result<TsigSecret> {
    let file = secret_file::open(path)?;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        bail!("is longer than {MAX_FILE} octets: it holds a secret in base64 and nothing else");
    }
    TsigSecret::from_text(text.trim()).map_err(|fault| anyhow!(fault))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::zone::Name;

    #[test]
    fn secrets_are_read_from_files_that_nobody_else_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("transfer.secret");
        let file = path.display();
        let text =
            format!("version = \"v1\"\n[[tsig]]\nname = \"Transfer\"\nsecret-file = \"{file}\"\n");
        let config = Config::parse(&text, Path::new("sealdns.toml")).unwrap();
        let load = |contents: &str, mode| {
            fs::write(&path, contents).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            super::load(&config).map_err(|error| format!("{error:#}"))
        };
        let good = "MDEyMzQ1Njc4OWFiY2RlZg==\n";
        let name: Name = "transfer.".parse().unwrap();
        for mode in [0o600, 0o400] {
            assert_eq!(load(good, mode).unwrap().get(&name).unwrap().name(), &name);
        }
        for (contents, mode, said) in [
            (good, 0o640, "has mode 0640; run chmod 600"),
            ("MDEyMw==", 0o600, "at least 16 octets, this one has 4"),
            ("", 0o600, "at least 16 octets"),
            ("key transfer { }", 0o600, "base64"),
            (&good.repeat(100), 0o600, "is longer than"),
        ] {
            let error = load(contents, mode).unwrap_err();
            assert!(error.contains(said) && error.contains("transfer.secret"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(super::load(&config).is_err());
    }
}
