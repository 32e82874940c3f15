//! From an annotated `impl` block to the block itself and the implementation of `Service` beside it.
//!
//! The user's functions stay as they are, without our attributes. Everything that is wrong is reported at
//! once; the block is emitted even then, so that other messages of the compiler stay true.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Error, FnArg, ImplItem, ImplItemFn, ItemImpl, LitStr, ReturnType, Signature, Type,
};

use crate::args::{Args, EventArgs, suggest};
use crate::handler::{self, Handler};
use crate::hook::{self, Hook, Hooks, Moment};
use crate::json::Json;
use crate::pattern;
use crate::schema::{self, Item};

/// Our attributes on methods.
const MARKS: [&str; 8] =
    ["action", "event", "started", "stopped", "created", "before", "after", "error_hook"];

/// Everything that the methods of a block declare.
#[derive(Default)]
struct Found {
    actions: Vec<Action>,
    events: Vec<(Item, Handler)>,
    /// Hooks of the service in their order, with the actions that they are for.
    hooks: Vec<(Moment, LitStr, Hook)>,
    started: Option<Handler>,
    stopped: Option<Handler>,
    created: Option<syn::Ident>,
    errors: Vec<Error>,
}

/// An action with everything around it.
struct Action {
    item: Item,
    handler: Handler,
    hooks: Hooks,
    fallback: Option<Hook>,
}

/// Expands `#[service(attr)] item`.
pub(crate) fn expand(attr: TokenStream, item: TokenStream) -> (TokenStream, Vec<Error>) {
    let mut block = match syn::parse2::<ItemImpl>(item.clone()) {
        Ok(block) => block,
        Err(error) => return (item.clone(), vec![not_an_impl(&item, error)]),
    };
    let mut errors = check_block(&block);
    let service = match syn::parse2::<Args>(attr) {
        Ok(args) => Some(schema::service(args, &mut errors)),
        Err(error) => {
            errors.push(error);
            None
        }
    };
    let mut found = Found { errors, ..Found::default() };
    for item in &mut block.items {
        if let ImplItem::Fn(function) = item {
            found.take(function);
        }
    }
    found.check_names();
    found.resolve_hooks(&block);
    let mut tokens = block.to_token_stream();
    if found.errors.is_empty()
        && let Some(service) = service
    {
        tokens.extend(found.implement(&block.self_ty, service));
        return (tokens, Vec::new());
    }
    (tokens, found.errors)
}

/// The message when the attribute stands on something else.
fn not_an_impl(item: &TokenStream, error: Error) -> Error {
    let is_impl = item.clone().into_iter().any(|token| token.to_string() == "impl");
    if is_impl {
        return error;
    }
    Error::new(
        item.span(),
        "`#[service]` stands on the `impl` block with the handlers, not on the struct",
    )
}

fn check_block(block: &ItemImpl) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Some((_, path, _)) = &block.trait_ {
        errors.push(Error::new(
            path.span(),
            "`#[service]` stands on an `impl` block of the struct, not of a trait",
        ));
    }
    if let Some(parameter) = block.generics.params.first() {
        errors.push(Error::new(parameter.span(), "a service cannot be generic"));
    }
    errors
}

impl Found {
    /// Takes our attributes off a function and remembers what they say.
    fn take(&mut self, function: &mut ImplItemFn) {
        let (marks, others): (Vec<Attribute>, Vec<Attribute>) =
            std::mem::take(&mut function.attrs).into_iter().partition(is_mark);
        function.attrs = others;
        for mark in marks {
            if let Err(error) = self.take_mark(&mark, function) {
                self.errors.push(error);
            }
        }
    }

