//! The arguments of the attribute: `kind = "cart", version = 2, env = Shop`.

use proc_macro2::{Span, TokenStream};
use syn::{Ident, LitInt, LitStr, Type, meta::parser, parse::Parser};

/// Bytes of a kind's name, at most, as in `holocron_protocol::ids`.
const KIND_LEN_MAX: usize = 64;

/// What the attribute says.
pub(crate) struct Arguments {
    pub(crate) kind: LitStr,
    pub(crate) version: Option<LitInt>,
    pub(crate) codec: Option<Ident>,
    pub(crate) env: Option<Type>,
}

impl Arguments {
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let (mut kind, mut version, mut codec, mut env) = (None, None, None, None);
        parser(|meta| {
            if meta.path.is_ident("kind") {
                kind = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("version") {
                version = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("codec") {
                codec = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("env") {
                env = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error(
                    "unknown argument: there are kind = \"…\", version = N, codec = MessagePack and env = Type",
                ));
            }
            Ok(())
        })
        .parse2(tokens)?;
        let kind: LitStr = kind.ok_or_else(|| {
            syn::Error::new(
                Span::call_site(),
                "name the kind: #[holocron::vnode(kind = \"…\")]. The name is part of each vnode's stored name, so it \
                 must never change",
            )
        })?;
        if kind.value().is_empty() || kind.value().len() > KIND_LEN_MAX {
            return Err(syn::Error::new(
                kind.span(),
                format!("a kind's name has 1 to {KIND_LEN_MAX} bytes"),
            ));
        }
        if let Some(version) = &version {
            let version: &LitInt = version;
            if version.base10_parse::<u32>()? == 0 {
                return Err(syn::Error::new(version.span(), "versions begin at 1"));
            }
        }
        if let Some(codec) = &codec {
            let codec: &Ident = codec;
            if codec != "Bincode" && codec != "MessagePack" {
                return Err(syn::Error::new(
                    codec.span(),
                    "the codecs are Bincode and MessagePack",
                ));
            }
        }
        Ok(Self { kind, version, codec, env })
    }
}
