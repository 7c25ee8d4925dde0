//! The derives and attributes of `millrace-sdk`, which re-exports and documents them.

mod aggregate;
mod options;
mod record;
mod transform;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, ItemImpl, ItemStruct, parse_macro_input};

fn expand(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(|error| error.to_compile_error()).into()
}

/// A struct whose fields are read from the columns of the same names. At most one lifetime, for `&str` and the like;
/// `#[column(name = "…")]` on a field names another column.
#[proc_macro_derive(Input, attributes(column))]
pub fn derive_input(item: TokenStream) -> TokenStream {
    expand(record::input(&parse_macro_input!(item as DeriveInput)))
}

/// A struct whose fields are written to the columns of the same names; `#[column(name = "…")]` names another.
#[proc_macro_derive(Output, attributes(column))]
pub fn derive_output(item: TokenStream) -> TokenStream {
    expand(record::output(&parse_macro_input!(item as DeriveInput)))
}

/// A struct that an aggregate keeps for each key, one column a field.
#[proc_macro_derive(State, attributes(column))]
pub fn derive_state(item: TokenStream) -> TokenStream {
    expand(record::state(&parse_macro_input!(item as DeriveInput)))
}

/// A struct of `Column`s: whole columns in, for `#[transform(columns)]`.
#[proc_macro_derive(InputColumns, attributes(column))]
pub fn derive_input_columns(item: TokenStream) -> TokenStream {
    expand(record::input_columns(&parse_macro_input!(item as DeriveInput)))
}

/// A struct of `Builder`s: whole columns out, for `#[transform(columns)]`.
#[proc_macro_derive(OutputColumns, attributes(column))]
pub fn derive_output_columns(item: TokenStream) -> TokenStream {
    expand(record::output_columns(&parse_macro_input!(item as DeriveInput)))
}

/// Makes a function a transform of its name: `fn(row: In) -> Out`, where the result may also be in an `Option` (none =
/// filtered out), a `Vec` (several rows) or a `Result` (refused). A second parameter `&Options` gets the options.
///
/// `#[transform(columns)]`: over whole columns instead of rows. `#[transform(name = "…")]`: another name.
#[proc_macro_attribute]
pub fn transform(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(attribute as transform::Arguments);
    expand(transform::expand(&arguments, &parse_macro_input!(item as ItemFn)))
}

/// Completes an `impl Aggregate for State`: its name (the type's, in snake case), the options that methods leave out,
/// and the types of the options and of what `update` returns.
///
/// `#[aggregate(ordered)]`: rows come sorted by event time. `#[aggregate(name = "…")]`: another name.
#[proc_macro_attribute]
pub fn aggregate(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(attribute as aggregate::Arguments);
    expand(aggregate::expand(&arguments, parse_macro_input!(item as ItemImpl)))
}

/// Makes a struct the options of a UDF: names in kebab case, unknown ones refused.
///
/// `#[options(default)]`: what a project leaves out is as in the struct's `Default`. `#[options(check = path)]`: a
/// `fn(&Self) -> Result<(), String>`. `#[options(example = "{ half-life = \"5m\" }")]`: shown in every error about them.
#[proc_macro_attribute]
pub fn options(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(attribute as options::Arguments);
    expand(options::expand(&arguments, &parse_macro_input!(item as ItemStruct)))
}
