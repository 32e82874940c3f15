//! Methods that run around an action: before it, after it, and when it failed.
//!
//! The order is Moleculer's (moleculer: src/middlewares/action-hook.js): before the action the hooks of
//! `*`, those whose pattern means the action, its own; after it and after an error the reverse groups. Error
//! hooks also get the errors of other hooks, and what one of them recovers skips the rest. A fallback stands
//! outside of all hooks; the host asks for it under the key `ACTION|fallback`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Error, FnArg, LitStr, Signature, Type};

use crate::handler::{self, Handler, is_unit, names, result_of};
use crate::pattern;

/// When a method runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
    Error,
    Fallback,
}

/// A method that runs at some moment, ready to be called.
#[derive(Clone)]
pub(crate) struct Hook {
    function: syn::Ident,
    is_async: bool,
    /// In the order of the function.
    inputs: Vec<Input>,
    output: Option<Type>,
}

/// One parameter after `self`.
#[derive(Clone)]
enum Input {
    Context,
    /// The params of the action; by `&mut` when the hook may change them.
    Params {
        ty: Box<Type>,
        changed: bool,
    },
    /// What the action returned.
    Result(Box<Type>),
    Error,
}

impl Moment {
    /// The attribute of such methods.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Error => "error_hook",
            Self::Fallback => "fallback",
        }
    }

    /// What such a method may take.
    fn takes(self) -> &'static str {
        match self {
            Self::Before => "a `before` hook takes `&Context` and `&mut` params, nothing more",
            Self::After => "an `after` hook takes `&Context`, the params and the result, by value",
            Self::Error | Self::Fallback => {
                "this method takes `&Context`, the params and the `Error`, by value, nothing more"
            }
        }
    }
}

/// Reads a method that runs at this moment.
pub(crate) fn parse(moment: Moment, signature: &Signature) -> syn::Result<Hook> {
    handler::check_function(moment.name(), signature)?;
    let arguments: Vec<&FnArg> = signature.inputs.iter().skip(1).collect();
    let mut inputs = Vec::new();
    for argument in &arguments {
        inputs.push(input(moment, argument)?);
    }
    // Of two values by value, an `after` hook gets the params first; a single one is the result.
    if moment == Moment::After
        && let Some(last) =
            inputs.iter_mut().rev().find(|input| matches!(input, Input::Params { .. }))
        && let Input::Params { ty, .. } = last
    {
        *last = Input::Result(ty.clone());
    }
    check_once(moment, &inputs, &arguments)?;
    let output = handler::output(signature);
    check_output(moment, signature, output.as_ref())?;
    let (function, is_async) = (signature.ident.clone(), signature.asyncness.is_some());
    Ok(Hook { function, is_async, inputs, output })
}

fn input(moment: Moment, argument: &FnArg) -> syn::Result<Input> {
    if moment == Moment::Before
        && let FnArg::Typed(argument) = argument
        && let Type::Reference(reference) = &*argument.ty
        && reference.mutability.is_some()
        && !names(&reference.elem, "Context")
    {
        return Ok(Input::Params { ty: reference.elem.clone(), changed: true });
    }
    match handler::input(argument)? {
        handler::Input::Context => Ok(Input::Context),
        handler::Input::Data(ty)
            if names(&ty, "Error") && matches!(moment, Moment::Error | Moment::Fallback) =>
        {
            Ok(Input::Error)
        }
        handler::Input::Data(ty) => Ok(Input::Params { ty, changed: false }),
    }
}

fn check_once(moment: Moment, inputs: &[Input], arguments: &[&FnArg]) -> syn::Result<()> {
    for (index, input) in inputs.iter().enumerate() {
        let kind = std::mem::discriminant(input);
        if inputs.iter().take(index).any(|other| std::mem::discriminant(other) == kind) {
            let span = arguments.get(index).map_or_else(proc_macro2::Span::call_site, |a| a.span());
            return Err(Error::new(span, moment.takes()));
        }
    }
    Ok(())
}

