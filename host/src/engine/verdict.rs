//! What is found of a version of user code that another one can take the place of: that it is to be withdrawn.
//!
//! ```text
//!   guard ── its circuit opens ──▶ verdict ──▶ who runs the project goes back to the version before
//! ```
//! Always true: a version with a verdict on it never stops its view when its circuit opens. The rows that it would have
//! been given are refused, until another version takes over at a barrier; so the rows of an epoch are of one version.

use std::sync::{Arc, OnceLock};

use super::aggregate::{Aggregate, AggregateFactory, AggregateSignature};
use super::transform::{Transform, TransformFactory, TransformSignature};
use super::udf::CallError;

/// Given at most once, by the first instance that is stopped.
#[derive(Debug, Default)]
pub struct Verdict(OnceLock<String>);

impl Verdict {
    /// Says why it is to be withdrawn; the first one to say so counts.
    pub fn give(&self, reason: &str) {
        // Whoever came first has said enough.
        drop(self.0.set(reason.to_owned()));
    }

    /// Why it is to be withdrawn; none while it is not.
    pub fn given(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// A transform that may be withdrawn.
pub struct OnTrial<F: ?Sized> {
    inner: Arc<F>,
    verdict: Arc<Verdict>,
}

impl<F: ?Sized> OnTrial<F> {
    /// What `inner` makes is under `verdict`.
    pub fn new(inner: Arc<F>, verdict: Arc<Verdict>) -> Self {
        Self { inner, verdict }
    }
}

impl TransformFactory for OnTrial<dyn TransformFactory> {
    fn signature(&self) -> &TransformSignature {
        self.inner.signature()
    }

    fn digest(&self) -> &str {
        self.inner.digest()
    }

    fn create(&self) -> Result<Box<dyn Transform>, CallError> {
        self.inner.create()
    }

    fn verdict(&self) -> Option<&Arc<Verdict>> {
        Some(&self.verdict)
    }
}

impl AggregateFactory for OnTrial<dyn AggregateFactory> {
    fn signature(&self) -> &AggregateSignature {
        self.inner.signature()
    }

    fn digest(&self) -> Option<&str> {
        self.inner.digest()
    }

    fn create(&self) -> Result<Box<dyn Aggregate>, CallError> {
        self.inner.create()
    }

    fn invertible(&self) -> bool {
        self.inner.invertible()
    }

    fn exact(&self) -> bool {
        self.inner.exact()
    }

    fn verdict(&self) -> Option<&Arc<Verdict>> {
        Some(&self.verdict)
    }
}
