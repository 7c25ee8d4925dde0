//! What must hold of a project as a whole: names lead somewhere, and nothing is there twice. Pure: no file is opened.

mod service;
mod view;

use super::diagnostics::{Diagnostics, Spanned, suggestion};
use super::parse::Declared;
use super::project::{Output, Project, SourceKind};

/// The built-in aggregates.
pub const BUILT_INS: [&str; 11] =
    ["count", "sum", "avg", "min", "max", "var_pop", "var_samp", "stddev_pop", "stddev_samp", "first", "last"];

/// Reports everything that does not hold. What could not be read is not in `project`, but `declared` knows its name.
pub(super) fn check(project: &Project, declared: &Declared, diagnostics: &mut Diagnostics) {
    names(project, diagnostics);
    endpoints(project, diagnostics);
    files(project, diagnostics);
    for one in &project.views {
        view::check(one, project, declared, diagnostics);
    }
    for one in &project.services {
        service::check(one, project, declared, diagnostics);
    }
}

/// Reports a name that is not among the known ones.
fn unknown<'a>(
    diagnostics: &mut Diagnostics,
    what: &str,
    name: &Spanned<String>,
    known: impl IntoIterator<Item = &'a String>,
) {
    unknown_of(diagnostics, what, name, "", known);
}

/// As [`unknown`], with `place` behind the name.
fn unknown_of<'a>(
    diagnostics: &mut Diagnostics,
    what: &str,
    name: &Spanned<String>,
    place: &str,
    known: impl IntoIterator<Item = &'a String>,
) {
    let hint = suggestion(name, known.into_iter().map(String::as_str));
    diagnostics.error(name.span, format!("unknown {what} `{}`{place}{hint}", name.value));
}

/// `from` names sources and views alike, so no two may share a name.
fn names(project: &Project, diagnostics: &mut Diagnostics) {
    for view in project.views.iter().filter(|view| project.source(&view.name).is_some()) {
        let message = format!("`{}` is a source too: `from` could not tell which is meant", view.name.value);
        diagnostics.error(view.name.span, message);
    }
}

/// Two sources cannot listen on one path.
fn endpoints(project: &Project, diagnostics: &mut Diagnostics) {
    let mut taken: Vec<(&str, &str)> = Vec::new();
    for source in &project.sources {
        let SourceKind::WebSocketListen { path } = &source.kind else { continue };
        if let Some((_, other)) = taken.iter().find(|(known, _)| *known == path.as_str()) {
            diagnostics.error(path.span, format!("source `{other}` listens on `{}` already", path.value));
        }
        taken.push((path, &source.name));
    }
}

/// No file is written by two views, or written while it is read.
fn files(project: &Project, diagnostics: &mut Diagnostics) {
    let mut taken = Vec::new();
    for source in &project.sources {
        if let SourceKind::File { path, .. } = &source.kind {
            taken.push((&path.value, format!("source `{}` reads", source.name.value)));
        }
    }
    for view in &project.views {
        for Output::File { path } in &view.outputs {
            if let Some((_, by)) = taken.iter().find(|(known, _)| **known == path.value) {
                diagnostics.error(path.span, format!("{by} `{}` already: write to another file", path.display()));
            }
            taken.push((&path.value, format!("view `{}` writes", view.name.value)));
        }
    }
}
