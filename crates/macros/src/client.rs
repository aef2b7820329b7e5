//! The typed client: a trait with a method for each handler, which `VnodeRef` implements.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::TypePath;

use crate::{
    argument::Argument,
    calls::{self, Names, name_of},
    handler::{Handler, Handlers, Role},
};

pub(crate) fn expand(vnode: &TypePath, handlers: &Handlers) -> TokenStream {
    let name = name_of(vnode);
    let client = format_ident!("{name}Client");
    let docs = format!(
        "Calls of [`{name}`] vnodes: the methods of `client.get::<{name}>(key)`. Import it to call them from another module."
    );
    let (commands, queries) = (calls::commands(vnode), calls::queries(vnode));
    let methods = || {
        let commands = handlers.commands.iter().map(|handler| (&commands, handler));
        commands.chain(handlers.queries.iter().map(|handler| (&queries, handler)))
    };
    let declared = methods().map(|(_, handler)| {
        let (docs, signature) = (docs_of(handler), signature(handler));
        quote!(#docs #signature;)
    });
    let defined = methods().map(|(names, handler)| {
        let (signature, body) = (signature(handler), body(names, handler));
        quote!(#signature { #body })
    });
    let visible = calls::visible();
    quote! {
        #[doc = #docs]
        #visible
        pub trait #client {
            #(#declared)*
        }

        #[automatically_derived]
        impl #client for ::holocron::VnodeRef<#vnode> {
            #(#defined)*
        }
    }
}

fn docs_of(handler: &Handler) -> TokenStream {
    let docs = &handler.docs;
    let own = if docs.is_empty() {
        let docs = format!("Calls `{}`.", handler.name.value());
        quote!(#[doc = #docs])
    } else {
        quote!(#(#docs)*)
    };
    quote! {
        #own
        ///
        /// # Errors
        ///
        /// [`CallError`](::holocron::CallError), which says whether it ran. What the handler returns is the value inside.
    }
}

fn signature(handler: &Handler) -> TokenStream {
    let (method, reply) = (&handler.method, &handler.reply);
    let arguments = handler.arguments.iter().map(Argument::parameter);
    quote! {
        fn #method(&self, #(#arguments),*) -> impl ::core::future::Future<
            Output = ::core::result::Result<#reply, ::holocron::CallError>,
        > + ::core::marker::Send
    }
}

fn body(names: &Names, handler: &Handler) -> TokenStream {
    let (call, method) = (&names.call, &handler.method);
    let given = handler.arguments.iter().map(|argument| &argument.name);
    let ask = match handler.role {
        Role::Command => quote!(command_as),
        Role::Query => quote!(query_as),
        Role::LocalQuery => quote!(local_as),
        Role::Effect => unreachable!("clients call commands and queries"),
    };
    quote!(self.#ask(#call::#method(#(#given),*)))
}
