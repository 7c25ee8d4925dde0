//! The paths that a source file names, read from its tokens: so comments and text do not count, and macros' contents do.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Where a path leads, as far as layers matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// Into this top-level module of the crate.
    Own(String),
    /// Perhaps into this library: its first name is not relative to a module.
    Library(String),
}

/// All paths of `text`, a file that is the module `modules` of its crate.
pub(super) fn paths(text: &str, modules: &[String]) -> Result<Vec<Path>, String> {
    let tokens = TokenStream::from_str(text).map_err(|error| format!("it does not parse: {error}"))?;
    let mut reader = Reader { modules: modules.to_vec(), found: Vec::new() };
    reader.read(&tokens.into_iter().collect::<Vec<_>>());
    Ok(reader.found)
}

struct Reader {
    /// The module that is being read.
    modules: Vec<String>,
    found: Vec<Path>,
}

impl Reader {
    fn read(&mut self, tokens: &[TokenTree]) {
        let mut rest = tokens;
        while let Some((first, after)) = rest.split_first() {
            rest = match first {
                TokenTree::Ident(word) if word == "mod" => self.module(after),
                TokenTree::Ident(word) if word == "extern" => self.external(after),
                TokenTree::Ident(word) if word == "use" => self.tree(&[], after),
                TokenTree::Ident(_) if separated(after).is_some() => self.path(rest),
                TokenTree::Punct(_) if separated(rest).is_some() => self.path(rest),
                TokenTree::Group(group) => {
                    self.read(&group.stream().into_iter().collect::<Vec<_>>());
                    after
                }
                _ => after,
            };
        }
    }

    /// `extern crate name`, after its first word.
    fn external<'a>(&mut self, tokens: &'a [TokenTree]) -> &'a [TokenTree] {
        let [TokenTree::Ident(word), TokenTree::Ident(name), rest @ ..] = tokens else { return tokens };
        if word == "crate" {
            self.found.push(Path::Library(name.to_string()));
        }
        rest
    }

    /// `mod name { ... }`, after its first word.
    fn module<'a>(&mut self, tokens: &'a [TokenTree]) -> &'a [TokenTree] {
        let [TokenTree::Ident(name), TokenTree::Group(body), rest @ ..] = tokens else { return tokens };
        self.modules.push(name.to_string());
        self.read(&body.stream().into_iter().collect::<Vec<_>>());
        self.modules.pop();
        rest
    }

    /// A path outside of `use`; generic arguments in it are read as what comes next.
    fn path<'a>(&mut self, mut rest: &'a [TokenTree]) -> &'a [TokenTree] {
        let mut names = Vec::new();
        rest = separated(rest).unwrap_or(rest);
        while let [TokenTree::Ident(name), after @ ..] = rest {
            names.push(name.to_string());
            let Some(next) = separated(after) else {
                rest = after;
                break;
            };
            rest = next;
        }
        self.add(&names);
        rest
    }

    /// The tree of a `use`, or a part of it below `prefix`, up to its comma or semicolon.
    fn tree<'a>(&mut self, prefix: &[String], mut rest: &'a [TokenTree]) -> &'a [TokenTree] {
        let mut names = prefix.to_vec();
        rest = separated(rest).unwrap_or(rest);
        loop {
            match rest {
                [TokenTree::Ident(name), after @ ..] => {
                    names.push(name.to_string());
                    rest = after;
                }
                [TokenTree::Group(group), after @ ..] if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    let mut inner = inner.as_slice();
                    while !inner.is_empty() {
                        inner = self.tree(&names, inner);
                    }
                    return after;
                }
                _ => break,
            }
            let Some(next) = separated(rest) else { break };
            rest = next;
        }
        self.add(&names);
        // What is left is `as name` or `*`.
        let end =
            rest.iter().position(|token| matches!(token, TokenTree::Punct(mark) if ",;".contains(mark.as_char())));
        end.map_or(&[], |end| &rest[end + 1..])
    }

    /// Follows a path to where it leads.
    fn add(&mut self, names: &[String]) {
        let mut at: Option<Vec<String>> = None;
        for name in names {
            at = match (name.as_str(), at) {
                ("crate" | "millrace", None) => Some(Vec::new()),
                ("self", None) => Some(self.modules.clone()),
                ("super", at) => {
                    let mut at = at.unwrap_or_else(|| self.modules.clone());
                    at.pop();
                    Some(at)
                }
                (library, None) => {
                    self.found.push(Path::Library(library.to_owned()));
                    return;
                }
                ("self", Some(at)) => Some(at),
                (name, Some(mut at)) => {
                    at.push(name.to_owned());
                    Some(at)
                }
            };
        }
        if let Some(module) = at.and_then(|at| at.into_iter().next()) {
            self.found.push(Path::Own(module));
        }
    }
}

/// What follows a `::`, if `tokens` begin with one.
fn separated(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ':');
    match tokens {
        [first, second, rest @ ..] if is_colon(first) && is_colon(second) => Some(rest),
        _ => None,
    }
}
