//! What is wrong with a configuration, all of it at once.

use std::fmt;

use crate::entry::Source;

/// One fault: where, which setting, what is wrong, and what to do when that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// The dotted path of the setting; empty when the whole file is meant.
    pub setting: String,
    /// Where the value came from.
    pub source: Source,
    /// What is wrong. Never holds the value of a secret.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source != Source::Default {
            write!(f, "{}: ", self.source)?;
        }
        if !self.setting.is_empty() {
            write!(f, "{}: ", self.setting)?;
        }
        f.write_str(&self.message)
    }
}

/// Every fault of a configuration; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFaults(Vec<ConfigFault>);

impl ConfigFaults {
    /// `Err` with all of `faults`, sorted by where they are, or `Ok` when there are none.
    pub(crate) fn check(mut faults: Vec<ConfigFault>) -> Result<(), Self> {
        if faults.is_empty() {
            return Ok(());
        }
        faults.sort_by_key(|fault| match &fault.source {
            Source::File { line, .. } => (0, *line, String::new()),
            Source::SecretFile(path) => (1, 0, path.display().to_string()),
            Source::Variable(name) => (2, 0, name.clone()),
            Source::CommandLine(option) => (3, 0, option.clone()),
            Source::Default => (4, 0, fault.setting.clone()),
        });
        Err(Self(faults))
    }

    /// A single fault.
    pub(crate) fn one(fault: ConfigFault) -> Self {
        Self(vec![fault])
    }

    /// The faults.
    pub fn faults(&self) -> &[ConfigFault] {
        &self.0
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a fault")?,
            n => write!(f, "the configuration has {n} faults")?,
        }
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
            if let Some(hint) = &fault.hint {
                write!(f, "\n    hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}
