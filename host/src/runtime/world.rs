//! The two worlds that a component can target, and what their exports have in common.

use wasmtime::component::InstancePre;
use wasmtime::{Engine, Store};

use crate::error::MoleculerError;
use crate::runtime::bindings::exports::isomer::service::handler;
use crate::runtime::bindings::middleware::exports::isomer::service::interceptor;
use crate::runtime::bindings::middleware::{Middleware, MiddlewarePre};
use crate::runtime::bindings::{Service, ServicePre};
use crate::runtime::failure::error_from_guest;
use crate::runtime::instance::intercept::error_from_middleware;
use crate::runtime::state::{State, context_handle};

/// What a component is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// World `service`.
    Service,
    /// World `middleware`.
    Middleware,
}

impl Kind {
    /// The interface that a component of this kind exports, without its version.
    pub(super) fn interface(self) -> &'static str {
        match self {
            Self::Service => "isomer:service/handler",
            Self::Middleware => "isomer:service/interceptor",
        }
    }
}

/// A component that can be instantiated.
pub(super) enum Pre {
    Service(ServicePre<State>),
    Middleware(MiddlewarePre<State>),
}

impl Pre {
    /// Checks that a linked component has the exports of its world.
    pub(super) fn new(kind: Kind, pre: InstancePre<State>) -> wasmtime::Result<Self> {
        Ok(match kind {
            Kind::Service => Self::Service(ServicePre::new(pre)?),
            Kind::Middleware => Self::Middleware(MiddlewarePre::new(pre)?),
        })
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::Middleware(_) => Kind::Middleware,
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        match self {
            Self::Service(pre) => pre.engine(),
            Self::Middleware(pre) => pre.engine(),
        }
    }

    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Guest> {
        Ok(match self {
            Self::Service(pre) => Guest::Service(pre.instantiate_async(store).await?),
            Self::Middleware(pre) => Guest::Middleware(pre.instantiate_async(store).await?),
        })
    }
}

/// The exports of an instance.
pub(super) enum Guest {
    Service(Service),
    Middleware(Middleware),
}

/// What a lifecycle function ends with; the outer error is a trap.
type Ended = wasmtime::Result<Result<(), MoleculerError>>;

impl Guest {
    /// The exports of a service.
    pub(super) fn handler(&self) -> Result<&handler::Guest, MoleculerError> {
        match self {
            Self::Service(service) => Ok(service.isomer_service_handler()),
            Self::Middleware(_) => Err(MoleculerError::internal("a middleware has no actions")),
        }
    }

    /// The exports of a middleware.
    pub(super) fn interceptor(&self) -> Result<&interceptor::Guest, MoleculerError> {
        match self {
            Self::Middleware(middleware) => Ok(middleware.isomer_service_interceptor()),
            Self::Service(_) => Err(MoleculerError::internal("a service has no hooks")),
        }
    }

    pub(super) async fn describe(&self, store: &mut Store<State>) -> wasmtime::Result<String> {
        match self {
            Self::Service(guest) => guest.isomer_service_handler().call_describe(store).await,
            Self::Middleware(guest) => {
                guest.isomer_service_interceptor().call_describe(store).await
            }
        }
    }

    pub(super) async fn started(&self, store: &mut Store<State>) -> Ended {
        let ctx = context_handle();
        Ok(match self {
            Self::Service(guest) => {
                let ended = guest.isomer_service_handler().call_started(store, ctx).await?;
                ended.map_err(error_from_guest)
            }
            Self::Middleware(guest) => {
                let ended = guest.isomer_service_interceptor().call_started(store, ctx).await?;
                ended.map_err(error_from_middleware)
            }
        })
    }

    pub(super) async fn stopped(&self, store: &mut Store<State>) -> Ended {
        let ctx = context_handle();
        Ok(match self {
            Self::Service(guest) => {
                let ended = guest.isomer_service_handler().call_stopped(store, ctx).await?;
                ended.map_err(error_from_guest)
            }
            Self::Middleware(guest) => {
                let ended = guest.isomer_service_interceptor().call_stopped(store, ctx).await?;
                ended.map_err(error_from_middleware)
            }
        })
    }
}
