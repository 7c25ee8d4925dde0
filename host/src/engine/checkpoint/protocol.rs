//! The steps of one epoch, and their order.
//!
//! ```text
//!  Gather ─▶ Settle ─▶ SyncParts ─▶ WriteRecord ─▶ SyncRecord ─▶ Remove ─▶ Publish ─▶ Tell
//!  └─ shards ┘└─ outputs ┘└──────────── the state's store ────────────────┘└─ the world ─┘
//!                                                            ▲ from here on the epoch counts
//! ```
//! Whoever does the work asks for the [`Protocol::step`], does it, and says when it is done; a step that fails is tried
//! again or ends the process, and is never left out.

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Take what each shard gives out before its barrier, and write the parts of its state.
    Gather,
    /// Make safe what was given out: the online store's acknowledgements, the log, dead letters and files on disk, the
    /// topics' messages in their outboxes.
    Settle,
    /// Have parts and outboxes on disk.
    SyncParts,
    /// Write the commit record.
    WriteRecord,
    /// Have it on disk.
    SyncRecord,
    /// Remove what no retained record names.
    Remove,
    /// Send what waits in the outboxes.
    Publish,
    /// Tell the sources which positions are safe.
    Tell,
}

impl Step {
    fn after(self) -> Option<Self> {
        Some(match self {
            Self::Gather => Self::Settle,
            Self::Settle => Self::SyncParts,
            Self::SyncParts => Self::WriteRecord,
            Self::WriteRecord => Self::SyncRecord,
            Self::SyncRecord => Self::Remove,
            Self::Remove => Self::Publish,
            Self::Publish => Self::Tell,
            Self::Tell => return None,
        })
    }
}

/// A step was said to be done that was not to be done: the host's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epoch {epoch}: {done:?} is done, where {wanted:?} was to be")]
pub struct OutOfOrder {
    epoch: u64,
    done: Step,
    /// None: the epoch was over.
    wanted: Option<Step>,
}

/// How far an epoch has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Protocol {
    epoch: u64,
    /// The shards that have not written their parts.
    shards: usize,
    step: Option<Step>,
}

impl Protocol {
    /// An epoch of that many shards, at its first step.
    pub fn begin(epoch: u64, shards: usize) -> Self {
        Self { epoch, shards, step: Some(if shards == 0 { Step::Settle } else { Step::Gather }) }
    }

    /// Its number.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What is to be done next; none once all is.
    pub fn step(&self) -> Option<Step> {
        self.step
    }

    /// One more shard's parts are written; after the last one the epoch goes on.
    ///
    /// # Errors
    /// All shards have been there: the host's fault.
    pub fn shard_done(&mut self) -> Result<(), OutOfOrder> {
        if self.step != Some(Step::Gather) {
            return Err(self.out_of_order(Step::Gather));
        }
        self.shards -= 1;
        if self.shards == 0 {
            self.step = Some(Step::Settle);
        }
        Ok(())
    }

    /// The step is done.
    ///
    /// # Errors
    /// It was not the step to be done, or is [`Step::Gather`], which ends by itself: the host's fault.
    pub fn done(&mut self, step: Step) -> Result<(), OutOfOrder> {
        if self.step != Some(step) || step == Step::Gather {
            return Err(self.out_of_order(step));
        }
        self.step = step.after();
        Ok(())
    }

    /// Whether the epoch counts, whatever happens from here on.
    pub fn is_committed(&self) -> bool {
        self.step.is_none_or(|step| step > Step::SyncRecord)
    }

    fn out_of_order(&self, done: Step) -> OutOfOrder {
        OutOfOrder { epoch: self.epoch, done, wanted: self.step }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_in_order_and_none_twice() {
        let mut protocol = Protocol::begin(4, 2);
        assert!(protocol.done(Step::Gather).is_err(), "it ends with the last shard");
        protocol.shard_done().unwrap();
        assert_eq!(protocol.step(), Some(Step::Gather));
        protocol.shard_done().unwrap();
        let error = protocol.shard_done().unwrap_err();
        assert_eq!(error.to_string(), "epoch 4: Gather is done, where Some(Settle) was to be");
        let mut taken = Vec::new();
        while let Some(step) = protocol.step() {
            assert_eq!(protocol.is_committed(), taken.contains(&Step::SyncRecord));
            assert!(protocol.done(Step::Tell).is_err() || step == Step::Tell);
            if step != Step::Tell {
                protocol.done(step).unwrap();
            }
            taken.push(step);
        }
        assert!(taken.is_sorted() && taken.len() == 7 && protocol.is_committed());
        assert!(protocol.done(Step::Tell).is_err());
    }
}