fn check_output(moment: Moment, signature: &Signature, output: Option<&Type>) -> syn::Result<()> {
    let span = output.map_or_else(|| signature.ident.span(), |ty| ty.span());
    let is_result = output.is_some_and(|ty| names(ty, "Result"));
    match moment {
        Moment::Before
            if output.is_some_and(|ty| {
                !(is_unit(ty) || is_result && result_of(ty).is_none_or(is_unit))
            }) =>
        {
            let message = "a `before` hook returns nothing or `Result<()>`; it changes the params \
                           through `&mut`";
            Err(Error::new(span, message))
        }
        Moment::Error if !is_result && !output.is_some_and(|ty| names(ty, "Error")) => {
            let message = "an error hook returns `Error` (the one to go on with) or `Result<T>` \
                           (`Ok` is the result instead)";
            Err(Error::new(span, message))
        }
        _ => Ok(()),
    }
}

impl Hook {
    /// Whether it reads the params of the action.
    fn wants_params(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input, Input::Params { .. }))
    }

    /// Whether it may change the params.
    fn changes_params(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input, Input::Params { changed: true, .. }))
    }

    fn is_result(&self) -> bool {
        self.output.as_ref().is_some_and(|ty| names(ty, "Result"))
    }

    /// Whether it returns something that takes the place of the result.
    fn has_value(&self) -> bool {
        let unit =
            |ty: &Type| is_unit(ty) || names(ty, "Result") && result_of(ty).is_none_or(is_unit);
        self.output.as_ref().is_some_and(|ty| !unit(ty))
    }

    /// `Self::function(self, …)`, awaited, with `?` when it returns a `Result`. Expects what it takes in
    /// `params`, `value` and `error`.
    fn call(&self) -> TokenStream {
        let function = &self.function;
        let arguments = self.inputs.iter().map(|input| match input {
            Input::Context => quote!(ctx),
            Input::Params { changed: true, .. } => quote!(&mut params),
            Input::Params { changed: false, .. } => quote!(params),
            Input::Result(_) => quote!(value),
            Input::Error => quote!(error),
        });
        let wait = self.is_async.then(|| quote!(.await));
        let unwrap = self.is_result().then(|| quote!(?));
        quote!(Self::#function(self, #(#arguments),*) #wait #unwrap)
    }

    /// Reads the params, and with `?` fails when they do not fit.
    fn read_params(&self) -> Option<TokenStream> {
        self.inputs.iter().find_map(|input| match input {
            Input::Params { ty, changed } => {
                let mutable = changed.then(|| quote!(mut));
                Some(quote_spanned! {ty.span()=>
                    let #mutable params = ::isomer_sdk::__private::params::<#ty>(
                        ::core::clone::Clone::clone(&payload),
                    )?;
                })
            }
            _ => None,
        })
    }

    /// Reads the params; when they do not fit, the error that is there already goes on.
    fn read_params_or_rethrow(&self) -> Option<TokenStream> {
        self.inputs.iter().find_map(|input| match input {
            Input::Params { ty, .. } => Some(quote_spanned! {ty.span()=>
                let ::core::result::Result::Ok(params) = ::isomer_sdk::__private::params::<#ty>(
                    ::core::clone::Clone::clone(&payload),
                ) else {
                    return ::core::result::Result::Err(error);
                };
            }),
            _ => None,
        })
    }

    /// Runs it before the action. Expects `payload`, in which it leaves the params.
    fn before(&self) -> TokenStream {
        let (read, call) = (self.read_params(), self.call());
        let write = self
            .changes_params()
            .then(|| quote!(payload = ::isomer_sdk::__private::reply(&params)?;));
        quote! {{
            #read
            let () = #call;
            #write
        }}
    }

    /// Runs it after the action. Expects and gives `result`.
    fn after(&self) -> TokenStream {
        let params = self.read_params();
        let keep = !self.has_value();
        let value = self.inputs.iter().find_map(|input| match input {
            Input::Result(ty) => {
                let result = if keep {
                    quote!(::core::clone::Clone::clone(&result))
                } else {
                    quote!(result)
                };
                Some(quote_spanned! {ty.span()=>
                    let value = ::isomer_sdk::__private::result::<#ty>(#result)?;
                })
            }
            _ => None,
        });
        let call = self.call();
        if keep {
            return quote! {{
                #params
                #value
                let () = #call;
            }};
        }
        let span = self.output.as_ref().map_or_else(|| self.function.span(), |ty| ty.span());
        let reply = quote_spanned!(span=> ::isomer_sdk::__private::reply(&value)?);
        quote! {
            let result = {
                #params
                #value
                let value = #call;
                #reply
            };
        }
    }

    /// The value or error that it makes of `error`, as the end of a block.
    fn instead(&self) -> TokenStream {
        let (params, call) = (self.read_params_or_rethrow(), self.call());
        let ty = self.output.as_ref().filter(|ty| names(ty, "Error"));
        if ty.is_some() {
            return quote! {
                #params
                ::core::result::Result::Err(#call)
            };
        }
        let span = self.output.as_ref().map_or_else(|| self.function.span(), |ty| ty.span());
        let reply = quote_spanned!(span=> ::isomer_sdk::__private::reply(&value));
        quote! {
            #params
            let value = #call;
            #reply
        }
    }

    /// The name under which it gets the error; one that it does not use has an underscore.
    fn error_name(&self) -> TokenStream {
        let used = self.inputs.iter().any(|input| matches!(input, Input::Error));
        if used || self.wants_params() { quote!(error) } else { quote!(_error) }
    }

    /// The body of a fallback. Expects `payload`.
    pub(crate) fn fallback(&self) -> TokenStream {
        let (error, body) = (self.error_name(), self.instead());
        quote! {{
            let #error = ::isomer_sdk::__private::cause(ctx);
            #body
        }}
    }
}

