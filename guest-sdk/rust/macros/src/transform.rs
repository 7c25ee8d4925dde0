//! `#[transform]`: a function becomes a type of the same name that implements `Transform`. The function stays as it is.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, FnArg, ItemFn, LitStr, Result, ReturnType, Token, Type};

/// What stands in `#[transform(…)]`.
#[derive(Default)]
pub(crate) struct Arguments {
    columns: bool,
    name: Option<String>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            match key.to_string().as_str() {
                "columns" => arguments.columns = true,
                "name" => {
                    input.parse::<Token![=]>()?;
                    arguments.name = Some(input.parse::<LitStr>()?.value());
                }
                _ => return Err(Error::new(key.span(), "known here: `columns`, `name = \"…\"`")),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

/// The same tokens with every lifetime but `'static` left to inference: the function's own are unknown where they go.
pub(crate) fn infer_lifetimes(tokens: TokenStream) -> TokenStream {
    let mut after_tick = false;
    let replace = |token| match token {
        TokenTree::Punct(tick) if tick.as_char() == '\'' => {
            after_tick = true;
            TokenTree::Punct(tick)
        }
        TokenTree::Ident(name) if std::mem::take(&mut after_tick) && name != "static" => {
            TokenTree::Ident(Ident::new("_", name.span()))
        }
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), infer_lifetimes(group.stream()));
            inner.set_span(group.span());
            TokenTree::Group(inner)
        }
        other => other,
    };
    tokens.into_iter().map(replace).collect()
}

fn parameter(argument: &FnArg) -> Result<&Type> {
    match argument {
        FnArg::Typed(typed) => Ok(&typed.ty),
        FnArg::Receiver(receiver) => Err(Error::new_spanned(receiver, "a transform is a free function")),
    }
}

/// The type behind the `&` of the options' parameter.
pub(crate) fn options_type(ty: &Type) -> Result<&Type> {
    match ty {
        Type::Reference(reference) if reference.mutability.is_none() => Ok(&reference.elem),
        other => Err(Error::new_spanned(other, "options come by reference: `&Options`")),
    }
}

pub(crate) fn expand(arguments: &Arguments, function: &ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    let name = &signature.ident;
    let mut inputs = signature.inputs.iter();
    let Some(row) = inputs.next() else {
        return Err(Error::new_spanned(name, "the first parameter is the row, or the columns"));
    };
    let row = infer_lifetimes(parameter(row)?.to_token_stream());
    let options = inputs.next().map(|argument| options_type(parameter(argument)?)).transpose()?;
    if let Some(third) = inputs.next() {
        return Err(Error::new_spanned(third, "a transform takes the row and the options, no more"));
    }
    let ReturnType::Type(_, returned) = &signature.output else {
        return Err(Error::new_spanned(name, "a transform returns a row, or an Option, Result or Vec of rows"));
    };
    let returned = infer_lifetimes(returned.to_token_stream());
    let call = if options.is_some() { quote!(#name(input, options)) } else { quote!(#name(input)) };
    let options = options.map_or_else(|| quote!(::millrace_sdk::NoOptions), ToTokens::to_token_stream);
    let text = arguments.name.clone().unwrap_or_else(|| name.unraw().to_string());
    let columns = arguments.columns;
    let body = if columns { over_columns(&row, &returned, &call) } else { over_rows(&row, &returned, &call) };
    let visibility = &function.vis;
    let documentation = format!("The transform `{text}`, to name in `export!` and in tests.");
    Ok(quote! {
        #function

        #[doc = #documentation]
        #[allow(non_camel_case_types, reason = "it is called like the function")]
        #visibility struct #name {}

        impl ::millrace_sdk::Transform for #name {
            const NAME: &'static str = #text;
            const COLUMNS: bool = #columns;
            type Options = #options;
            #body
        }
    })
}

fn over_rows(row: &TokenStream, returned: &TokenStream, call: &TokenStream) -> TokenStream {
    quote! {
        fn wanted() -> ::std::vec::Vec<::millrace_sdk::Wanted> {
            <#row as ::millrace_sdk::Input<'_>>::wanted()
        }

        fn produced() -> ::std::vec::Vec<::millrace_sdk::__private::wire::Field> {
            ::millrace_sdk::__private::emitted_fields::<#returned>()
        }

        fn apply(
            options: &Self::Options,
            batch: ::millrace_sdk::__private::wire::Batch,
        ) -> ::std::result::Result<::millrace_sdk::__private::wire::TransformOutput, ::std::string::String> {
            let _ = options;
            let rows = batch.rows as usize;
            let reader = <#row as ::millrace_sdk::Input<'_>>::reader(&batch.columns, rows)?;
            let mut sink = ::millrace_sdk::__private::Sink::new(rows);
            for row in 0..rows {
                match <#row as ::millrace_sdk::Input<'_>>::read(&reader, row) {
                    ::std::result::Result::Ok(input) => sink.take(row, #call),
                    ::std::result::Result::Err(absent) => sink.reject(row, absent),
                }
            }
            ::std::result::Result::Ok(sink.finish(rows))
        }
    }
}

fn over_columns(columns: &TokenStream, returned: &TokenStream, call: &TokenStream) -> TokenStream {
    quote! {
        fn wanted() -> ::std::vec::Vec<::millrace_sdk::Wanted> {
            <#columns as ::millrace_sdk::InputColumns<'_>>::wanted()
        }

        fn produced() -> ::std::vec::Vec<::millrace_sdk::__private::wire::Field> {
            ::millrace_sdk::__private::mapped_fields::<#returned>()
        }

        fn apply(
            options: &Self::Options,
            batch: ::millrace_sdk::__private::wire::Batch,
        ) -> ::std::result::Result<::millrace_sdk::__private::wire::TransformOutput, ::std::string::String> {
            let _ = options;
            let rows = batch.rows as usize;
            let input = <#columns as ::millrace_sdk::InputColumns<'_>>::view(&batch.columns, rows)?;
            ::millrace_sdk::__private::finish_mapped(#call, rows)
        }
    }
}
