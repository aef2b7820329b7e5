//! The `Vnode`, which sends each call to its handler.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{LitInt, TypePath};

use crate::{
    argument::Argument,
    arguments::Arguments,
    calls::{self, Names},
    effects,
    handler::{Handler, Handlers},
    migration,
};

pub(crate) fn expand(
    vnode: &TypePath,
    arguments: &Arguments,
    handlers: &Handlers,
) -> syn::Result<TokenStream> {
    let (commands, queries) = (calls::commands(vnode), calls::queries(vnode));
    let (command, reply) = (&commands.call, &commands.reply);
    let (query, answer) = (&queries.call, &queries.reply);
    let kind = &arguments.kind;
    let one = LitInt::new("1", kind.span());
    let version = arguments.version.as_ref().unwrap_or(&one);
    let env = arguments.env.as_ref().map_or_else(|| quote!(()), |env| quote!(#env));
    let run = handlers.commands.iter().map(|handler| dispatch(vnode, &commands, handler));
    let ask = handlers.queries.iter().map(|handler| dispatch(vnode, &queries, handler));
    let lifecycle = handlers.hooks.expand(vnode, arguments)?;
    let migrate = migration::expand(vnode, arguments, &handlers.migrations)?;
    let deferred = effects::methods(vnode, handlers)?;
    let codec = arguments
        .codec
        .as_ref()
        .map(|codec| quote!(const CODEC: ::holocron::Codec = ::holocron::Codec::#codec;));
    Ok(quote! {
        #[automatically_derived]
        impl ::holocron::Vnode for #vnode {
            const KIND: &'static str = #kind;
            const VERSION: u32 = #version;
            #codec
            type Command = #command;
            type Reply = #reply;
            type Query = #query;
            type Answer = #answer;
            type Env = #env;

            fn command(
                &mut self,
                context: &mut ::holocron::Context<'_, Self>,
                command: #command,
            ) -> #reply {
                let _ = &context;
                match command { #(#run),* }
            }

            fn query(&self, context: &::holocron::Context<'_, Self>, query: #query) -> #answer {
                let _ = &context;
                match query { #(#ask),* }
            }

            fn schema() -> ::holocron::Schema {
                ::holocron::generated::schema::<Self, #command, #query>()
            }

            #deferred
            #migrate
        }

        #lifecycle
    })
}

/// The arm of one handler.
fn dispatch(vnode: &TypePath, names: &Names, handler: &Handler) -> TokenStream {
    let Names { call, reply, .. } = names;
    let (variant, method) = (handler.variant(), &handler.method);
    let fields = handler.arguments.iter().map(|argument| &argument.name);
    let pattern = if handler.arguments.is_empty() { quote!() } else { quote!({ #(#fields),* }) };
    let context = handler.takes_context.then(|| quote!(context,));
    let given = handler.arguments.iter().map(|Argument { name, is_reference, .. }| {
        if *is_reference { quote!(::core::borrow::Borrow::borrow(&#name)) } else { quote!(#name) }
    });
    quote!(#call::#variant #pattern => #reply::#variant(<#vnode>::#method(self, #context #(#given),*)))
}
