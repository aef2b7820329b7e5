//! Handlers: the methods with `#[command]` or `#[query]`, and what is allowed in their signatures.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{
    Attribute, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, LitStr, PatType, Receiver,
    ReceiverKind, ReturnType, Safety, Type, meta::ParseNestedMeta, spanned::Spanned,
};

use crate::{
    argument::{Argument, refuse_borrowed, without_self},
    effects::{Effect, Finished},
    hooks::Hooks,
    migration::Migration,
};

/// Names that a handler can't have, because the client's own methods would hide it, now or later.
const RESERVED: [&str; 13] = [
    "clone",
    "command",
    "command_as",
    "deferred",
    "delete",
    "exists",
    "fork",
    "local",
    "local_as",
    "query",
    "query_as",
    "watch",
    "with_deadline",
];

/// The handlers of a kind.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) commands: Vec<Handler>,
    pub(crate) queries: Vec<Handler>,
    pub(crate) hooks: Hooks,
    pub(crate) migrations: Vec<Migration>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) finished: Vec<Finished>,
}

/// A command or query.
pub(crate) struct Handler {
    pub(crate) role: Role,
    pub(crate) method: Ident,
    /// Its name on the wire.
    pub(crate) name: LitStr,
    pub(crate) docs: Vec<Attribute>,
    pub(crate) takes_context: bool,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) reply: TokenStream,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Command,
    Query,
    /// A query that its client asks of the owner's memory.
    LocalQuery,
    Effect,
}

impl Handlers {
    /// Takes the handlers' attributes out of a block.
    pub(crate) fn take_from(block: &mut ItemImpl, env: Option<&Type>) -> syn::Result<Self> {
        let mut handlers = Self::default();
        let vnode = block.self_ty.to_token_stream();
        for item in &mut block.items {
            let ImplItem::Fn(method) = item else { continue };
            let Some((mark, attribute)) = take_mark(method)? else { continue };
            match mark {
                Mark::Command => {
                    let handler = Handler::read(Role::Command, &attribute, method, &vnode)?;
                    handlers.commands.push(handler);
                }
                Mark::Query => {
                    let handler = Handler::read(Role::Query, &attribute, method, &vnode)?;
                    handlers.queries.push(handler);
                }
                Mark::Activate => handlers.hooks.activate(method, &vnode)?,
                Mark::Deactivate => handlers.hooks.deactivate(method)?,
                Mark::Effect => handlers.effects.push(Effect::read(method, &vnode, env)?),
                Mark::Finished => handlers.finished.push(Finished::read(&attribute, method)?),
                Mark::Migrate => handlers.migrations.push(Migration::read(&attribute, method)?),
            }
        }
        refuse_double_names(&handlers.commands)?;
        refuse_double_names(&handlers.queries)?;
        let both = handlers.commands.iter().chain(&handlers.queries);
        let first = both.clone().map(|handler| handler.name.value()).collect::<Vec<_>>();
        for (at, handler) in both.enumerate() {
            if first[..at].contains(&handler.name.value()) {
                return Err(syn::Error::new(
                    handler.name.span(),
                    "a command has this name: a name stands for one call",
                ));
            }
        }
        Ok(handlers)
    }
}

fn refuse_double_names(handlers: &[Handler]) -> syn::Result<()> {
    for (at, handler) in handlers.iter().enumerate() {
        if handlers[..at].iter().any(|other| other.name.value() == handler.name.value()) {
            return Err(syn::Error::new(
                handler.name.span(),
                "another one has this name on the wire",
            ));
        }
    }
    Ok(())
}

enum Mark {
    Command,
    Query,
    Activate,
    Deactivate,
    Migrate,
    Effect,
    Finished,
}

/// Takes the attribute that says what a method is.
fn take_mark(method: &mut ImplItemFn) -> syn::Result<Option<(Mark, Attribute)>> {
    let mut found: Option<(Mark, Attribute)> = None;
    let mut rest = Vec::new();
    for attribute in core::mem::take(&mut method.attrs) {
        let mark = match attribute.path().get_ident().map(ToString::to_string).as_deref() {
            Some("command") => Mark::Command,
            Some("query") => Mark::Query,
            Some("activate") => Mark::Activate,
            Some("deactivate") => Mark::Deactivate,
            Some("migrate") => Mark::Migrate,
            Some("effect") => Mark::Effect,
            Some("finished") => Mark::Finished,
            _ => {
                rest.push(attribute);
                continue;
            }
        };
        if found.is_some() {
            return Err(syn::Error::new(
                attribute.span(),
                "a method has one of these: command, query, effect, finished, activate, deactivate, migrate",
            ));
        }
        found = Some((mark, attribute));
    }
    method.attrs = rest;
    Ok(found)
}

