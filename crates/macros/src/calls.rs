//! The enums of commands and queries, as they travel, and of their replies.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Expr, Ident, Lit, Meta, TypePath};

use crate::{
    argument::Argument,
    handler::{Handler, Handlers},
};

/// The names of the enums for one kind of calls.
pub(crate) struct Names {
    pub(crate) call: Ident,
    pub(crate) reply: Option<Ident>,
    noun: &'static str,
}

pub(crate) fn commands(vnode: &TypePath) -> Names {
    let vnode = name_of(vnode);
    Names {
        call: format_ident!("{vnode}Command"),
        reply: Some(format_ident!("{vnode}Reply")),
        noun: "command",
    }
}

pub(crate) fn queries(vnode: &TypePath) -> Names {
    let vnode = name_of(vnode);
    Names {
        call: format_ident!("{vnode}Query"),
        reply: Some(format_ident!("{vnode}Answer")),
        noun: "query",
    }
}

pub(crate) fn effects(vnode: &TypePath) -> Names {
    let call = format_ident!("{}Effect", name_of(vnode));
    // What comes of an effect isn't a reply to anyone.
    Names { call, reply: None, noun: "effect" }
}

/// The vnode's own name.
pub(crate) fn name_of(vnode: &TypePath) -> &Ident {
    vnode.path.get_ident().expect("checked at the start")
}