    fn take_mark(&mut self, mark: &Attribute, function: &ImplItemFn) -> syn::Result<()> {
        let path = mark.path();
        if path.is_ident("created") {
            return self.take_created(mark, function);
        }
        if path.is_ident("action") {
            let args = arguments::<Args>(mark)?.unwrap_or_default();
            let handler = handler::parse("action", &function.sig)?;
            let item = schema::action(&function.sig.ident, args, &mut self.errors);
            self.actions.push(Action { item, handler, hooks: Hooks::default(), fallback: None });
            return Ok(());
        }
        if path.is_ident("event") {
            let Some(EventArgs { pattern, args }) = arguments(mark)? else {
                let message = "which event? `#[event(\"user.created\")]`, `#[event(\"user.*\")]`";
                return Err(Error::new(path.span(), message));
            };
            let handler = handler::parse("event", &function.sig)?;
            handler.check_silent("event")?;
            let item = schema::event(&pattern, args, &mut self.errors);
            self.events.push((item, handler));
            return Ok(());
        }
        let moments = [Moment::Before, Moment::After, Moment::Error];
        if let Some(moment) = moments.into_iter().find(|moment| path.is_ident(moment.name())) {
            let Some(pattern) = arguments::<LitStr>(mark)? else {
                let name = moment.name();
                let message =
                    format!("which actions? `#[{name}(\"*\")]`, `#[{name}(\"get|list\")]`");
                return Err(Error::new(path.span(), message));
            };
            self.hooks.push((moment, pattern, hook::parse(moment, &function.sig)?));
            return Ok(());
        }
        let (what, place) = if path.is_ident("started") {
            ("started", &mut self.started)
        } else {
            ("stopped", &mut self.stopped)
        };
        mark.meta.require_path_only()?;
        let handler = handler::parse(what, &function.sig)?;
        handler.check_silent(what)?;
        handler.check_without_data(what)?;
        if place.is_some() {
            let message = format!("a service has one `#[{what}]`; call the other function from it");
            return Err(Error::new(path.span(), message));
        }
        *place = Some(handler);
        Ok(())
    }

    fn take_created(&mut self, mark: &Attribute, function: &ImplItemFn) -> syn::Result<()> {
        mark.meta.require_path_only()?;
        let signature = &function.sig;
        let refuse = |span, message: &str| Err(Error::new(span, message));
        if self.created.is_some() {
            return refuse(mark.path().span(), "a service has one `#[created]`");
        }
        if let Some(token) = signature.asyncness {
            let message = "`#[created]` cannot wait for anything; use `#[started]` for that";
            return refuse(token.span, message);
        }
        if let Some(input) = signature.inputs.first() {
            return match input {
                FnArg::Receiver(_) => {
                    refuse(input.span(), "`#[created]` makes the instance: `fn new() -> Self`")
                }
                FnArg::Typed(_) => refuse(
                    input.span(),
                    "`#[created]` takes nothing; `#[started]` has a context, for settings and calls",
                ),
            };
        }
        if matches!(signature.output, ReturnType::Default) {
            return refuse(signature.ident.span(), "`#[created]` returns `Self`");
        }
        self.created = Some(signature.ident.clone());
        Ok(())
    }

    fn check_names(&mut self) {
        let actions: Vec<&Item> = self.actions.iter().map(|action| &action.item).collect();
        let events: Vec<&Item> = self.events.iter().map(|(item, _)| item).collect();
        for (items, what) in [(actions, "action"), (events, "event")] {
            for (index, item) in items.iter().enumerate() {
                if items.iter().take(index).any(|other| other.key == item.key) {
                    let message = format!("the {what} `{}` has a handler already", item.key);
                    self.errors.push(Error::new(item.span, message));
                }
            }
        }
    }

    /// Gives each action its hooks and its fallback, when all methods are known.
    fn resolve_hooks(&mut self, block: &ItemImpl) {
        let names: Vec<&str> = self.actions.iter().map(|action| &*action.item.key).collect();
        for (_, pattern, _) in &self.hooks {
            self.errors.extend(pattern::check(pattern, &names).err());
        }
        for action in &mut self.actions {
            let method = |moment: Moment, method: &schema::Method, errors: &mut Vec<Error>| {
                find(block, method)
                    .and_then(|signature| hook::parse(moment, signature))
                    .map_err(|error| errors.push(error))
                    .ok()
            };
            let errors = &mut self.errors;
            let own: Vec<(Moment, Hook)> = action
                .item
                .hooks
                .iter()
                .filter_map(|(moment, name)| Some((*moment, method(*moment, name, errors)?)))
                .collect();
            action.hooks = Hooks::new(&action.item.key, &self.hooks, &own);
            action.fallback = action
                .item
                .fallback
                .as_ref()
                .and_then(|name| method(Moment::Fallback, name, errors));
        }
    }

