//! The attribute macro of Holocron's vnodes. Use it as `holocron::vnode`, where its documentation is.
//!
//! It reads an `impl` block of handlers (`handler`, `effects`, `hooks`, `migration`) and writes what one would write by hand: the enums of commands and
//! queries with their replies (`calls`), the `Vnode` and the `Lifecycle` (`kind`), and a typed client (`client`). What is
//! the same for all kinds is in `holocron`; the macro writes only what depends on the user's types.
#![expect(clippy::wildcard_enum_match_arm, reason = "syn's enums are large, and grow")]

mod argument;
mod arguments;
mod calls;
mod client;
mod effects;
mod handler;
mod hooks;
mod kind;
mod migration;

use proc_macro::TokenStream;
use quote::quote;
use syn::{ItemImpl, Type, spanned::Spanned};

use self::{arguments::Arguments, handler::Handlers};

/// See `holocron::vnode`.
#[proc_macro_attribute]
pub fn vnode(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments.into(), item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(
    arguments: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> syn::Result<proc_macro2::TokenStream> {
    let arguments = Arguments::parse(arguments)?;
    let mut block: ItemImpl = syn::parse2(item)?;
    check(&block)?;
    let Type::Path(vnode) = &*block.self_ty else { unreachable!("checked before") };
    let vnode = vnode.clone();
    let handlers = Handlers::take_from(&mut block, arguments.env.as_ref())?;
    let calls = calls::expand(&vnode, &handlers);
    let kind = kind::expand(&vnode, &arguments, &handlers)?;
    let client = client::expand(&vnode, &handlers);
    let context = effects::context(&vnode, &handlers);
    Ok(quote! {
        #block
        #calls
        #kind
        #client
        #context
    })
}

/// Refuses blocks that aren't the methods of one named type.
fn check(block: &ItemImpl) -> syn::Result<()> {
    let refuse = |span, why: &str| Err(syn::Error::new(span, why));
    if let Some((path, _)) = &block.trait_ {
        return refuse(
            path.span(),
            "holocron::vnode stands at the type's own methods, not at those of a trait",
        );
    }
    if !block.generics.params.is_empty() {
        return refuse(
            block.generics.span(),
            "a kind of vnode can't be generic: its name stands for one stored form",
        );
    }
    match &*block.self_ty {
        Type::Path(path) if path.path.get_ident().is_some() => Ok(()),
        other => {
            refuse(other.span(), "a vnode is a struct or enum of this module, named without a path")
        }
    }
}
