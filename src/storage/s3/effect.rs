//! Whether a call that failed may have had its effect all the same, or may still have it.

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::FinalizerInterceptorContextRef,
    },
    error::{BoxError, ConnectorError},
};

/// Looks at every try of a call, the SDK's own repetitions included: the last one's error alone
/// does not tell what became of the first.
#[derive(Clone, Debug, Default)]
pub(super) struct Effect(Arc<AtomicBool>);

impl Effect {
    /// Whether a try failed without it being sure that it had no effect.
    pub(super) fn is_possible(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for Effect {
    fn name(&self) -> &'static str {
        "Effect"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Err(error)) = context.output_or_error() else { return Ok(()) };
        let possible = match (context.response(), error.as_connector_error()) {
            // The store says that it did nothing: a client's error, or no time for it.
            (Some(answer), _) => !matches!(answer.status().as_u16(), 400..500 | 503),
            (None, Some(error)) => !never_connected(error),
            // Without a connection's failure or a timeout nothing was sent: no credentials, say.
            (None, None) => error.is_timeout_error(),
        };
        if possible {
            self.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn never_connected(error: &ConnectorError) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}
