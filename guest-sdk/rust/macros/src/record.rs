//! The derives: structs from columns and to columns.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields, GenericParam, Ident, Lifetime, LitStr, Result, Type};

/// A field and the column that it is.
struct Member<'i> {
    ident: &'i Ident,
    ty: &'i Type,
    column: String,
}

/// The named fields of a struct, or why it cannot be derived.
fn members(item: &DeriveInput) -> Result<Vec<Member<'_>>> {
    let Data::Struct(data) = &item.data else {
        return Err(Error::new_spanned(&item.ident, "only a struct has columns"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(&item.ident, "the fields must have names: they are the columns' names"));
    };
    let members = fields.named.iter().map(|field| {
        let ident = field.ident.as_ref().ok_or_else(|| Error::new_spanned(field, "a field without a name"))?;
        let mut column = ident.unraw().to_string();
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("column")) {
            attribute.parse_nested_meta(|meta| {
                if !meta.path.is_ident("name") {
                    return Err(meta.error("only `name = \"…\"` is known here"));
                }
                column = meta.value()?.parse::<LitStr>()?.value();
                Ok(())
            })?;
        }
        Ok(Member { ident, ty: &field.ty, column })
    });
    let members = members.collect::<Result<Vec<_>>>()?;
    if members.is_empty() {
        return Err(Error::new_spanned(&item.ident, "a struct without fields has no columns"));
    }
    Ok(members)
}

/// The one lifetime that a struct may have.
fn lifetime(item: &DeriveInput) -> Result<Option<Lifetime>> {
    let mut found = None;
    for parameter in &item.generics.params {
        match parameter {
            GenericParam::Lifetime(lifetime) if found.is_none() => found = Some(lifetime.lifetime.clone()),
            other => {
                return Err(Error::new_spanned(other, "at most one lifetime, and no type, may be a parameter here"));
            }
        }
    }
    Ok(found)
}

