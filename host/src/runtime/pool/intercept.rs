//! A pool of instances of a middleware.

use crate::context::Context;
use crate::error::MoleculerError;
use crate::runtime::instance::intercept::{Decision, Stage};
use crate::runtime::pool::{Pool, Target, no_instance};

impl Pool {
    /// Runs one hook of a middleware.
    ///
    /// # Errors
    /// What the middleware refused with, or the host's error for the way in which it ended.
    pub async fn intercept(
        &self,
        ctx: Context,
        target: &Target,
        stage: Stage<'_>,
    ) -> Result<Decision, MoleculerError> {
        let mut busy = self.check_out(&ctx, target).await?;
        let deadline = busy.deadline;
        let Some(instance) = &mut busy.instance else { return Err(no_instance()) };
        let closed = &self.0.closed;
        let decided = instance.intercept(ctx, stage, &target.limits, deadline, closed).await;
        busy.check_in();
        decided
    }
}