    /// The implementation of `Service`, and in Wasm builds the exports.
    fn implement(self, service_type: &Type, service: schema::Service) -> TokenStream {
        let (name, shared) = (service.name.clone(), service.is_shared());
        let (events, event_handlers): (Vec<_>, Vec<_>) = self.events.into_iter().unzip();
        let action_arms: Vec<_> = self.actions.iter().map(Action::arms).collect();
        let actions = self.actions.into_iter().map(|action| action.item).collect();
        let event_names: Vec<_> = events.iter().map(|item| item.key.clone()).collect();
        let event_bodies = event_handlers.iter().map(Handler::silent);
        let create = match &self.created {
            Some(function) => quote!(<#service_type>::#function()),
            None => quote_spanned! {service_type.span()=>
                ::isomer_sdk::__private::create::<#service_type>()
            },
        };
        let mut lifecycle = Vec::new();
        let mut body = |handler: &Option<Handler>, what: &str| match handler {
            Some(handler) => {
                lifecycle.push(Json::text(what));
                handler.silent()
            }
            None => quote!(::core::result::Result::Ok(())),
        };
        let started = body(&self.started, "started");
        let stopped = body(&self.stopped, "stopped");
        let schema = schema::text(service, actions, events, lifecycle);
        let handlers = |receiver: TokenStream| {
            quote! {
                async fn started(
                    #receiver,
                    ctx: &::isomer_sdk::Context,
                ) -> ::isomer_sdk::Result<()> {
                    #started
                }

                async fn stopped(
                    #receiver,
                    ctx: &::isomer_sdk::Context,
                ) -> ::isomer_sdk::Result<()> {
                    #stopped
                }

                async fn call_action(
                    #receiver,
                    ctx: &::isomer_sdk::Context,
                    action: &str,
                    payload: ::isomer_sdk::Payload,
                ) -> ::isomer_sdk::Result<::isomer_sdk::Payload> {
                    match action {
                        #(#action_arms)*
                        _ => ::core::result::Result::Err(
                            ::isomer_sdk::__private::no_action(#name, action),
                        ),
                    }
                }

                async fn handle_event(
                    #receiver,
                    ctx: &::isomer_sdk::Context,
                    event: &str,
                    payload: ::isomer_sdk::Payload,
                ) -> ::isomer_sdk::Result<()> {
                    match event {
                        #(#event_names => #event_bodies)*
                        _ => ::core::result::Result::Err(
                            ::isomer_sdk::__private::no_event(#name, event),
                        ),
                    }
                }
            }
        };
        let (own, beside, exports) = if shared {
            let handlers = handlers(quote!(&self));
            let beside = quote! {
                impl ::isomer_sdk::SharedService for #service_type {
                    #handlers
                }
            };
            (by_the_shared_ones(), beside, shared_exports(service_type))
        } else {
            (handlers(quote!(&mut self)), TokenStream::new(), exports(service_type))
        };
        quote! {
            const _: () = {
                impl ::isomer_sdk::Service for #service_type {
                    const SCHEMA: &'static str = #schema;

                    fn create() -> Self {
                        #create
                    }

                    #own
                }

                #beside

                // Without exports nothing would use the struct, and its author would be warned of that.
                #[cfg(not(target_family = "wasm"))]
                const _: fn() -> #service_type = <#service_type as ::isomer_sdk::Service>::create;

                #[cfg(target_family = "wasm")]
                const _: () = {
                    #exports
                };
            };
        }
    }
}

/// The place of the instance and the exports, in world `service`.
fn exports(service_type: &Type) -> TokenStream {
    quote! {
        impl ::isomer_sdk::__private::Place for #service_type {
            fn instance() -> &'static ::isomer_sdk::__private::Instance<Self> {
                ::std::thread_local! {
                    static INSTANCE: ::core::cell::RefCell<
                        ::core::option::Option<#service_type>,
                    > = const { ::core::cell::RefCell::new(::core::option::Option::None) };
                }
                &INSTANCE
            }
        }

