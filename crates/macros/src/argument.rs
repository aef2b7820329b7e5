//! Arguments of handlers: what travels, and what the handler gets.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Attribute, Ident, Pat, PatType, Type, spanned::Spanned};

/// An argument of a handler.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    /// The type in the handler's signature.
    pub(crate) given: Type,
    /// The type that travels: owned.
    pub(crate) owned: TokenStream,
    pub(crate) is_reference: bool,
    /// Its attributes for serde.
    pub(crate) serde: Vec<Attribute>,
}

impl Argument {
    /// As a parameter of a generated function, outside of the block.
    pub(crate) fn parameter(&self) -> TokenStream {
        let Self { name, given, owned, is_reference, .. } = self;
        if *is_reference { quote!(#name: #given) } else { quote!(#name: #owned) }
    }

    /// The value of that parameter, owned.
    pub(crate) fn owned_value(&self) -> TokenStream {
        let name = &self.name;
        if self.is_reference {
            quote!(::std::borrow::ToOwned::to_owned(#name))
        } else {
            quote!(#name)
        }
    }

    pub(crate) fn read(input: &mut PatType, noun: &str, vnode: &TokenStream) -> syn::Result<Self> {
        let name = match &*input.pat {
            Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
                pattern.ident.clone()
            }
            other => {
                let why =
                    format!("an argument of a {noun} needs a name, which is its name on the wire");
                return Err(syn::Error::new(other.span(), why));
            }
        };
        let attributes = core::mem::take(&mut input.attrs);
        let (serde, rest) =
            attributes.into_iter().partition(|attribute| attribute.path().is_ident("serde"));
        input.attrs = rest;
        let given = (*input.ty).clone();
        let (is_reference, owned) = match &given {
            Type::Reference(reference) => {
                if let Some(token) = &reference.mutability {
                    let why = format!(
                        "an argument of a {noun} travels: take it by value or by shared reference"
                    );
                    return Err(syn::Error::new(token.span(), why));
                }
                if let Some(lifetime) = &reference.lifetime {
                    return Err(syn::Error::new(
                        lifetime.span(),
                        "leave out the lifetime: the argument is borrowed from the call",
                    ));
                }
                let inner = &reference.elem;
                (true, quote!(<#inner as ::std::borrow::ToOwned>::Owned))
            }
            other => (false, other.to_token_stream()),
        };
        let inner = match &given {
            Type::Reference(reference) => &*reference.elem,
            other => other,
        };
        refuse_borrowed(
            inner,
            "an argument travels, so it must be owned inside: only a whole argument can be a reference",
        )?;
        Ok(Self { name, given, owned: without_self(owned, vnode), is_reference, serde })
    }
}

/// Refuses references, `impl` and `dyn` anywhere in a type.
pub(crate) fn refuse_borrowed(ty: &Type, why: &str) -> syn::Result<()> {
    fn find(tokens: TokenStream) -> Option<Span> {
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if matches!(punct.as_char(), '&' | '\'') => {
                    return Some(punct.span());
                }
                TokenTree::Ident(ident) if ident == "impl" || ident == "dyn" => {
                    return Some(ident.span());
                }
                TokenTree::Group(group) => {
                    if let Some(span) = find(group.stream()) {
                        return Some(span);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Ident(_) | TokenTree::Literal(_) => {}
            }
        }
        None
    }
    find(ty.to_token_stream()).map_or(Ok(()), |span| Err(syn::Error::new(span, why)))
}

/// `Self` as the type's name: the generated items are outside of the block.
pub(crate) fn without_self(tokens: TokenStream, vnode: &TokenStream) -> TokenStream {
    let each = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(ident) if ident == "Self" => vnode.clone(),
        TokenTree::Group(group) => {
            let mut inner =
                proc_macro2::Group::new(group.delimiter(), without_self(group.stream(), vnode));
            inner.set_span(group.span());
            TokenTree::Group(inner).into()
        }
        other => other.into(),
    });
    each.collect()
}