/// The hooks of one action, in the order in which they run.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) before: Vec<Hook>,
    pub(crate) after: Vec<Hook>,
    pub(crate) error: Vec<Hook>,
}

impl Hooks {
    /// The hooks of the service that mean this action, and its own, in Moleculer's order.
    pub(crate) fn new(
        action: &str,
        service: &[(Moment, LitStr, Hook)],
        own: &[(Moment, Hook)],
    ) -> Self {
        let own = |at: Moment| own.iter().filter(move |(m, _)| *m == at).map(|(_, hook)| hook);
        let all = |at: Moment| of_service(service, at, |pattern| pattern == pattern::ALL);
        let some = |at: Moment| {
            of_service(service, at, |pattern| {
                pattern != pattern::ALL && pattern::matches(pattern, action)
            })
        };
        let outwards = |at| own(at).chain(some(at)).chain(all(at)).cloned().collect();
        let before = Moment::Before;
        Self {
            before: all(before).chain(some(before)).chain(own(before)).cloned().collect(),
            after: outwards(Moment::After),
            error: outwards(Moment::Error),
        }
    }

    /// The body of an action with its hooks around it. Without hooks it is the action's own.
    pub(crate) fn around(&self, handler: &Handler) -> TokenStream {
        let action = handler.action();
        if self.before.is_empty() && self.after.is_empty() && self.error.is_empty() {
            return action;
        }
        let mutable = self.before.iter().any(Hook::changes_params).then(|| {
            quote! {
                let mut payload = payload;
            }
        });
        // Only who reads the params later pays for a copy.
        let kept = self.after.iter().chain(&self.error).any(Hook::wants_params).then(|| {
            quote! {
                let payload = ::core::clone::Clone::clone(&payload);
            }
        });
        let before = self.before.iter().map(Hook::before);
        let after = self.after.iter().map(Hook::after);
        let error = self.error.iter().map(|hook| {
            let (name, body) = (hook.error_name(), hook.instead());
            quote! {
                let outcome: ::isomer_sdk::Result<::isomer_sdk::Payload> = match outcome {
                    ::core::result::Result::Err(#name) => async { #body }.await,
                    outcome => outcome,
                };
            }
        });
        quote! {{
            #mutable
            let outcome: ::isomer_sdk::Result<::isomer_sdk::Payload> = async {
                #(#before)*
                let result = {
                    #kept
                    #action
                }?;
                #(#after)*
                ::core::result::Result::Ok(result)
            }
            .await;
            #(#error)*
            outcome
        }}
    }
}

fn of_service(
    hooks: &[(Moment, LitStr, Hook)],
    moment: Moment,
    means: impl Fn(&str) -> bool,
) -> impl Iterator<Item = &Hook> {
    hooks
        .iter()
        .filter(move |(at, pattern, _)| *at == moment && means(&pattern.value()))
        .map(|(_, _, hook)| hook)
}
