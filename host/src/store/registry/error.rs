//! What a registry does not do, and why.

use std::path::Path;

use super::Digest;
use crate::error::{Blame, Fault};

/// A registry that did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// A component that is longer than any that is taken.
    #[error("the component is longer than {most} bytes, which is the most that is taken")]
    TooLarge {
        /// The most that is taken.
        most: u64,
    },
    /// A name, or a text, that cannot be kept.
    #[error("{0}")]
    BadEntry(String),
    /// Another version has that name.
    #[error("UDF {udf} has a version `{name}` already, with digest {}: take another name", .digest.short())]
    NameTaken {
        /// The UDF.
        udf: String,
        /// The name.
        name: String,
        /// Whose it is.
        digest: Digest,
    },
    /// Nothing is here under that name or digest.
    #[error("{0}")]
    Unknown(String),
    /// More than one digest begins like that.
    #[error("`{text}` is the beginning of {} digests of UDF {udf}: {}; write more of it", .digests.len(), shorts(.digests))]
    Ambiguous {
        /// The UDF.
        udf: String,
        /// What was asked for.
        text: String,
        /// What it may mean.
        digests: Vec<Digest>,
    },
    /// What is in the folder is not what was put there.
    #[error("the registry in {folder} holds damaged data: {cause}")]
    Damaged {
        /// The registry's folder.
        folder: String,
        /// What does not verify, and what to try.
        cause: String,
    },
    /// The disk does not do what it should.
    #[error("the registry in {folder} cannot be used: {cause}")]
    Unusable {
        /// The registry's folder.
        folder: String,
        /// What the system says.
        cause: String,
    },
}

fn shorts(digests: &[Digest]) -> String {
    digests.iter().map(Digest::short).collect::<Vec<_>>().join(", ")
}

impl RegistryError {
    pub(super) fn damaged(folder: &Path, cause: impl Into<String>) -> Self {
        Self::Damaged { folder: folder.display().to_string(), cause: cause.into() }
    }

    pub(super) fn unusable(folder: &Path, cause: impl ToString) -> Self {
        Self::Unusable { folder: folder.display().to_string(), cause: cause.to_string() }
    }
}

impl Blame for RegistryError {
    fn fault(&self) -> Fault {
        match self {
            Self::Damaged { .. } | Self::Unusable { .. } => Fault::External,
            _ => Fault::User,
        }
    }

    fn retry_helps(&self) -> bool {
        false
    }
}
