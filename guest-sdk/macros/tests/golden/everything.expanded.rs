impl Posts {
    fn new() -> Self {
        Self { posts: Vec::new() }
    }
    /// Stays where it is.
    async fn get(&mut self, ctx: &Context, params: GetParams) -> Result<Post> {
        self.find(ctx, params.id).await
    }
    fn list(&self) -> Vec<Post> {
        self.posts.clone()
    }
    fn clear(&mut self) {
        self.posts.clear();
    }
    async fn on_user(&mut self, user: User, ctx: &Context) -> Result<()> {
        self.forget(ctx, user)
    }
    async fn start(&mut self, ctx: &Context) -> Result<()> {
        self.load(ctx).await
    }
    fn stop(&self) {}
    fn unmarked<T>(&self, _: T) {}
}
#[allow(unused_variables, unreachable_code, clippy::all, reason = "generated")]
const _: () = {
    impl ::isomer_sdk::Service for Posts {
        const SCHEMA: &'static str = "{\"name\":\"posts\",\"version\":2,\"settings\":{\"pageSize\":10,\"nested\":{\"$secure\":[\"token\"]}},\"metadata\":{\"team\":\"web\"},\"dependencies\":[\"users\",{\"name\":\"mailer\",\"version\":1}],\"actions\":{\"get\":{\"params\":{\"id\":\"number\",\"type\":{\"type\":\"enum\",\"values\":[\"a\",\"b\"]}},\"cache\":{\"keys\":[\"id\"],\"ttl\":5},\"timeout\":2000,\"visibility\":\"protected\",\"rest\":\"GET /:id\",\"isomer\":{\"limits\":{\"fuel\":10000}},\"x-own\":null,\"openapi\":{\"summary\":\"one post\"}},\"listAll\":{\"cache\":true},\"clear\":{}},\"events\":{\"user.*\":{\"group\":\"posts\",\"debounce\":100},\"author.removed\":{}},\"isomer\":{\"sdk\":\"rust/0.1.0\",\"mode\":\"pooled\",\"limits\":{\"fuel\":1000000,\"instances\":{\"max\":4}},\"lifecycle\":[\"started\",\"stopped\"]}}";
        fn create() -> Self {
            <Posts>::new()
        }
        async fn started(
            &mut self,
            ctx: &::isomer_sdk::Context,
        ) -> ::isomer_sdk::Result<()> {
            {
                let () = { Self::start(self, ctx).await? };
                ::core::result::Result::Ok(())
            }
        }
        async fn stopped(
            &mut self,
            ctx: &::isomer_sdk::Context,
        ) -> ::isomer_sdk::Result<()> {
            {
                let () = { Self::stop(self) };
                ::core::result::Result::Ok(())
            }
        }
        async fn call_action(
            &mut self,
            ctx: &::isomer_sdk::Context,
            action: &str,
            payload: ::isomer_sdk::Payload,
        ) -> ::isomer_sdk::Result<::isomer_sdk::Payload> {
            match action {
                "get" => {
                    let result = {
                        let params = ::isomer_sdk::__private::params::<
                            GetParams,
                        >(payload)?;
                        Self::get(self, ctx, params).await?
                    };
                    ::isomer_sdk::__private::reply(&result)
                }
                "listAll" => {
                    let result = { Self::list(self) };
                    ::isomer_sdk::__private::reply(&result)
                }
                "clear" => {
                    let result = { Self::clear(self) };
                    ::isomer_sdk::__private::reply(&result)
                }
                _ => {
                    ::core::result::Result::Err(
                        ::isomer_sdk::__private::no_action("posts", action),
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
                "user.*" => {
                    let () = {
                        let params = ::isomer_sdk::__private::params::<User>(payload)?;
                        Self::on_user(self, params, ctx).await?
                    };
                    ::core::result::Result::Ok(())
                }
                "author.removed" => {
                    let () = {
                        let params = ::isomer_sdk::__private::params::<User>(payload)?;
                        Self::on_user(self, params, ctx).await?
                    };
                    ::core::result::Result::Ok(())
                }
                _ => {
                    ::core::result::Result::Err(
                        ::isomer_sdk::__private::no_event("posts", event),
                    )
                }
            }
        }
    }
    #[cfg(not(target_family = "wasm"))]
    const _: fn() -> Posts = <Posts as ::isomer_sdk::Service>::create;
    #[cfg(target_family = "wasm")]
    const _: () = {
        impl ::isomer_sdk::__private::Place for Posts {
            fn instance() -> &'static ::isomer_sdk::__private::Instance<Self> {
                ::std::thread_local! {
                    static INSTANCE : ::core::cell::RefCell < ::core::option::Option <
                    Posts >, > = const {
                    ::core::cell::RefCell::new(::core::option::Option::None) };
                }
                &INSTANCE
            }
        }
        type Exports = ::isomer_sdk::__private::Component<Posts>;
        ::isomer_sdk::__private::export_component!(Exports);
    };
};
