//! `#[activate]` and `#[deactivate]`: what a vnode holds outside its state.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{
    FnArg, GenericArgument, Ident, ImplItemFn, PathArguments, ReturnType, Type, spanned::Spanned,
};

use crate::{argument::without_self, arguments::Arguments, handler::last_segment};

/// The hooks of a kind.
#[derive(Default)]
pub(crate) struct Hooks {
    activate: Option<Activate>,
    deactivate: Option<Deactivate>,
}

struct Activate {
    method: Ident,
    takes: Vec<Takes>,
    resource: TokenStream,
}

struct Deactivate {
    method: Ident,
    takes: Vec<Takes>,
}

/// What a hook takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Env,
    Activation,
    Resource,
}

impl Hooks {
    pub(crate) fn activate(&mut self, method: &ImplItemFn, vnode: &TokenStream) -> syn::Result<()> {
        if self.activate.is_some() {
            return Err(syn::Error::new(
                method.sig.ident.span(),
                "another method is #[activate] already",
            ));
        }
        let why = "an #[activate] is async: it may open files and connections";
        let takes = takes(method, why)?;
        if let Some(at) = takes.iter().position(|takes| *takes == Takes::Resource) {
            let why =
                "an #[activate] takes env: &Env and activation: &Activation, each if it needs it";
            return Err(syn::Error::new(method.sig.inputs[at].span(), why));
        }
        let resource = without_self(
            first_of_result(
                &method.sig.output,
                method.sig.ident.span(),
                "an #[activate] returns Result<Resource, Error>",
            )?,
            vnode,
        );
        self.activate = Some(Activate { method: method.sig.ident.clone(), takes, resource });
        Ok(())
    }

    pub(crate) fn deactivate(&mut self, method: &ImplItemFn) -> syn::Result<()> {
        if self.deactivate.is_some() {
            return Err(syn::Error::new(
                method.sig.ident.span(),
                "another method is #[deactivate] already",
            ));
        }
        let takes =
            takes(method, "a #[deactivate] is async: it may wait until what it closes is closed")?;
        if let ReturnType::Type(_, ty) = &method.sig.output {
            return Err(syn::Error::new(
                ty.span(),
                "a #[deactivate] returns nothing: the vnode leaves in any case",
            ));
        }
        self.deactivate = Some(Deactivate { method: method.sig.ident.clone(), takes });
        Ok(())
    }

    /// The `Lifecycle` of the kind's environment.
    pub(crate) fn expand(
        &self,
        vnode: &syn::TypePath,
        arguments: &Arguments,
    ) -> syn::Result<TokenStream> {
        let Some(env) = &arguments.env else {
            let hook = self.activate.as_ref().map(|hook| &hook.method);
            return match hook.or(self.deactivate.as_ref().map(|hook| &hook.method)) {
                None => Ok(TokenStream::new()),
                Some(method) => Err(syn::Error::new(
                    method.span(),
                    "a kind with hooks needs an environment: #[holocron::vnode(…, env = Type)], and .env(value) at the \
                     host's builder",
                )),
            };
        };
        let Some(Activate { method, takes, resource }) = &self.activate else {
            if let Some(deactivate) = &self.deactivate {
                return Err(syn::Error::new(
                    deactivate.method.span(),
                    "there is no #[activate], so nothing is held",
                ));
            }
            return Ok(quote! {
                #[automatically_derived]
                impl ::holocron::Lifecycle<#vnode> for #env {
                    type Resource = ();
                    const HAS_HOOKS: bool = false;
                    async fn open(&self, _: &::holocron::Activation) -> ::core::result::Result<(), ::holocron::BoxError> {
                        ::core::result::Result::Ok(())
                    }
                }
            });
        };
        let given = given(takes);
        let close = self.deactivate.as_ref().map(|Deactivate { method, takes }| {
            let given = self::given(takes);
            let unused = (!takes.contains(&Takes::Resource)).then(|| quote!(::core::mem::drop(resource);));
            quote! {
                async fn close(&self, resource: Self::Resource, activation: &::holocron::Activation) {
                    #unused
                    let _ = activation;
                    <#vnode>::#method(#(#given),*).await;
                }
            }
        });
        Ok(quote! {
            #[automatically_derived]
            impl ::holocron::Lifecycle<#vnode> for #env {
                type Resource = #resource;
                async fn open(
                    &self,
                    activation: &::holocron::Activation,
                ) -> ::core::result::Result<Self::Resource, ::holocron::BoxError> {
                    let _ = activation;
                    <#vnode>::#method(#(#given),*).await.map_err(::core::convert::Into::into)
                }
                #close
            }
        })
    }
}

fn given(takes: &[Takes]) -> Vec<TokenStream> {
    let each = takes.iter().map(|takes| match takes {
        Takes::Env => quote!(self),
        Takes::Activation => quote!(activation),
        Takes::Resource => quote!(resource),
    });
    each.collect()
}

/// What a hook takes, in its order: a reference to an `Activation`, any other reference (the environment), a value (the
/// resource).
fn takes(method: &ImplItemFn, not_async: &str) -> syn::Result<Vec<Takes>> {
    if method.sig.asyncness.is_none() {
        return Err(syn::Error::new(method.sig.fn_token.span(), not_async));
    }
    let mut takes = Vec::new();
    for input in &method.sig.inputs {
        let FnArg::Typed(typed) = input else {
            return Err(syn::Error::new(
                input.span(),
                "a hook takes no self: the state is not its to change. It takes env: &Env and activation: &Activation",
            ));
        };
        let this = match &*typed.ty {
            Type::Reference(reference)
                if last_segment(&reference.elem).is_some_and(|name| name == "Activation") =>
            {
                Takes::Activation
            }
            Type::Reference(_) => Takes::Env,
            _ => Takes::Resource,
        };
        if takes.contains(&this) {
            return Err(syn::Error::new(
                typed.ty.span(),
                "a hook takes each of the environment, the activation and the resource once",
            ));
        }
        takes.push(this);
    }
    Ok(takes)
}

/// `T` of `Result<T, E>`.
pub(crate) fn first_of_result(
    output: &ReturnType,
    method: Span,
    why: &str,
) -> syn::Result<TokenStream> {
    let ReturnType::Type(_, ty) = output else { return Err(syn::Error::new(method, why)) };
    if let Type::Path(path) = &**ty
        && let Some(last) = path.path.segments.last()
        && last.ident == "Result"
        && let PathArguments::AngleBracketed(arguments) = &last.arguments
        && let Some(GenericArgument::Type(first)) = arguments.args.first()
    {
        return Ok(first.to_token_stream());
    }
    Err(syn::Error::new(ty.span(), why))
}
