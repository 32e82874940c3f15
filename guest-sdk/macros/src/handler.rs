//! A method that handles something: what it takes and returns, and the code that calls it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Error, FnArg, GenericArgument, PathArguments, ReturnType, Signature, Type};

/// A handler, ready to be called.
pub(crate) struct Handler {
    function: syn::Ident,
    is_async: bool,
    /// In the order of the function.
    inputs: Vec<Input>,
    output: Option<Type>,
}

/// One parameter after `self`.
pub(crate) enum Input {
    Context,
    Data(Box<Type>),
}

/// Reads a method. `what` names its attribute in messages.
pub(crate) fn parse(what: &str, signature: &Signature) -> syn::Result<Handler> {
    check_function(what, signature)?;
    let inputs = signature.inputs.iter().skip(1).map(input).collect::<syn::Result<Vec<_>>>()?;
    check_inputs(&inputs, signature)?;
    Ok(Handler {
        function: signature.ident.clone(),
        is_async: signature.asyncness.is_some(),
        inputs,
        output: output(signature),
    })
}

/// The type that a method returns, when it says one.
pub(crate) fn output(signature: &Signature) -> Option<Type> {
    match &signature.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => Some((**ty).clone()),
    }
}

/// Refuses methods that cannot be called on the instance.
pub(crate) fn check_function(what: &str, signature: &Signature) -> syn::Result<()> {
    if let Some(parameter) = signature.generics.params.first() {
        let message = format!("a function marked `#[{what}]` cannot be generic");
        return Err(Error::new(parameter.span(), message));
    }
    if let Some(token) = signature.unsafety {
        let message = format!("a function marked `#[{what}]` cannot be `unsafe`");
        return Err(Error::new(token.span, message));
    }
    match signature.inputs.first() {
        Some(FnArg::Receiver(receiver)) if by_reference(receiver) => Ok(()),
        Some(first) => {
            let message = "a handler takes `&self` or `&mut self`; the instance outlives the call";
            Err(Error::new(first.span(), message))
        }
        None => {
            let message = "a handler takes `&self` or `&mut self` first";
            Err(Error::new(signature.paren_token.span.join(), message))
        }
    }
}

fn by_reference(receiver: &syn::Receiver) -> bool {
    receiver.reference.is_some() && receiver.colon_token.is_none()
}

/// Reads one parameter.
pub(crate) fn input(argument: &FnArg) -> syn::Result<Input> {
    let FnArg::Typed(argument) = argument else {
        return Err(Error::new(argument.span(), "`self` stands first"));
    };
    match &*argument.ty {
        Type::Reference(reference) if names(&reference.elem, "Context") => {
            if let Some(token) = reference.mutability {
                return Err(Error::new(token.span, "the context is `&Context`, without `mut`"));
            }
            Ok(Input::Context)
        }
        Type::Reference(reference) => Err(Error::new(
            reference.span(),
            "params and data are taken by value (and the context as `&Context`)",
        )),
        ty if names(ty, "Context") => {
            Err(Error::new(ty.span(), "the context is borrowed: write `&Context`"))
        }
        Type::ImplTrait(ty) => {
            Err(Error::new(ty.span(), "params and data have a named type, which serde can read"))
        }
        ty => Ok(Input::Data(Box::new(ty.clone()))),
    }
}

fn check_inputs(inputs: &[Input], signature: &Signature) -> syn::Result<()> {
    let refuse = |index: usize, message| {
        let span = signature
            .inputs
            .iter()
            .nth(index + 1)
            .map_or_else(|| signature.span(), |argument| argument.span());
        Err(Error::new(span, message))
    };
    match inputs {
        [] | [_] | [Input::Context, Input::Data(_)] | [Input::Data(_), Input::Context] => Ok(()),
        [Input::Context, Input::Context, ..] => refuse(1, "the context is given twice"),
        [Input::Data(_), Input::Data(_), ..] => {
            refuse(1, "a handler has one value of params or data; make a struct of several")
        }
        [_, _, ..] => refuse(2, "a handler takes `&Context` and its params or data, nothing more"),
    }
}

/// Whether the last word of a path is this one.
pub(crate) fn names(ty: &Type, word: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == word))
}

impl Handler {
    /// `&self.function(…)`, awaited, with `?` when it returns a `Result`. Expects `self`, `ctx` and
    /// `payload` in scope.
    fn call(&self) -> TokenStream {
        let function = &self.function;
        let mut arguments = Vec::new();
        let mut read = TokenStream::new();
        for input in &self.inputs {
            match input {
                Input::Context => arguments.push(quote!(ctx)),
                Input::Data(ty) => {
                    let span = ty.span();
                    read = quote_spanned! {span=>
                        let params = ::isomer_sdk::__private::params::<#ty>(payload)?;
                    };
                    arguments.push(quote!(params));
                }
            }
        }
        let wait = self.is_async.then(|| quote!(.await));
        let unwrap = self.is_result().then(|| quote!(?));
        quote! {{
            #read
            Self::#function(self, #(#arguments),*) #wait #unwrap
        }}
    }

    /// By name, because a macro does not know types; every `Result` that serde or std have ends so.
    fn is_result(&self) -> bool {
        self.output.as_ref().is_some_and(|ty| names(ty, "Result"))
    }

    /// The body of an action.
    pub(crate) fn action(&self) -> TokenStream {
        let call = self.call();
        let span = self.output.as_ref().map_or_else(|| self.function.span(), |ty| ty.span());
        let reply = quote_spanned!(span=> ::isomer_sdk::__private::reply(&result));
        quote! {{
            let result = #call;
            #reply
        }}
    }

    /// The body of a handler without a result.
    pub(crate) fn silent(&self) -> TokenStream {
        let call = self.call();
        quote! {{
            let () = #call;
            ::core::result::Result::Ok(())
        }}
    }

    /// Refuses a result where nobody would get it.
    pub(crate) fn check_silent(&self, what: &str) -> syn::Result<()> {
        let Some(ty) = &self.output else { return Ok(()) };
        if is_unit(ty) || (self.is_result() && result_of(ty).is_none_or(is_unit)) {
            return Ok(());
        }
        let message =
            format!("nobody gets the result of `#[{what}]`: return nothing or `Result<()>`");
        Err(Error::new(ty.span(), message))
    }

    /// Refuses data where there is none.
    pub(crate) fn check_without_data(&self, what: &str) -> syn::Result<()> {
        self.inputs.iter().try_for_each(|input| match input {
            Input::Context => Ok(()),
            Input::Data(ty) => {
                let message =
                    format!("a function marked `#[{what}]` gets no params, only `&Context`");
                Err(Error::new(ty.span(), message))
            }
        })
    }
}

pub(crate) fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// The `T` of `Result<T, …>`.
pub(crate) fn result_of(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}
