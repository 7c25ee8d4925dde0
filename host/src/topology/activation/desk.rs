//! The coordinator's side of activations: one at a time, from the request to the commit.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::{Activated, Activation, ActivationError, Current};
use crate::time::Micros;

type Reply = oneshot::Sender<Result<Activated, ActivationError>>;

/// What is asked for.
pub(in crate::topology) struct Request {
    pub(super) activation: Activation,
    pub(super) reply: Reply,
}

/// One whose barrier is on its way.
struct Begun {
    epoch: u64,
    at: Micros,
    activation: Arc<Activation>,
    reply: Reply,
}

/// Where requests come in and are answered.
pub(in crate::topology) struct Desk {
    requests: mpsc::Receiver<Request>,
    current: watch::Sender<Current>,
    waiting: Option<Request>,
    begun: Option<Begun>,
}

impl Desk {
    pub(super) fn new(requests: mpsc::Receiver<Request>, current: watch::Sender<Current>) -> Self {
        Self { requests, current, waiting: None, begun: None }
    }

    /// Waits for the next request; for ever while there is one at hand. May be dropped in the middle.
    pub(in crate::topology) async fn listen(&mut self) {
        if !self.is_busy() {
            self.waiting = self.requests.recv().await;
        }
        if self.is_busy() {
            return;
        }
        // Nobody can ask any more.
        std::future::pending::<()>().await;
    }

    /// Whether a request is at hand.
    pub(in crate::topology) fn is_busy(&self) -> bool {
        self.waiting.is_some() || self.begun.is_some()
    }

    /// Whether one waits for an epoch to begin.
    pub(in crate::topology) fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// What is gone over to at the barrier of an epoch that begins now. With a view that has `stopped` nothing is.
    pub(in crate::topology) fn begin(
        &mut self,
        epoch: u64,
        stopped: Option<(String, String)>,
        now: Micros,
    ) -> Option<Arc<Activation>> {
        let Request { mut activation, reply } = self.waiting.take()?;
        if let Some((view, reason)) = stopped {
            answer(reply, Err(ActivationError::Stopped { view, reason }));
            return None;
        }
        activation.begins(epoch, &self.current.borrow().udfs);
        let activation = Arc::new(activation);
        self.begun = Some(Begun { epoch, at: now, activation: activation.clone(), reply });
        Some(activation)
    }

    /// An epoch is over; `counted` says whether it counts, and `stopped` names a view that has stopped.
    pub(in crate::topology) fn over(
        &mut self,
        epoch: u64,
        counted: bool,
        stopped: Option<(String, String)>,
        now: Micros,
    ) {
        let Some(Begun { epoch, at, activation, reply }) = self.begun.take_if(|begun| begun.epoch <= epoch) else {
            return;
        };
        let over = activation.over();
        self.current.send_replace(Current { plan: over.plan.clone(), udfs: over.udfs.clone() });
        answer(
            reply,
            match stopped {
                Some((view, _)) if !counted => Err(ActivationError::NotKept(view)),
                _ => Ok(Activated { epoch, took: now.saturating_sub(at) }),
            },
        );
        // What is taken down gives memory back to the system, which takes its time.
        tokio::task::spawn_blocking(move || activation.take_down());
    }
}

fn answer(reply: Reply, answer: Result<Activated, ActivationError>) {
    if reply.send(answer).is_err() {
        tracing::debug!("nobody waits for the activation's end");
    }
}
