//! `#[effect]` and `#[finished(…)]`: work outside, and what came of it.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{
    Attribute, FnArg, Ident, ImplItemFn, LitStr, Pat, ReturnType, Token, Type, TypePath,
    parse::ParseStream, spanned::Spanned,
};

use crate::{
    argument::{Argument, without_self},
    calls::{self, name_of},
    handler::{Handler, Handlers, Role, check_receiver, is_context, last_segment},
    hooks::first_of_result,
};

/// Names that an effect can't have, because the context's own methods would hide it, now or later.
const RESERVED: [&str; 17] = [
    "after",
    "ask",
    "at",
    "cancel",
    "delete",
    "effect",
    "env",
    "epoch",
    "every",
    "expire_after",
    "fork",
    "key",
    "now",
    "resource",
    "resource_mut",
    "send",
    "spawn",
];

/// An effect.
pub(crate) struct Effect {
    pub(crate) handler: Handler,
    takes: Vec<Takes>,
}

/// What an effect takes, in its order.
enum Takes {
    Env,
    Id,
    /// The next of its arguments.
    Argument,
}

/// A method that takes what came of an effect or a message.
pub(crate) struct Finished {
    of: Of,
    method: Ident,
    takes_context: bool,
    /// `&` if it takes the outcome by reference.
    reference: Option<Token![&]>,
}

/// What a method takes the outcome of.
enum Of {
    Effect(Ident),
    Tag(LitStr),
}

impl Effect {
    pub(crate) fn read(
        method: &mut ImplItemFn,
        vnode: &TokenStream,
        env: Option<&Type>,
    ) -> syn::Result<Self> {
        let signature = &mut method.sig;
        let refuse = |span: Span, why: &str| Err(syn::Error::new(span, why));
        if signature.asyncness.is_none() {
            return refuse(
                signature.fn_token.span(),
                "an effect is async: it calls the outside and waits",
            );
        }
        if !signature.generics.params.is_empty() {
            return refuse(
                signature.generics.span(),
                "an effect can't be generic: its arguments are stored",
            );
        }
        if let Some(receiver) = signature.receiver() {
            let why = "an effect takes no self: it runs after the change is committed, maybe on another host. Give it what it \
                       needs as arguments";
            return refuse(receiver.span(), why);
        }
        let name = signature.ident.to_string();
        if RESERVED.contains(&name.as_str()) {
            let why = format!(
                "`{name}` is a method of holocron::Context, which would hide this effect: name it otherwise"
            );
            return refuse(signature.ident.span(), &why);
        }
        let (mut takes, mut arguments) = (Vec::new(), Vec::new());
        for input in &mut signature.inputs {
            let FnArg::Typed(input) = input else { continue };
            if is_env(&input.ty, env) {
                takes.push(Takes::Env);
            } else if last_segment(&input.ty).is_some_and(|name| name == "EffectId") {
                takes.push(Takes::Id);
            } else {
                arguments.push(Argument::read(input, "effect", vnode)?);
                takes.push(Takes::Argument);
            }
        }
        let why = "an effect returns Result<T, Retry>: a Retry has it run again later";
        let result = first_of_result(&signature.output, signature.ident.span(), why)?;
        let docs = method.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
        let handler = Handler {
            role: Role::Effect,
            method: method.sig.ident.clone(),
            name: LitStr::new(name.trim_start_matches("r#"), method.sig.ident.span()),
            docs: docs.cloned().collect(),
            takes_context: false,
            arguments,
            reply: without_self(result, vnode),
        };
        Ok(Self { handler, takes })
    }
}

/// Whether a type is a reference to the kind's environment.
fn is_env(ty: &Type, env: Option<&Type>) -> bool {
    let (Type::Reference(reference), Some(env)) = (ty, env) else { return false };
    let elem = &reference.elem;
    quote!(#elem).to_string() == quote!(#env).to_string()
}

impl Finished {
    pub(crate) fn read(attribute: &Attribute, method: &ImplItemFn) -> syn::Result<Self> {
        let of = attribute.parse_args_with(|input: ParseStream<'_>| {
            if input.peek(LitStr) {
                input.parse().map(Of::Tag)
            } else {
                input.parse().map(Of::Effect)
            }
        })?;
        let signature = &method.sig;
        check_receiver(Role::Command, signature.receiver(), signature.ident.span())?;
        if let Some(token) = &signature.asyncness {
            return Err(syn::Error::new(
                token.span(),
                "it runs like a command, so it can't be async",
            ));
        }
        let mut inputs = signature.inputs.iter().skip(1);
        let mut next = inputs.next();
        let mut takes_context = false;
        if let Some(FnArg::Typed(input)) = next
            && is_context(Role::Command, input)?
        {
            takes_context = true;
            next = inputs.next();
        }
        let why = "it takes the outcome, after &mut self and, if it needs it, the context: outcome: Result<T, Failed>";
        match (next, inputs.next()) {
            (Some(FnArg::Typed(input)), None)
                if matches!(*input.pat, Pat::Ident(_) | Pat::Wild(_)) => {}
            (Some(input), _) => return Err(syn::Error::new(input.span(), why)),
            (None, _) => return Err(syn::Error::new(signature.ident.span(), why)),
        }
        if let ReturnType::Type(_, ty) = &signature.output {
            return Err(syn::Error::new(ty.span(), "it returns nothing: nobody waits for it"));
        }
        let reference = match next {
            Some(FnArg::Typed(input)) => match &*input.ty {
                Type::Reference(reference) => Some(reference.and_token),
                _ => None,
            },
            Some(FnArg::Receiver(_)) | None => None,
        };
        Ok(Self { of, method: signature.ident.clone(), takes_context, reference })
    }
}

