//! Several calls at once (moleculer: src/service-broker.js mcall).

use futures_util::future::{join_all, try_join_all};

use super::Shared;
use crate::context::{CallItem, Outcome};
use crate::error::MoleculerError;
use crate::payload::Payload;

impl Shared {
    pub(super) async fn mcall(&self, calls: Vec<CallItem>) -> Result<Vec<Payload>, MoleculerError> {
        try_join_all(self.start_all(calls)).await
    }

    pub(super) async fn mcall_settled(&self, calls: Vec<CallItem>) -> Vec<Outcome> {
        join_all(self.start_all(calls)).await
    }

    fn start_all(
        &self,
        calls: Vec<CallItem>,
    ) -> impl Iterator<Item = impl Future<Output = Outcome>> {
        calls.into_iter().map(|item| self.start_call(&item.action, item.params, item.options))
    }
}
