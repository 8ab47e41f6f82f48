//! The shape of a step: a tower layer that turns what it takes into what the next one takes, or stops with an outcome.
//!
//! A step says what it does in [`Step::step`]; [`StepLayer`] makes a tower `Layer` of it. Since the input and output types differ
//! from step to step, a stack with a step left out or two swapped does not compile.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::{EnrollError, Outcome};

/// What a step decided.
pub enum Flow<T> {
    /// Go on with this.
    Continue(T),
    /// This is the answer; it was not written to the inventory yet.
    Stop(Outcome),
}

/// What comes back up the stack: an outcome, and the encoded reply where it was stored in the same write.
#[derive(Clone, Debug)]
pub struct Settled {
    /// What was decided.
    pub outcome: Outcome,
    /// The reply as it was stored, if it was.
    pub reply: Option<bytes::Bytes>,
    /// Whether the inventory has a transaction that says so.
    pub recorded: bool,
}

impl Settled {
    /// An outcome that nothing was written about yet.
    pub fn unrecorded(outcome: Outcome) -> Self {
        Self { outcome, reply: None, recorded: false }
    }

    /// An outcome that the inventory knows; its reply is still to be encoded.
    pub fn recorded(outcome: Outcome) -> Self {
        Self { outcome, reply: None, recorded: true }
    }
}

/// One step of the enrollment.
pub trait Step<In>: Clone + Send + Sync + 'static {
    /// What the next step takes.
    type Out: Send + 'static;

    /// Decides.
    fn step(&self, input: In) -> impl Future<Output = Result<Flow<Self::Out>, EnrollError>> + Send;
}

/// A tower layer for a step.
#[derive(Clone)]
pub struct StepLayer<T>(pub T);

impl<T: Clone, S> Layer<S> for StepLayer<T> {
    type Service = StepService<T, S>;

    fn layer(&self, inner: S) -> Self::Service {
        StepService { step: self.0.clone(), inner }
    }
}

/// The service of a step: runs it, then calls the next one.
#[derive(Clone)]
pub struct StepService<T, S> {
    step: T,
    inner: S,
}

/// The future of a stage.
pub type StageFuture = Pin<Box<dyn Future<Output = Result<Settled, EnrollError>> + Send>>;

impl<In, T, S> Service<In> for StepService<T, S>
where
    In: Send + 'static,
    T: Step<In>,
    S: Service<T::Out, Response = Settled, Error = EnrollError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Settled;
    type Error = EnrollError;
    type Future = StageFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EnrollError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, input: In) -> StageFuture {
        // Call the instance that was polled ready, and leave its clone for the next request.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let step = self.step.clone();
        Box::pin(async move {
            match step.step(input).await? {
                Flow::Continue(next) => inner.call(next).await,
                Flow::Stop(outcome) => Ok(Settled::unrecorded(outcome)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enroll::{Rejection, RejectionCode};
    use tower::{ServiceBuilder, ServiceExt};

    #[derive(Clone)]
    struct Half;

    impl Step<u32> for Half {
        type Out = f64;

        async fn step(&self, input: u32) -> Result<Flow<f64>, EnrollError> {
            Ok(match input {
                0 => Flow::Stop(Outcome::Refused(Rejection::new(RejectionCode::NoGroup, "zero"))),
                n => Flow::Continue(f64::from(n) / 2.0),
            })
        }
    }

    fn refused(outcome: &Outcome) -> Option<&str> {
        match outcome {
            Outcome::Refused(rejection) => Some(&rejection.detail),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_step_hands_on_or_stops() {
        let stack = ServiceBuilder::new().layer(StepLayer(Half)).service(tower::service_fn(|half: f64| async move {
            Ok::<_, EnrollError>(Settled::recorded(Outcome::Refused(Rejection::new(RejectionCode::Denied, half.to_string()))))
        }));
        let passed = stack.clone().oneshot(5).await.expect("an outcome");
        assert_eq!((refused(&passed.outcome), passed.recorded), (Some("2.5"), true));
        let stopped = stack.oneshot(0).await.expect("an outcome");
        assert_eq!((refused(&stopped.outcome), stopped.recorded), (Some("zero"), false));
    }
}