/// The methods `effect` and `finished` of the `Vnode`.
pub(crate) fn methods(vnode: &TypePath, handlers: &Handlers) -> syn::Result<TokenStream> {
    let (run, take) = (run(vnode, handlers), take(vnode, handlers)?);
    Ok(quote!(#run #take))
}

fn run(vnode: &TypePath, handlers: &Handlers) -> TokenStream {
    if handlers.effects.is_empty() {
        return TokenStream::new();
    }
    let effect = calls::effects(vnode).call;
    let arms = handlers.effects.iter().enumerate().map(|(at, Effect { handler, takes })| {
        let (variant, method) = (handler.variant(), &handler.method);
        let fields = handler.arguments.iter().map(|argument| &argument.name);
        let pattern =
            if handler.arguments.is_empty() { quote!() } else { quote!({ #(#fields),* }) };
        let mut arguments = handler.arguments.iter();
        let given = takes.iter().map(|takes| match takes {
            Takes::Env => quote!(__env),
            Takes::Id => quote!(__effect.id()),
            Takes::Argument => {
                let argument = arguments.next().expect("one for each");
                let name = &argument.name;
                if argument.is_reference {
                    quote!(::core::borrow::Borrow::borrow(&#name))
                } else {
                    quote!(#name)
                }
            }
        });
        quote!(#effect::#variant #pattern => {
            let result = <#vnode>::#method(#(#given),*).await.map_err(::holocron::Retry::because)?;
            ::holocron::generated::done::<#effect, _>(#at, &__effect, &result)
        })
    });
    quote! {
        async fn effect(
            __env: &Self::Env,
            __effect: ::holocron::Effect,
        ) -> ::core::result::Result<::holocron::Done, ::holocron::Retry> {
            let _ = __env;
            match __effect.read::<#effect>()? { #(#arms),* }
        }
    }
}

fn take(vnode: &TypePath, handlers: &Handlers) -> syn::Result<TokenStream> {
    if handlers.finished.is_empty() {
        return Ok(TokenStream::new());
    }
    let effect = calls::effects(vnode).call;
    let mut arms = Vec::new();
    for Finished { of, method, takes_context, reference } in &handlers.finished {
        let context = takes_context.then(|| quote!(context,));
        arms.push(match of {
            Of::Tag(tag) => quote!(#tag => {
                static SHAPE: ::holocron::generated::ReplyShape =
                    ::holocron::generated::ReplyShape::new();
                let outcome = ::holocron::generated::reply(&SHAPE, &finished);
                <#vnode>::#method(self, #context #reference outcome);
            }),
            Of::Effect(name) => {
                let found = handlers.effects.iter().position(|effect| effect.handler.method == *name);
                let Some(at) = found else {
                    let why = format!("there is no #[effect] `{name}`; for the tag of a message write it in quotes");
                    return Err(syn::Error::new(name.span(), why));
                };
                let handler = &handlers.effects[at].handler;
                let (tag, result) = (&handler.name, &handler.reply);
                quote!(#tag => {
                    let outcome = ::holocron::generated::outcome::<#effect, #result>(#at, &finished);
                    <#vnode>::#method(self, #context #reference outcome);
                })
            }
        });
    }
    Ok(quote! {
        fn finished(
            &mut self,
            context: &mut ::holocron::Context<'_, Self>,
            finished: ::holocron::Finished<'_>,
        ) {
            let _ = &context;
            match finished.tag() {
                #(#arms,)*
                tag => ::holocron::generated::unknown_tag(<Self as ::holocron::Vnode>::KIND, tag),
            }
        }
    })
}

/// A trait with a method for each effect, which `Context` implements: `context.charge(total)`.
pub(crate) fn context(vnode: &TypePath, handlers: &Handlers) -> TokenStream {
    if handlers.effects.is_empty() {
        return TokenStream::new();
    }
    let (name, effect) = (name_of(vnode), calls::effects(vnode).call);
    let effects = format_ident!("{name}Effects");
    let docs = format!("The effects of [`{name}`], for its handlers to ask for.");
    let visible = calls::visible();
    let signature = |handler: &Handler| {
        let method = &handler.method;
        let arguments = handler.arguments.iter().map(Argument::parameter);
        quote!(fn #method(&mut self, #(#arguments),*))
    };
    let declared = handlers.effects.iter().map(|Effect { handler, .. }| {
        let (docs, signature) = (calls::docs_of(handler), signature(handler));
        quote!(#docs #signature;)
    });
    let defined = handlers.effects.iter().map(|Effect { handler, .. }| {
        let (signature, method, tag) = (signature(handler), &handler.method, &handler.name);
        let given = handler.arguments.iter().map(|argument| &argument.name);
        let is_awaited = handlers
            .finished
            .iter()
            .any(|finished| matches!(&finished.of, Of::Effect(of) if of == method));
        let tag = if is_awaited {
            quote!(::core::option::Option::Some(#tag))
        } else {
            quote!(::core::option::Option::None)
        };
        quote!(#signature { self.effect(&#effect::#method(#(#given),*), #tag); })
    });
    quote! {
        #[doc = #docs]
        #visible
        pub trait #effects {
            #(#declared)*
        }

        #[automatically_derived]
        impl #effects for ::holocron::Context<'_, #vnode> {
            #(#defined)*
        }
    }
}
