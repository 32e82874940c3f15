//! The middleware as a component: its exports.

use std::marker::PhantomData;

use bindings::exports::isomer::service::interceptor::{self, Guest};

use super::bindings::isomer::service::{broker, types};
use super::{Instance, enter, from_failure, log_panics};
use crate::middleware::{Decision, Delivery, Described};
use crate::{Payload, Result};

/// What wit-bindgen makes of the world `middleware`; its imports are those of a service.
#[expect(missing_docs, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "middleware",
        pub_export_macro: true,
        export_macro_name: "export_middleware",
        default_bindings_module: "isomer_sdk::__private::middleware_bindings",
        with: {
            "isomer:service/types@0.1.0": crate::component::bindings::isomer::service::types,
            "isomer:service/broker@0.1.0": crate::component::bindings::isomer::service::broker,
            "isomer:service/streams@0.1.0": crate::component::bindings::isomer::service::streams,
            "isomer:service/logger@0.1.0": crate::component::bindings::isomer::service::logger,
            "isomer:service/config@0.1.0": crate::component::bindings::isomer::service::config,
        },
    });
}

/// A middleware with a place for its instance; `#[middleware]` implements it in Wasm builds.
pub trait MiddlewarePlace: Described {
    /// The place.
    fn instance() -> &'static Instance<Self>;
}

/// The exports of the component whose middleware is `M`.
pub struct Interceptor<M>(PhantomData<M>);

impl<M: MiddlewarePlace> Guest for Interceptor<M> {
    fn describe() -> String {
        log_panics();
        M::SCHEMA.to_string()
    }

    fn started(ctx: &broker::Context) -> Result<(), types::Failure> {
        enter(M::instance(), M::create, ctx, async |own, ctx| own.started(ctx).await)
    }

    fn stopped(ctx: &broker::Context) -> Result<(), types::Failure> {
        enter(M::instance(), M::create, ctx, async |own, ctx| own.stopped(ctx).await)
    }

    fn before_call(
        ctx: &broker::Context,
        action: String,
        params: types::Payload,
    ) -> Result<interceptor::Decision, types::Failure> {
        let decision = enter(M::instance(), M::create, ctx, async |own, ctx| {
            own.before_call(ctx, &action, params.into()).await
        })?;
        Ok(match decision {
            Decision::Proceed => interceptor::Decision::Proceed,
            Decision::ProceedWith(params) => interceptor::Decision::ProceedWith(params.into()),
            Decision::Answer(result) => interceptor::Decision::Answer(result.into()),
        })
    }

    fn after_call(
        ctx: &broker::Context,
        action: String,
        returned: types::Payload,
    ) -> Result<Option<types::Payload>, types::Failure> {
        let changed = enter(M::instance(), M::create, ctx, async |own, ctx| {
            own.after_call(ctx, &action, returned.into()).await
        })?;
        Ok(changed.map(Into::into))
    }

    fn on_error(
        ctx: &broker::Context,
        action: String,
        error: types::Failure,
    ) -> Result<types::Payload, types::Failure> {
        let result = enter(M::instance(), M::create, ctx, async |own, ctx| {
            own.on_error(ctx, &action, from_failure(error)).await
        });
        result.map(Payload::into)
    }

    fn before_event(
        ctx: &broker::Context,
        event: String,
        data: types::Payload,
    ) -> Result<interceptor::Delivery, types::Failure> {
        let delivery = enter(M::instance(), M::create, ctx, async |own, ctx| {
            own.before_event(ctx, &event, data.into()).await
        })?;
        Ok(match delivery {
            Delivery::Deliver => interceptor::Delivery::Deliver,
            Delivery::DeliverWith(data) => interceptor::Delivery::DeliverWith(data.into()),
            Delivery::Skip => interceptor::Delivery::Skip,
        })
    }
}
