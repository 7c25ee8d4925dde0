//! Where features are kept: the online store, the offline log, the dead letters; the state that they are made of,
//! events that nobody else keeps, and the versions of UDFs; and what of that state does not fit into memory.

pub mod dead_letter;
mod disk;
mod fields;
pub mod input;
pub mod log;
pub mod online;
pub mod registry;
mod sealed;
pub mod spill;
pub mod state;

use crate::error::{Blame, Fault};

/// A store that did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is away or busy: the same call may succeed later.
    #[error("{store} is not available: {cause}")]
    Unavailable {
        /// Which store, with its address or folder.
        store: String,
        /// What it, or the network, answered.
        cause: String,
    },
    /// What is stored is not what the format says.
    #[error("{store} holds damaged data: {cause}")]
    Damaged {
        /// Which store, with its address or folder.
        store: String,
        /// What does not verify, and where.
        cause: String,
    },
    /// The store will not do this, however often it is asked.
    #[error("{store} refuses: {cause}")]
    Refused {
        /// Which store, with its address or folder.
        store: String,
        /// What it says, and what to try.
        cause: String,
    },
}

impl Blame for StoreError {
    fn fault(&self) -> Fault {
        Fault::External
    }

    fn retry_helps(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
