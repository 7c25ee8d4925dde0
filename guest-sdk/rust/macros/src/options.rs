//! `#[options]`: a struct that the project's JSON object is read into.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, ItemStruct, LitStr, Path, Result, Token};

/// What stands in `#[options(…)]`.
#[derive(Default)]
pub(crate) struct Arguments {
    default: bool,
    example: Option<LitStr>,
    check: Option<Path>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            match key.to_string().as_str() {
                "default" => arguments.default = true,
                "example" => {
                    input.parse::<Token![=]>()?;
                    arguments.example = Some(input.parse()?);
                }
                "check" => {
                    input.parse::<Token![=]>()?;
                    arguments.check = Some(input.parse()?);
                }
                _ => return Err(Error::new(key.span(), "known here: `default`, `example = \"…\"`, `check = path`")),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

pub(crate) fn expand(arguments: &Arguments, item: &ItemStruct) -> Result<TokenStream> {
    let ident = &item.ident;
    let default = arguments.default.then(|| quote!(#[serde(default)]));
    let example = arguments.example.iter();
    let check = arguments.check.iter();
    Ok(quote! {
        #[derive(::millrace_sdk::serde::Deserialize)]
        #[serde(crate = "::millrace_sdk::serde", rename_all = "kebab-case", deny_unknown_fields)]
        #default
        #item

        impl ::millrace_sdk::Options for #ident {
            #(const EXAMPLE: &'static str = #example;)*
            #(fn check(&self) -> ::std::result::Result<(), ::std::string::String> {
                #check(self)
            })*
        }
    })
}
