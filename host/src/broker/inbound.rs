//! The broker as the mesh sees it.
use super::Shared;
use crate::context::Context;
use crate::error::MoleculerError;
use futures_util::future::BoxFuture;
use std::sync::Arc;

pub(super) struct Mesh;
impl Shared {
    pub(super) async fn connect(&self) -> Result<(), super::StartError> {
        Ok(())
    }
    pub(super) async fn disconnect(&self) {}
    pub(super) async fn say_offering_nothing(&self) {}
    pub(super) fn tell_mesh(&self, _shrunk: Option<Arc<str>>) {}
    pub(super) fn send_event(
        &self,
        _ctx: &Context,
        _node: &Arc<str>,
        _groups: &[Arc<str>],
    ) -> Option<BoxFuture<'static, Result<(), MoleculerError>>> {
        None
    }
}
