//! Several calls at once (moleculer: src/service-broker.js mcall).

use futures_util::future::{join_all, try_join_all};

use super::Shared;
use crate::context::{CallItem, Outcome};
use crate::error::MoleculerError;
use crate::middleware::hook::Settle;

impl Shared {
    pub(super) async fn mcall(
        &self,
        calls: Vec<CallItem>,
        settle: Settle,
    ) -> Result<Vec<Outcome>, MoleculerError> {
        let started =
            calls.into_iter().map(|item| self.hooked_call(&item.action, item.params, item.options));
        match settle {
            Settle::All => Ok(join_all(started).await),
            Settle::FirstError => Ok(try_join_all(started).await?.into_iter().map(Ok).collect()),
        }
    }
}
