//! `#[migrate(from = 1)]`: reading states of older versions.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, FnArg, Ident, ImplItemFn, LitInt, ReturnType, TypePath, spanned::Spanned};

use crate::{arguments::Arguments, handler::last_segment};

/// A migration from one version.
pub(crate) struct Migration {
    from: LitInt,
    method: Ident,
    /// Whether it returns a `Result`.
    may_fail: bool,
}

impl Migration {
    pub(crate) fn read(attribute: &Attribute, method: &ImplItemFn) -> syn::Result<Self> {
        let mut from = None;
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("from") {
                return Err(meta.error("a migration takes from = N, the version that it reads"));
            }
            from = Some(meta.value()?.parse::<LitInt>()?);
            Ok(())
        })?;
        let signature = &method.sig;
        let why = "a migration takes the old state by value and returns the new one: fn(old: CartV1) -> Self";
        let refuse = |span| Err(syn::Error::new(span, why));
        let Some(from) = from else { return refuse(attribute.span()) };
        if let Some(token) = &signature.asyncness {
            return refuse(token.span());
        }
        match (signature.inputs.len(), signature.inputs.first()) {
            (1, Some(FnArg::Typed(_))) => {}
            (_, Some(FnArg::Receiver(receiver))) => return refuse(receiver.span()),
            (_, Some(_) | None) => return refuse(signature.ident.span()),
        }
        let ReturnType::Type(_, returned) = &signature.output else {
            return refuse(signature.ident.span());
        };
        let may_fail = last_segment(returned).is_some_and(|name| name == "Result");
        Ok(Self { from, method: signature.ident.clone(), may_fail })
    }
}

/// `Vnode::migrate`, if there are migrations.
pub(crate) fn expand(
    vnode: &TypePath,
    arguments: &Arguments,
    migrations: &[Migration],
) -> syn::Result<TokenStream> {
    let own = arguments.version.as_ref().map_or(Ok(1), LitInt::base10_parse::<u32>)?;
    let mut seen = Vec::new();
    for migration in migrations {
        let from = migration.from.base10_parse::<u32>()?;
        if from == 0 || from >= own {
            let why =
                format!("a migration reads a version older than the kind's own, which is {own}");
            return Err(syn::Error::new(migration.from.span(), why));
        }
        if seen.contains(&from) {
            return Err(syn::Error::new(
                migration.from.span(),
                "another migration reads this version",
            ));
        }
        seen.push(from);
    }
    if migrations.is_empty() {
        return Ok(TokenStream::new());
    }
    let arms = migrations.iter().zip(&seen).map(|(Migration { method, may_fail, .. }, from)| {
        let made = quote!(<#vnode>::#method(old.read()?));
        if *may_fail {
            quote!(#from => #made.map_err(|error| ::std::string::ToString::to_string(&error)))
        } else {
            quote!(#from => ::core::result::Result::Ok(#made))
        }
    });
    Ok(quote! {
        fn migrate(
            old: ::holocron::OldState<'_>,
        ) -> ::core::result::Result<Self, ::std::string::String> {
            match old.version() {
                #(#arms,)*
                _ => ::core::result::Result::Err(old.unknown()),
            }
        }
    })
}