/// The struct's lifetime or a fresh one, and the struct's type with it.
fn borrowed(item: &DeriveInput) -> Result<(TokenStream, TokenStream)> {
    let ident = &item.ident;
    Ok(match lifetime(item)? {
        Some(lifetime) => (quote!(#lifetime), quote!(#ident<#lifetime>)),
        None => (quote!('row), quote!(#ident)),
    })
}

pub(crate) fn input(item: &DeriveInput) -> Result<TokenStream> {
    let members = members(item)?;
    let (row, this) = borrowed(item)?;
    let (idents, types): (Vec<_>, Vec<_>) = members.iter().map(|member| (member.ident, member.ty)).unzip();
    let columns = members.iter().map(|member| &member.column).collect::<Vec<_>>();
    let places = (0..members.len()).map(syn::Index::from).collect::<Vec<_>>();
    Ok(quote! {
        impl<#row> ::millrace_sdk::Input<#row> for #this {
            type Reader = (#(<#types as ::millrace_sdk::FromColumn<#row>>::Reader,)*);

            fn wanted() -> ::std::vec::Vec<::millrace_sdk::Wanted> {
                ::std::vec![#(::millrace_sdk::Wanted::new::<#types>(#columns)),*]
            }

            fn reader(
                columns: &#row [::millrace_sdk::__private::wire::Column],
                rows: usize,
            ) -> ::std::result::Result<Self::Reader, ::std::string::String> {
                ::std::result::Result::Ok((
                    #(::millrace_sdk::__private::column_reader::<#types>(columns, #places, rows, #columns)?,)*
                ))
            }

            #[inline]
            fn read(
                reader: &Self::Reader,
                row: usize,
            ) -> ::std::result::Result<Self, ::millrace_sdk::__private::Absent> {
                ::std::result::Result::Ok(Self {
                    #(#idents: match <#types as ::millrace_sdk::FromColumn<#row>>::read(&reader.#places, row) {
                        ::std::option::Option::Some(value) => value,
                        ::std::option::Option::None => {
                            return ::std::result::Result::Err(::millrace_sdk::__private::Absent(#columns));
                        }
                    },)*
                })
            }
        }
    })
}

pub(crate) fn output(item: &DeriveInput) -> Result<TokenStream> {
    let columns = output_impl(item)?;
    let (impl_generics, type_generics, _) = item.generics.split_for_impl();
    let ident = &item.ident;
    Ok(quote! {
        #columns
        impl #impl_generics ::millrace_sdk::Row for #ident #type_generics {}
    })
}

fn output_impl(item: &DeriveInput) -> Result<TokenStream> {
    let members = members(item)?;
    lifetime(item)?;
    let (impl_generics, type_generics, _) = item.generics.split_for_impl();
    let ident = &item.ident;
    let (idents, types): (Vec<_>, Vec<_>) = members.iter().map(|member| (member.ident, member.ty)).unzip();
    let columns = members.iter().map(|member| &member.column).collect::<Vec<_>>();
    let places = (0..members.len()).map(syn::Index::from).collect::<Vec<_>>();
    Ok(quote! {
        impl #impl_generics ::millrace_sdk::Output for #ident #type_generics {
            type Builders = (#(<#types as ::millrace_sdk::IntoColumn>::Builder,)*);

            fn fields() -> ::std::vec::Vec<::millrace_sdk::__private::wire::Field> {
                ::std::vec![#(::millrace_sdk::__private::field::<#types>(#columns)),*]
            }

            fn builders(rows: usize) -> Self::Builders {
                (#(<#types as ::millrace_sdk::IntoColumn>::builder(rows),)*)
            }

            #[inline]
            fn write_row(self, builders: &mut Self::Builders) {
                #(<#types as ::millrace_sdk::IntoColumn>::append_to(self.#idents, &mut builders.#places);)*
            }

            fn finish(builders: Self::Builders) -> ::std::vec::Vec<::millrace_sdk::__private::wire::Column> {
                ::std::vec![#(::millrace_sdk::__private::wire::Column {
                    buffers: <#types as ::millrace_sdk::IntoColumn>::finish(builders.#places, ::std::vec::Vec::new()),
                }),*]
            }
        }
    })
}

pub(crate) fn state(item: &DeriveInput) -> Result<TokenStream> {
    if let Some(lifetime) = lifetime(item)? {
        return Err(Error::new_spanned(lifetime, "a state owns what it holds: String, not &str"));
    }
    let (input, output) = (input(item)?, output_impl(item)?);
    let ident = &item.ident;
    let idents = members(item)?.into_iter().map(|member| member.ident.clone()).collect::<Vec<_>>();
    Ok(quote! {
        #input
        #output
        impl ::millrace_sdk::State for #ident {
            #[inline]
            fn duplicate(&self) -> Self {
                Self { #(#idents: ::std::clone::Clone::clone(&self.#idents)),* }
            }
        }
    })
}

pub(crate) fn input_columns(item: &DeriveInput) -> Result<TokenStream> {
    let members = members(item)?;
    let (rows, this) = borrowed(item)?;
    let (idents, types): (Vec<_>, Vec<_>) = members.iter().map(|member| (member.ident, member.ty)).unzip();
    let columns = members.iter().map(|member| &member.column).collect::<Vec<_>>();
    let places = 0..members.len();
    Ok(quote! {
        impl<#rows> ::millrace_sdk::InputColumns<#rows> for #this {
            fn wanted() -> ::std::vec::Vec<::millrace_sdk::Wanted> {
                ::std::vec![#(::millrace_sdk::Wanted {
                    name: #columns,
                    column_type: <#types>::column_type(),
                    nullable: <#types>::NULLABLE,
                }),*]
            }

            fn view(
                columns: &#rows [::millrace_sdk::__private::wire::Column],
                rows: usize,
            ) -> ::std::result::Result<Self, ::std::string::String> {
                ::std::result::Result::Ok(Self {
                    #(#idents: <#types>::new(
                        ::millrace_sdk::__private::column_buffers(columns, #places, #columns)?,
                        rows,
                    ).map_err(|error| ::std::format!("column `{}`: {error}", #columns))?,)*
                })
            }
        }
    })
}

pub(crate) fn output_columns(item: &DeriveInput) -> Result<TokenStream> {
    let members = members(item)?;
    lifetime(item)?;
    let (impl_generics, type_generics, _) = item.generics.split_for_impl();
    let ident = &item.ident;
    let (idents, types): (Vec<_>, Vec<_>) = members.iter().map(|member| (member.ident, member.ty)).unzip();
    let columns = members.iter().map(|member| &member.column).collect::<Vec<_>>();
    Ok(quote! {
        impl #impl_generics ::millrace_sdk::OutputColumns for #ident #type_generics {
            fn fields() -> ::std::vec::Vec<::millrace_sdk::__private::wire::Field> {
                ::std::vec![#(::millrace_sdk::__private::wire::Field {
                    name: ::std::string::String::from(#columns),
                    format: <#types>::column_type().format(),
                    nullable: <#types>::NULLABLE,
                }),*]
            }

            fn lens(&self) -> ::std::vec::Vec<usize> {
                ::std::vec![#(self.#idents.len()),*]
            }

            fn finish(self) -> ::std::vec::Vec<::millrace_sdk::__private::wire::Column> {
                ::std::vec![#(::millrace_sdk::__private::wire::Column { buffers: self.#idents.finish() }),*]
            }
        }
    })
}

/// `MaxSpeed` as `max_speed`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for (place, letter) in name.char_indices() {
        if letter.is_uppercase() && place > 0 {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
