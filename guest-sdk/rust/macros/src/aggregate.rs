//! `#[aggregate]`: fills in what an `impl Aggregate` leaves out.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, FnArg, ImplItem, ImplItemFn, ItemImpl, LitStr, Result, ReturnType, Token, Type, parse_quote};

use crate::record::snake_case;
use crate::transform::options_type;

/// What stands in `#[aggregate(…)]`.
#[derive(Default)]
pub(crate) struct Arguments {
    ordered: bool,
    name: Option<String>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            match key.to_string().as_str() {
                "ordered" => arguments.ordered = true,
                "name" => {
                    input.parse::<Token![=]>()?;
                    arguments.name = Some(input.parse::<LitStr>()?.value());
                }
                _ => return Err(Error::new(key.span(), "known here: `ordered`, `name = \"…\"`")),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

/// The place of each method's options, the receiver counted.
const OPTIONS: [(&str, usize); 4] = [("initial", 0), ("update", 2), ("merge", 2), ("evaluate", 2)];

pub(crate) fn expand(arguments: &Arguments, mut item: ItemImpl) -> Result<TokenStream> {
    let name = arguments.name.clone().map_or_else(|| type_name(&item.self_ty).map(|name| snake_case(&name)), Ok)?;
    let mut options: Option<Type> = None;
    let mut has_options = false;
    let mut verdict = quote!(());
    for member in &mut item.items {
        match member {
            ImplItem::Type(alias) if alias.ident == "Options" => has_options = true,
            ImplItem::Type(alias) if alias.ident == "Input" && alias.generics.params.is_empty() => {
                alias.generics = parse_quote!(<'row>);
            }
            ImplItem::Fn(method) => {
                if let Some(found) = complete_options(method)? {
                    options = Some(found);
                }
                if method.sig.ident == "update"
                    && let ReturnType::Type(_, returned) = &method.sig.output
                {
                    verdict = returned.to_token_stream();
                }
            }
            _ => {}
        }
    }
    if !has_options {
        let options = options.map_or_else(|| quote!(::millrace_sdk::NoOptions), |ty| ty.to_token_stream());
        item.items.push(parse_quote!(type Options = #options;));
    }
    let ordered = arguments.ordered;
    item.items.push(parse_quote!(const NAME: &'static str = #name;));
    item.items.push(parse_quote!(const ORDERED: bool = #ordered;));
    item.items.push(parse_quote!(type Verdict = #verdict;));
    Ok(item.to_token_stream())
}

fn type_name(ty: &Type) -> Result<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.unraw().to_string()),
        _ => None,
    }
    .ok_or_else(|| Error::new_spanned(ty, "give it a name: #[aggregate(name = \"…\")]"))
}

/// Adds the options' parameter where a method has none; gives its type where it has one.
fn complete_options(method: &mut ImplItemFn) -> Result<Option<Type>> {
    let Some((_, place)) = OPTIONS.iter().find(|(name, _)| method.sig.ident == name) else { return Ok(None) };
    match method.sig.inputs.iter().nth(*place) {
        Some(FnArg::Typed(typed)) => options_type(&typed.ty).map(|ty| match ty {
            Type::Path(path) if path.path.segments.first().is_some_and(|first| first.ident == "Self") => None,
            ty => Some(ty.clone()),
        }),
        Some(FnArg::Receiver(receiver)) => Err(Error::new_spanned(receiver, "`initial` has no receiver")),
        None => {
            method.sig.inputs.push(parse_quote!(_options: &Self::Options));
            Ok(None)
        }
    }
}
