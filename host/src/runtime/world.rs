//! The worlds that a component can target, and what their exports have in common.
//!
//! The futures of calls are large, and each wait around one would make room for it again: so each has a place of
//! its own.

use wasmtime::component::InstancePre;
use wasmtime::{Engine, Store};

use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::runtime::bindings::asynchronous::{ServiceAsync, ServiceAsyncPre};
use crate::runtime::bindings::isomer::service::types::{Failure, PayloadResult};
use crate::runtime::bindings::middleware::exports::isomer::service::interceptor;
use crate::runtime::bindings::middleware::{Middleware, MiddlewarePre};
use crate::runtime::bindings::{Service, ServicePre};
use crate::runtime::failure::{error_from_guest, payload_to_guest, payload_to_result};
use crate::runtime::handlers::{FIRST_HANDLER, Handle, lend};
use crate::runtime::instance::intercept::error_from_middleware;
use crate::runtime::state::State;

/// What a component is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Worlds `service` and `service-async`.
    Service,
    /// World `middleware`.
    Middleware,
}

/// What a component targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Plain functions.
    Service,
    /// Asynchronous functions.
    ServiceAsync,
    /// Hooks.
    Middleware,
}

impl World {
    /// Those that there are.
    pub(super) const ALL: [Self; 3] = [Self::Service, Self::ServiceAsync, Self::Middleware];

    /// Its name in WIT.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::ServiceAsync => "service-async",
            Self::Middleware => "middleware",
        }
    }

    /// What a component of this world is for.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Service | Self::ServiceAsync => Kind::Service,
            Self::Middleware => Kind::Middleware,
        }
    }

    /// The interface that a component of this world exports, without its version.
    pub(super) fn interface(self) -> &'static str {
        match self {
            Self::Service => "isomer:service/handler",
            Self::ServiceAsync => "isomer:service/handler-async",
            Self::Middleware => "isomer:service/interceptor",
        }
    }
}

/// A component that can be instantiated.
pub(super) enum Pre {
    Service(ServicePre<State>),
    ServiceAsync(ServiceAsyncPre<State>),
    Middleware(MiddlewarePre<State>),
}

impl Pre {
    /// Checks that a linked component has the exports of its world.
    pub(super) fn new(world: World, pre: InstancePre<State>) -> wasmtime::Result<Self> {
        Ok(match world {
            World::Service => Self::Service(ServicePre::new(pre)?),
            World::ServiceAsync => Self::ServiceAsync(ServiceAsyncPre::new(pre)?),
            World::Middleware => Self::Middleware(MiddlewarePre::new(pre)?),
        })
    }

    pub(super) fn world(&self) -> World {
        match self {
            Self::Service(_) => World::Service,
            Self::ServiceAsync(_) => World::ServiceAsync,
            Self::Middleware(_) => World::Middleware,
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        match self {
            Self::Service(pre) => pre.engine(),
            Self::ServiceAsync(pre) => pre.engine(),
            Self::Middleware(pre) => pre.engine(),
        }
    }

    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Guest> {
        Ok(match self {
            Self::Service(pre) => Guest::Service(Box::pin(pre.instantiate_async(store)).await?),
            Self::ServiceAsync(pre) => {
                Guest::ServiceAsync(Box::pin(pre.instantiate_async(store)).await?)
            }
            Self::Middleware(pre) => {
                Guest::Middleware(Box::pin(pre.instantiate_async(store)).await?)
            }
        })
    }
}

/// The exports of an instance.
pub(super) enum Guest {
    Service(Service),
    ServiceAsync(ServiceAsync),
    Middleware(Middleware),
}

/// What a lifecycle function ends with; the outer error is a trap.
type Ended = wasmtime::Result<Result<(), MoleculerError>>;

impl Guest {
    /// The exports of a middleware.
    pub(super) fn interceptor(&self) -> Result<&interceptor::Guest, MoleculerError> {
        match self {
            Self::Middleware(middleware) => Ok(middleware.isomer_service_interceptor()),
            _ => Err(MoleculerError::internal("a service has no hooks")),
        }
    }