pub(crate) fn expand(vnode: &TypePath, handlers: &Handlers) -> TokenStream {
    let commands = enums(vnode, &commands(vnode), &handlers.commands.iter().collect::<Vec<_>>());
    let queries = enums(vnode, &queries(vnode), &handlers.queries.iter().collect::<Vec<_>>());
    let effects = (!handlers.effects.is_empty()).then(|| {
        let each = handlers.effects.iter().map(|effect| &effect.handler).collect::<Vec<_>>();
        enums(vnode, &effects(vnode), &each)
    });
    quote!(#commands #queries #effects)
}

fn enums(vnode: &TypePath, names: &Names, handlers: &[&Handler]) -> TokenStream {
    let Names { call, reply, noun } = names;
    let vnode_name = name_of(vnode);
    let plural = if *noun == "query" { "queries".to_owned() } else { format!("{noun}s") };
    let call_docs = format!("The {plural} of [`{vnode_name}`], as they travel: by name.");
    let reply_docs =
        format!("What the {plural} of [`{vnode_name}`] return; the bare value travels.");
    let variants = handlers.iter().map(|handler| {
        let (variant, docs) = (handler.variant(), docs_of(handler));
        let arguments = handler.arguments.iter().map(|Argument { name, owned, .. }| {
            let docs = format!("The argument `{name}`.");
            quote!(#[doc = #docs] #name: #owned)
        });
        if handler.arguments.is_empty() {
            quote!(#docs #variant)
        } else {
            quote!(#docs #variant { #(#arguments),* })
        }
    });
    let replies = reply.as_ref().map(|reply| {
        let each = handlers.iter().map(|handler| {
            let (variant, reply) = (handler.variant(), &handler.reply);
            let docs = format!("Of `{}`.", handler.method);
            quote!(#[doc = #docs] #variant(#reply))
        });
        let visible = visible();
        quote! {
            #[doc = #reply_docs]
            #visible
            pub enum #reply { #(#each),* }
        }
    });
    let constructors = handlers.iter().map(|handler| constructor(handler));
    let (wire, visible) = (wire(names, handlers), visible());
    quote! {
        #[doc = #call_docs]
        #visible
        pub enum #call { #(#variants),* }

        #[allow(dead_code, clippy::allow_attributes, clippy::allow_attributes_without_reason)]
        impl #call {
            #(#constructors)*
        }

        #replies
        #wire
    }
}

/// A function of the handler's name and arguments that makes the variant.
fn constructor(handler: &Handler) -> TokenStream {
    let (variant, method, docs) = (handler.variant(), &handler.method, docs_of(handler));
    let parameters = handler.arguments.iter().map(Argument::parameter);
    let fields = handler.arguments.iter().map(|argument| {
        let (name, value) = (&argument.name, argument.owned_value());
        quote!(#name: #value)
    });
    let made = if handler.arguments.is_empty() { quote!() } else { quote!({ #(#fields),* }) };
    quote! {
        #docs
        #[must_use]
        pub fn #method(#(#parameters),*) -> Self {
            Self::#variant #made
        }
    }
}

/// The generated items are as visible as the vnode needs them, whose own visibility the macro doesn't see.
pub(crate) fn visible() -> TokenStream {
    quote! {
        #[allow(
            unreachable_pub,
            private_interfaces,
            private_bounds,
            clippy::allow_attributes,
            clippy::allow_attributes_without_reason
        )]
    }
}

/// Its documentation, or a line in its place.
pub(crate) fn docs_of(handler: &Handler) -> TokenStream {
    let docs = &handler.docs;
    if docs.is_empty() {
        let docs = format!("The {} `{}`.", handler.role.noun(), handler.name.value());
        quote!(#[doc = #docs])
    } else {
        quote!(#(#docs)*)
    }
}

/// The first paragraph of the documentation, for tools.
fn first_paragraph(handler: &Handler) -> String {
    let lines = handler.docs.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(docs) => match &docs.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(line) => Some(line.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// How they are encoded and decoded.
fn wire(names: &Names, handlers: &[&Handler]) -> TokenStream {
    let structs = handlers.iter().map(|handler| argument_structs(handler));
    let entries = handlers.iter().map(|handler| {
        let (name, docs, reply) = (&handler.name, first_paragraph(handler), &handler.reply);
        let arguments = struct_of(handler);
        quote!(::holocron::generated::Entry::new::<#arguments, #reply>(#name, #docs))
    });
    let length = handlers.len();
    let (decoding, encoding) = (decoding(names, handlers), encoding(names, handlers));
    let reply = names.reply.as_ref().map(|name| reply(name, handlers));
    quote! {
        // The names in it are ones that no user's type has.
        const _: () = {
            #(#structs)*

            static __ENTRIES: [::holocron::generated::Entry; #length] = [#(#entries),*];

            #decoding
            #encoding
            #reply
        };
    }
}

/// Some generated methods don't use their arguments, for a kind without commands or queries.
fn allowed() -> TokenStream {
    quote!(#[allow(unused_variables, unreachable_code, clippy::allow_attributes, clippy::allow_attributes_without_reason)])
}

fn decoding(names: &Names, handlers: &[&Handler]) -> TokenStream {
    let (call, allowed) = (&names.call, allowed());
    let noun = match names.noun {
        "command" => "Command",
        "query" => "Query",
        _ => "Effect",
    };
    let noun = Ident::new(noun, Span::call_site());
    let decode = handlers.iter().enumerate().map(|(at, handler)| {
        let (variant, arguments) = (handler.variant(), struct_of(handler));
        let fields = field_names(handler);
        let made = if fields.is_empty() { quote!() } else { quote!({ #(#fields),* }) };
        quote!(#at => {
            let #arguments { #(#fields),* } = arguments.read()?;
            ::core::result::Result::Ok(Self::#variant #made)
        })
    });
    quote! {
        #[automatically_derived]
        impl ::holocron::generated::ByName for #call {
            const NOUN: ::holocron::generated::Noun = ::holocron::generated::Noun::#noun;

            fn entries() -> &'static [::holocron::generated::Entry] {
                &__ENTRIES
            }

            #allowed
            fn read<A: ::holocron::generated::ReadArguments>(
                at: usize,
                arguments: A,
            ) -> ::core::result::Result<Self, A::Error> {
                match at {
                    #(#decode,)*
                    _ => ::core::unreachable!("found among the entries"),
                }
            }
        }

        #[automatically_derived]
        impl<'de> ::holocron::generated::serde::Deserialize<'de> for #call {
            fn deserialize<D: ::holocron::generated::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                ::holocron::generated::decode(deserializer)
            }
        }
    }
}

fn encoding(names: &Names, handlers: &[&Handler]) -> TokenStream {
    let (call, allowed) = (&names.call, allowed());
    let encode = handlers.iter().enumerate().map(|(at, handler)| {
        let (variant, arguments) = (handler.variant(), borrowed_struct_of(handler));
        let fields = field_names(handler);
        let pattern = if fields.is_empty() { quote!() } else { quote!({ #(ref #fields),* }) };
        quote!(Self::#variant #pattern => ::holocron::generated::encode(&__ENTRIES[#at], &#arguments { #(#fields),* }, __serializer))
    });
    let names = handlers.iter().map(|handler| {
        let (variant, name) = (handler.variant(), &handler.name);
        quote!(Self::#variant { .. } => #name)
    });
    quote! {
        #[automatically_derived]
        #allowed
        impl ::holocron::generated::serde::Serialize for #call {
            fn serialize<S: ::holocron::generated::serde::Serializer>(
                &self,
                __serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                match *self { #(#encode),* }
            }
        }

        #[automatically_derived]
        #allowed
        impl ::core::fmt::Debug for #call {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let name: &str = match *self { #(#names),* };
                f.write_str(name)
            }
        }
    }
}

/// A reply is encoded as the bare value: its caller knows what it asked.
fn reply(reply: &Ident, handlers: &[&Handler]) -> TokenStream {
    let allowed = allowed();
    let variants: Vec<_> = handlers.iter().map(|handler| handler.variant()).collect();
    quote! {
        #[automatically_derived]
        #allowed
        impl ::holocron::generated::serde::Serialize for #reply {
            fn serialize<S: ::holocron::generated::serde::Serializer>(
                &self,
                __serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                match *self { #(Self::#variants(ref reply) => ::holocron::generated::serde::Serialize::serialize(reply, __serializer)),* }
            }
        }

        #[automatically_derived]
        #allowed
        impl ::core::fmt::Debug for #reply {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let name: &str = match *self { #(Self::#variants(_) => ::core::stringify!(#variants)),* };
                f.write_str(name)
            }
        }
    }
}

fn struct_of(handler: &Handler) -> Ident {
    format_ident!("__{}Arguments", handler.variant())
}

fn borrowed_struct_of(handler: &Handler) -> Ident {
    format_ident!("__{}ArgumentsRef", handler.variant())
}

fn field_names(handler: &Handler) -> Vec<&Ident> {
    handler.arguments.iter().map(|argument| &argument.name).collect()
}

/// The arguments of a call as a struct: owned to decode, borrowed to encode.
fn argument_structs(handler: &Handler) -> TokenStream {
    let (owned, borrowed) = (struct_of(handler), borrowed_struct_of(handler));
    let fields = handler
        .arguments
        .iter()
        .map(|Argument { name, owned, serde, .. }| quote!(#(#serde)* #name: #owned));
    let references = handler
        .arguments
        .iter()
        .map(|Argument { name, owned, serde, .. }| quote!(#(#serde)* #name: &'a #owned));
    let lifetime = if handler.arguments.is_empty() { quote!() } else { quote!(<'a>) };
    quote! {
        #[derive(::holocron::generated::serde::Deserialize)]
        #[serde(crate = "::holocron::generated::serde", deny_unknown_fields)]
        struct #owned { #(#fields),* }

        #[derive(::holocron::generated::serde::Serialize)]
        #[serde(crate = "::holocron::generated::serde")]
        struct #borrowed #lifetime { #(#references),* }
    }
}