impl Handler {
    fn read(
        role: Role,
        attribute: &Attribute,
        method: &mut ImplItemFn,
        vnode: &TokenStream,
    ) -> syn::Result<Self> {
        let (role, renamed) = read_options(role, attribute)?;
        let noun = role.noun();
        let signature = &mut method.sig;
        refuse_modifiers(signature, noun)?;
        check_receiver(role, signature.receiver(), signature.ident.span())?;
        let ident = signature.ident.clone();
        let plain = ident.to_string().trim_start_matches("r#").to_owned();
        if RESERVED.contains(&plain.as_str()) {
            return Err(syn::Error::new(
                ident.span(),
                format!(
                    "`{plain}` is or will be a method of holocron::VnodeRef, which would hide this {noun}: name the method \
                     otherwise, and keep the name on the wire with #[{noun}(name = \"{plain}\")] if you need it"
                ),
            ));
        }
        let mut inputs = signature.inputs.iter_mut().skip(1).peekable();
        let takes_context = match inputs.peek() {
            Some(FnArg::Typed(input)) => is_context(role, input)?,
            Some(FnArg::Receiver(_)) | None => false,
        };
        if takes_context {
            inputs.next();
        }
        let mut arguments = Vec::new();
        for input in inputs {
            let FnArg::Typed(input) = input else { continue };
            arguments.push(Argument::read(input, noun, vnode)?);
        }
        let reply = match &signature.output {
            ReturnType::Default => quote!(()),
            ReturnType::Type(_, reply) => {
                refuse_borrowed(reply, "return an owned value: it travels to the caller")?;
                without_self(reply.to_token_stream(), vnode)
            }
        };
        let docs = method.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
        Ok(Self {
            role,
            name: renamed.unwrap_or_else(|| LitStr::new(&plain, ident.span())),
            method: ident,
            docs: docs.cloned().collect(),
            takes_context,
            arguments,
            reply,
        })
    }

    /// The name of its variant: `add_all` becomes `AddAll`.
    pub(crate) fn variant(&self) -> Ident {
        let text = self.method.to_string();
        let words = text.trim_start_matches("r#").split('_').filter(|word| !word.is_empty());
        let name: String = words
            .map(|word| {
                let mut characters = word.chars();
                let first = characters.next().into_iter().flat_map(char::to_uppercase);
                first.chain(characters).collect::<String>()
            })
            .collect();
        Ident::new(if name == "Self" { "Self_" } else { &name }, self.method.span())
    }
}

impl Role {
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query | Self::LocalQuery => "query",
            Self::Effect => "effect",
        }
    }
}

/// `#[command(name = "…")]`, `#[query(local)]`.
fn read_options(role: Role, attribute: &Attribute) -> syn::Result<(Role, Option<LitStr>)> {
    let (mut role, mut renamed) = (role, None);
    if matches!(attribute.meta, syn::Meta::Path(_)) {
        return Ok((role, renamed));
    }
    attribute.parse_nested_meta(|meta: ParseNestedMeta<'_>| {
        if meta.path.is_ident("name") {
            renamed = Some(meta.value()?.parse::<LitStr>()?);
        } else if meta.path.is_ident("local") && role != Role::Command {
            role = Role::LocalQuery;
        } else if role == Role::Command {
            return Err(meta.error("a command takes name = \"…\" only"));
        } else {
            return Err(meta.error("a query takes local and name = \"…\""));
        }
        Ok(())
    })?;
    Ok((role, renamed))
}

fn refuse_modifiers(signature: &syn::Signature, noun: &str) -> syn::Result<()> {
    let refuse = |span: Span, why: String| Err(syn::Error::new(span, why));
    if let Some(token) = &signature.asyncness {
        return refuse(
            token.span(),
            format!("a {noun} can't be async: handlers work on the state in memory and return"),
        );
    }
    if let Safety::Unsafe(token) = &signature.safety {
        return refuse(token.span(), format!("a {noun} can't be unsafe: any client can call it"));
    }
    if !signature.generics.params.is_empty() {
        return refuse(
            signature.generics.span(),
            format!("a {noun} can't be generic: its arguments have one form on the wire"),
        );
    }
    Ok(())
}

pub(crate) fn check_receiver(
    role: Role,
    receiver: Option<&Receiver>,
    method: Span,
) -> syn::Result<()> {
    let wanted = match role {
        Role::Command => {
            "a command takes &mut self: it changes the state, which is then committed. One that only reads is a query"
        }
        Role::Query | Role::LocalQuery | Role::Effect => {
            "a query takes &self: what it changed would not be committed"
        }
    };
    let Some(receiver) = receiver else { return Err(syn::Error::new(method, wanted)) };
    let is_mutable = match &receiver.kind {
        ReceiverKind::Reference(_, _, mutable) => Some(mutable.is_some()),
        _ => None,
    };
    if is_mutable == Some(role == Role::Command) {
        Ok(())
    } else {
        Err(syn::Error::new(receiver.span(), wanted))
    }
}

/// Whether an argument is the context, which is recognised by its type's name.
pub(crate) fn is_context(role: Role, input: &PatType) -> syn::Result<bool> {
    let Type::Reference(reference) = &*input.ty else { return Ok(false) };
    if last_segment(&reference.elem).is_none_or(|name| name != "Context") {
        return Ok(false);
    }
    if reference.mutability.is_some() && role != Role::Command {
        return Err(syn::Error::new(
            input.ty.span(),
            "a query takes &Context: it can't ask for anything",
        ));
    }
    Ok(true)
}

/// The last segment of a type's path.
pub(crate) fn last_segment(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_client_is_reserved() {
        let client = include_str!("../../holocron/src/client/vnode_ref.rs");
        let methods = client.split("impl<V: Vnode> VnodeRef<V> {").nth(1).unwrap();
        let methods = methods.split("\n}\n").next().unwrap();
        let mut public = 0;
        for line in methods.lines().map(str::trim).filter(|line| line.starts_with("pub ")) {
            let name = line.split("fn ").nth(1).unwrap();
            let name = name.split(['(', '<']).next().unwrap();
            assert!(RESERVED.contains(&name), "VnodeRef::{name} would hide a handler of that name");
            public += 1;
        }
        assert!(public >= 6, "{public} methods were found");
    }
}
