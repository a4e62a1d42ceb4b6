//! Where the configuration comes from, each time that it is read.

use std::path::PathBuf;

use crate::config::{Config, ConfigError};

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The control socket that the command line names instead of the file's.
    pub control: Option<PathBuf>,
    /// What is printed when all is served.
    pub ready: &'static str,
}

impl Source {
    /// Reads it.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(&self.path)?;
        if let Some(control) = &self.control {
            config.server.control = control.clone();
        }
        Ok(config)
    }
}