    pub(super) async fn describe(&self, store: &mut Store<State>) -> wasmtime::Result<String> {
        match self {
            Self::Service(guest) => {
                Box::pin(guest.isomer_service_handler().call_describe(store)).await
            }
            Self::ServiceAsync(guest) => {
                Box::pin(guest.isomer_service_handler_async().call_describe(store)).await
            }
            Self::Middleware(guest) => {
                Box::pin(guest.isomer_service_interceptor().call_describe(store)).await
            }
        }
    }

    pub(super) async fn started(&self, store: &mut Store<State>) -> Ended {
        let ctx = lend(FIRST_HANDLER);
        Ok(match self {
            Self::Service(guest) => {
                let ended =
                    Box::pin(guest.isomer_service_handler().call_started(store, ctx)).await?;
                ended.map_err(error_from_guest)
            }
            Self::ServiceAsync(guest) => {
                let started = guest.isomer_service_handler_async().func_started();
                Box::pin(started.call_async(store, (ctx,))).await?.0.map_err(error_from_guest)
            }
            Self::Middleware(guest) => {
                let ended =
                    Box::pin(guest.isomer_service_interceptor().call_started(store, ctx)).await?;
                ended.map_err(error_from_middleware)
            }
        })
    }

    pub(super) async fn stopped(&self, store: &mut Store<State>) -> Ended {
        let ctx = lend(FIRST_HANDLER);
        Ok(match self {
            Self::Service(guest) => {
                let ended =
                    Box::pin(guest.isomer_service_handler().call_stopped(store, ctx)).await?;
                ended.map_err(error_from_guest)
            }
            Self::ServiceAsync(guest) => {
                let stopped = guest.isomer_service_handler_async().func_stopped();
                Box::pin(stopped.call_async(store, (ctx,))).await?.0.map_err(error_from_guest)
            }
            Self::Middleware(guest) => {
                let ended =
                    Box::pin(guest.isomer_service_interceptor().call_stopped(store, ctx)).await?;
                ended.map_err(error_from_middleware)
            }
        })
    }

    /// Runs an action; the outer error is a trap.
    pub(super) async fn call_action(
        &self,
        store: &mut Store<State>,
        ctx: Handle,
        key: &str,
        params: &Payload,
    ) -> wasmtime::Result<Result<PayloadResult, Failure>> {
        match self {
            Self::Service(guest) => {
                let (handler, params) = (guest.isomer_service_handler(), payload_to_guest(params));
                Box::pin(handler.call_call_action(store, lend(ctx), key, params)).await
            }
            Self::ServiceAsync(guest) => {
                let call = guest.isomer_service_handler_async().func_call_action();
                let params = payload_to_result(params.clone());
                let args = (lend(ctx), key.to_owned(), params);
                Ok(Box::pin(call.call_async(store, args)).await?.0)
            }
            Self::Middleware(_) => Err(wasmtime::Error::msg("a middleware has no actions")),
        }
    }

    /// Handles an event; the outer error is a trap.
    pub(super) async fn handle_event(
        &self,
        store: &mut Store<State>,
        ctx: Handle,
        key: &str,
        data: &Payload,
    ) -> wasmtime::Result<Result<(), Failure>> {
        match self {
            Self::Service(guest) => {
                let (handler, data) = (guest.isomer_service_handler(), payload_to_guest(data));
                Box::pin(handler.call_handle_event(store, lend(ctx), key, data)).await
            }
            Self::ServiceAsync(guest) => {
                let call = guest.isomer_service_handler_async().func_handle_event();
                let data = payload_to_result(data.clone());
                let args = (lend(ctx), key.to_owned(), data);
                Ok(Box::pin(call.call_async(store, args)).await?.0)
            }
            Self::Middleware(_) => Err(wasmtime::Error::msg("a middleware has no events")),
        }
    }
}