        type Exports = ::isomer_sdk::__private::Component<#service_type>;
        ::isomer_sdk::__private::export_component!(Exports);
    }
}

/// The same in world `service-async`.
fn shared_exports(service_type: &Type) -> TokenStream {
    quote! {
        impl ::isomer_sdk::__private::SharedPlace for #service_type {
            fn instance() -> &'static ::isomer_sdk::__private::SharedInstance<Self> {
                ::std::thread_local! {
                    static INSTANCE: ::core::cell::OnceCell<::std::rc::Rc<#service_type>> =
                        const { ::core::cell::OnceCell::new() };
                }
                &INSTANCE
            }
        }

        type Exports = ::isomer_sdk::__private::SharedComponent<#service_type>;
        ::isomer_sdk::__private::export_shared_component!(Exports);
    }
}

/// The handlers of `Service` in a shared service, which unit tests call.
fn by_the_shared_ones() -> TokenStream {
    quote! {
        async fn started(&mut self, ctx: &::isomer_sdk::Context) -> ::isomer_sdk::Result<()> {
            ::isomer_sdk::SharedService::started(&*self, ctx).await
        }

        async fn stopped(&mut self, ctx: &::isomer_sdk::Context) -> ::isomer_sdk::Result<()> {
            ::isomer_sdk::SharedService::stopped(&*self, ctx).await
        }

        async fn call_action(
            &mut self,
            ctx: &::isomer_sdk::Context,
            action: &str,
            payload: ::isomer_sdk::Payload,
        ) -> ::isomer_sdk::Result<::isomer_sdk::Payload> {
            ::isomer_sdk::SharedService::call_action(&*self, ctx, action, payload).await
        }

        async fn handle_event(
            &mut self,
            ctx: &::isomer_sdk::Context,
            event: &str,
            payload: ::isomer_sdk::Payload,
        ) -> ::isomer_sdk::Result<()> {
            ::isomer_sdk::SharedService::handle_event(&*self, ctx, event, payload).await
        }
    }
}

impl Action {
    /// What `call-action` does for it, and for its fallback.
    fn arms(&self) -> TokenStream {
        let (key, body) = (&self.item.key, self.hooks.around(&self.handler));
        let fallback = self.fallback.as_ref().map(|fallback| {
            let (key, body) = (format!("{key}|fallback"), fallback.fallback());
            quote!(#key => #body)
        });
        quote!(#key => #body #fallback)
    }
}

/// The method of this name in the block.
fn find<'a>(block: &'a ItemImpl, (name, span): &schema::Method) -> syn::Result<&'a Signature> {
    let methods = || {
        block.items.iter().filter_map(|item| match item {
            ImplItem::Fn(function) => Some(&function.sig),
            _ => None,
        })
    };
    methods().find(|signature| signature.ident == name).ok_or_else(|| {
        let names: Vec<String> = methods().map(|signature| signature.ident.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let message = match suggest(name, &names) {
            Some(meant) => format!("no method is called `{name}`; did you mean `{meant}`?"),
            None => format!("no method of this block is called `{name}`"),
        };
        Error::new(*span, message)
    })
}

fn is_mark(attribute: &Attribute) -> bool {
    MARKS.iter().any(|mark| attribute.path().is_ident(mark))
}

/// The arguments in parentheses; `None` when there are none at all.
fn arguments<T: syn::parse::Parse>(mark: &Attribute) -> syn::Result<Option<T>> {
    match &mark.meta {
        syn::Meta::Path(_) => Ok(None),
        _ => mark.parse_args().map(Some),
    }
}

#[cfg(test)]
mod tests;
