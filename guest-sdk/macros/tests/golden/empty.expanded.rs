impl Empty {}
#[allow(unused_variables, unreachable_code, clippy::all, reason = "generated")]
const _: () = {
    impl ::isomer_sdk::Service for Empty {
        const SCHEMA: &'static str = "{\"name\":\"empty\",\"actions\":{},\"events\":{},\"isomer\":{\"sdk\":\"rust/0.1.0\",\"lifecycle\":[]}}";
        fn create() -> Self {
            ::isomer_sdk::__private::create::<Empty>()
        }
        async fn started(
            &mut self,
            ctx: &::isomer_sdk::Context,
        ) -> ::isomer_sdk::Result<()> {
            ::core::result::Result::Ok(())
        }
        async fn stopped(
            &mut self,
            ctx: &::isomer_sdk::Context,
        ) -> ::isomer_sdk::Result<()> {
            ::core::result::Result::Ok(())
        }
        async fn call_action(
            &mut self,
            ctx: &::isomer_sdk::Context,
            action: &str,
            payload: ::isomer_sdk::Payload,
        ) -> ::isomer_sdk::Result<::isomer_sdk::Payload> {
            match action {
                _ => {
                    ::core::result::Result::Err(
                        ::isomer_sdk::__private::no_action("empty", action),
                    )
                }
            }
        }
        async fn handle_event(
            &mut self,
            ctx: &::isomer_sdk::Context,
            event: &str,
            payload: ::isomer_sdk::Payload,
        ) -> ::isomer_sdk::Result<()> {
            match event {
                _ => {
                    ::core::result::Result::Err(
                        ::isomer_sdk::__private::no_event("empty", event),
                    )
                }
            }
        }
    }
    #[cfg(not(target_family = "wasm"))]
    const _: fn() -> Empty = <Empty as ::isomer_sdk::Service>::create;
    #[cfg(target_family = "wasm")]
    const _: () = {
        impl ::isomer_sdk::__private::Place for Empty {
            fn instance() -> &'static ::isomer_sdk::__private::Instance<Self> {
                ::std::thread_local! {
                    static INSTANCE : ::core::cell::RefCell < ::core::option::Option <
                    Empty >, > = const {
                    ::core::cell::RefCell::new(::core::option::Option::None) };
                }
                &INSTANCE
            }
        }
        type Exports = ::isomer_sdk::__private::Component<Empty>;
        ::isomer_sdk::__private::export_component!(Exports);
    };
};
