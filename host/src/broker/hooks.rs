//! The broker's functions with the hooks of middlewares around them
//! (moleculer: src/service-broker.js registerMiddlewares).
//!
//! A function that no middleware wraps is absent here and called directly.

use std::sync::{Arc, Weak};

use futures_util::future::BoxFuture;

use super::Shared;
use crate::context::{CallItem, CallOptions, EmitOptions, Outcome};
use crate::error::MoleculerError;
use crate::middleware::Chain;
use crate::middleware::hook::{
    Call, CreateService, DestroyService, Emit, Mcall, RegisterService, Settle, wrapped,
};
use crate::payload::Payload;
use crate::service::LocalService;

/// What sending an event ends with.
type Sent = BoxFuture<'static, Result<(), MoleculerError>>;
/// One of the three ways of sending an event.
type Send = fn(&Shared, &str, Payload, EmitOptions) -> Sent;

/// The wrapped functions.
pub(super) struct Hooks {
    call: Option<Call>,
    mcall: Option<Mcall>,
    emit: Option<Emit>,
    broadcast: Option<Emit>,
    broadcast_local: Option<Emit>,
    create_service: Option<CreateService>,
    register_service: Option<RegisterService>,
    destroy_service: Option<DestroyService>,
}

impl Hooks {
    pub(super) fn new(chain: &Chain, this: &Weak<Shared>) -> Self {
        Self {
            call: wrapped(call(this), |call| chain.wrap(call, |m, next| m.call(next))),
            mcall: wrapped(mcall(this), |mcall| chain.wrap(mcall, |m, next| m.mcall(next))),
            emit: wrapped(emit(this, Shared::emit_balanced), |emit| {
                chain.wrap(emit, |m, next| m.emit(next))
            }),
            broadcast: wrapped(emit(this, Shared::broadcast_all), |emit| {
                chain.wrap(emit, |m, next| m.broadcast(next))
            }),
            broadcast_local: wrapped(emit(this, Shared::broadcast_here), |emit| {
                chain.wrap(emit, |m, next| m.broadcast_local(next))
            }),
            create_service: wrapped(create_service(this), |create| {
                chain.wrap(create, |m, next| m.create_service(next))
            }),
            register_service: wrapped(register_service(this), |register| {
                chain.wrap(register, |m, next| m.register_local_service(next))
            }),
            destroy_service: wrapped(destroy_service(this), |destroy| {
                chain.wrap(destroy, |m, next| m.destroy_service(next))
            }),
        }
    }
}

impl Shared {
    pub(super) fn hooked_call(
        &self,
        action: &str,
        params: Payload,
        options: CallOptions,
    ) -> BoxFuture<'static, Outcome> {
        match &self.hooks.call {
            None => self.start_call(action, params, options),
            Some(call) => call(action.into(), params, options),
        }
    }

    pub(super) async fn hooked_mcall(
        &self,
        calls: Vec<CallItem>,
        settle: Settle,
    ) -> Result<Vec<Outcome>, MoleculerError> {
        match &self.hooks.mcall {
            None => self.mcall(calls, settle).await,
            Some(mcall) => mcall(calls, settle).await,
        }
    }

    pub(super) fn hooked_emit(&self, event: &str, data: Payload, options: EmitOptions) -> Sent {
        match &self.hooks.emit {
            None => self.emit_balanced(event, data, options),
            Some(emit) => emit(event.into(), data, options),
        }
    }

    pub(super) fn hooked_broadcast(
        &self,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> Sent {
        match &self.hooks.broadcast {
            None => self.broadcast_all(event, data, options),
            Some(broadcast) => broadcast(event.into(), data, options),
        }
    }

    pub(super) fn hooked_broadcast_local(
        &self,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> Sent {
        match &self.hooks.broadcast_local {
            None => self.broadcast_here(event, data, options),
            Some(broadcast) => broadcast(event.into(), data, options),
        }
    }

    pub(super) async fn hooked_create(&self, service: LocalService) -> Result<(), MoleculerError> {
        match &self.hooks.create_service {
            None => self.create_service(service).await,
            Some(create) => create(service).await,
        }
    }

    pub(super) fn hooked_register(&self, service: LocalService) {
        match &self.hooks.register_service {
            None => self.register(service),
            Some(register) => register(service),
        }
    }

    pub(super) async fn hooked_destroy(&self, full_name: &Arc<str>) -> bool {
        match &self.hooks.destroy_service {
            None => self.remove_service(full_name).await,
            Some(destroy) => destroy(Arc::clone(full_name)).await,
        }
    }
}

fn call(this: &Weak<Shared>) -> Call {
    let this = Weak::clone(this);
    Arc::new(move |action, params, options| match this.upgrade() {
        Some(shared) => shared.start_call(&action, params, options),
        None => Box::pin(std::future::ready(Err(MoleculerError::broker_disconnected()))),
    })
}

fn mcall(this: &Weak<Shared>) -> Mcall {
    let this = Weak::clone(this);
    Arc::new(move |calls, settle| {
        let shared = this.upgrade();
        Box::pin(async move {
            let shared = shared.ok_or_else(MoleculerError::broker_disconnected)?;
            shared.mcall(calls, settle).await
        })
    })
}

fn emit(this: &Weak<Shared>, send: Send) -> Emit {
    let this = Weak::clone(this);
    Arc::new(move |event, data, options| match this.upgrade() {
        Some(shared) => send(&shared, &event, data, options),
        None => Box::pin(std::future::ready(Err(MoleculerError::broker_disconnected()))),
    })
}

fn create_service(this: &Weak<Shared>) -> CreateService {
    let this = Weak::clone(this);
    Arc::new(move |service| {
        let shared = this.upgrade();
        Box::pin(async move {
            let shared = shared.ok_or_else(MoleculerError::broker_disconnected)?;
            shared.create_service(service).await
        })
    })
}

fn register_service(this: &Weak<Shared>) -> RegisterService {
    let this = Weak::clone(this);
    Arc::new(move |service| {
        if let Some(shared) = this.upgrade() {
            shared.register(service);
        }
    })
}

fn destroy_service(this: &Weak<Shared>) -> DestroyService {
    let this = Weak::clone(this);
    Arc::new(move |full_name| {
        let shared = this.upgrade();
        Box::pin(async move {
            match shared {
                Some(shared) => shared.remove_service(&full_name).await,
                None => false,
            }
        })
    })
}
