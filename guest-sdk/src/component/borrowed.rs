//! The host's context as the SDK holds it, and the part of [`crate::host::Host`] that takes no time.
//!
//! The interfaces `broker` and `broker-async` have these functions in common, but their resources are types of
//! their own without a common trait; so what stands here is written once as macros over the interface. Each
//! world's own way to wait is in `component` and `component::tasks`.

/// The struct `Borrowed`: a context of the interface, held by a second handle that is never dropped.
macro_rules! borrowed_context {
    ($broker:ident) => {
        struct Borrowed(::core::mem::ManuallyDrop<$broker::Context>);

        impl Borrowed {
            fn new(ctx: &$broker::Context) -> Self {
                // SAFETY: the handle is that of a live context and is not dropped here. A `Context` cannot be
                // kept by a handler, so it is not used after the borrow has ended.
                #[expect(
                    unsafe_code,
                    reason = "the bindings lend the context for a lifetime that an owned `Context` cannot name"
                )]
                let ctx = unsafe { $broker::Context::from_handle(ctx.handle()) };
                Self(::core::mem::ManuallyDrop::new(ctx))
            }
        }
    };
}

/// The methods of `Host` that both interfaces answer at once.
macro_rules! at_once {
    ($broker:ident) => {
        fn id(&self) -> String {
            self.0.id()
        }

        fn request_id(&self) -> String {
            self.0.request_id()
        }

        fn parent_id(&self) -> Option<String> {
            self.0.parent_id()
        }

        fn caller(&self) -> Option<String> {
            self.0.caller()
        }

        fn level(&self) -> u32 {
            self.0.level()
        }

        fn node_id(&self) -> String {
            self.0.node_id()
        }

        fn name(&self) -> String {
            self.0.name()
        }

        fn event_type(&self) -> Option<$crate::host::EventType> {
            self.0.event_type().map(|kind| match kind {
                $broker::EventType::Emit => $crate::host::EventType::Emit,
                $broker::EventType::Broadcast => $crate::host::EventType::Broadcast,
                $broker::EventType::BroadcastLocal => $crate::host::EventType::BroadcastLocal,
            })
        }

        fn event_groups(&self) -> Vec<String> {
            self.0.event_groups()
        }

        fn meta(&self) -> String {
            self.0.meta()
        }

        fn set_meta(&self, object: &str) -> $crate::Result<()> {
            self.0.set_meta(object).map_err($crate::component::from_failure)
        }

        fn headers(&self) -> String {
            self.0.headers()
        }

        fn set_response_headers(&self, object: &str) -> $crate::Result<()> {
            self.0.set_response_headers(object).map_err($crate::component::from_failure)
        }

        fn remaining_time(&self) -> Option<u32> {
            self.0.remaining_time()
        }

        fn cause(&self) -> Option<$crate::Error> {
            self.0.cause().map($crate::component::from_failure)
        }

        fn stream(&self) -> Option<Box<dyn $crate::host::Source>> {
            self.0.stream().map(|reader| Box::new(reader) as Box<dyn $crate::host::Source>)
        }

        fn respond_stream(&self, object_mode: bool) -> $crate::Result<Box<dyn $crate::host::Sink>> {
            let writer =
                self.0.respond_stream(object_mode).map_err($crate::component::from_failure)?;
            Ok(Box::new(writer))
        }

        fn log_enabled(&self, level: $crate::logger::Level) -> bool {
            $crate::component::logger::enabled(level.into())
        }

        fn settings(&self) -> String {
            $crate::component::config::settings()
        }

        fn local_node_id(&self) -> String {
            $crate::component::config::node_id()
        }

        fn namespace(&self) -> String {
            $crate::component::config::namespace()
        }

        fn service(&self) -> String {
            $crate::component::config::service()
        }
    };
}

pub(super) use {at_once, borrowed_context};
