//! What must hold of a project as a whole: names lead somewhere, and nothing is there twice. Pure: no file is opened.

mod output;
mod service;
mod view;

use super::diagnostics::{Diagnostics, Spanned, suggestion};
use super::parse::Declared;
use super::project::{Project, SourceKind, TransformUse, View};

pub use crate::engine::aggregate::builtin::NAMES as BUILT_INS;

/// Reports everything that does not hold. What could not be read is not in `project`, but `declared` knows its name.
pub(super) fn check(project: &Project, declared: &Declared, diagnostics: &mut Diagnostics) {
    names(project, diagnostics);
    endpoints(project, diagnostics);
    for one in &project.sources {
        transforms(&one.transforms, declared, diagnostics);
    }
    output::check(project, diagnostics);
    circles(project, diagnostics);
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

/// No view reads itself, at once or through others; one report a circle, at the view of it that is written first.
fn circles(project: &Project, diagnostics: &mut Diagnostics) {
    let reads = |view: &View| -> Vec<Spanned<String>> {
        // A name of both is in error already.
        view.reads().filter(|name| project.source(name).is_none()).cloned().collect()
    };
    let mut told: Vec<&str> = Vec::new();
    for view in &project.views {
        let mut ways: Vec<Vec<Spanned<String>>> = reads(view).into_iter().map(|name| vec![name]).collect();
        let mut seen: Vec<String> = Vec::new();
        while let Some(way) = ways.pop() {
            let Some(last) = way.last() else { continue };
            if last.value == view.name.value {
                let members: Vec<&str> = project
                    .views
                    .iter()
                    .map(|view| view.name.value.as_str())
                    .filter(|name| way.iter().any(|member| member.value == *name))
                    .collect();
                if !members.iter().any(|member| told.contains(member)) {
                    let names: Vec<&str> = way.iter().map(|name| name.value.as_str()).collect();
                    let message =
                        format!("views read each other in a circle: {} → {}", view.name.value, names.join(" → "));
                    diagnostics.error(way.first().map_or(view.name.span, |first| first.span), message);
                }
                told.extend(members);
                break;
            }
            if seen.contains(&last.value) {
                continue;
            }
            seen.push(last.value.clone());
            for next in project.view(last).map(reads).unwrap_or_default() {
                ways.push(way.iter().cloned().chain([next]).collect());
            }
        }
    }
}

/// A transform's UDF is there, and no two of its outputs have one name.
fn transforms(transforms: &[TransformUse], declared: &Declared, diagnostics: &mut Diagnostics) {
    for transform in transforms {
        if !declared.udfs.contains(&transform.udf) {
            unknown(diagnostics, "UDF", &transform.udf, &declared.udfs);
        }
        let renamed: Vec<_> = transform.output.iter().flatten().map(|(_, name)| name).collect();
        for (index, name) in renamed.iter().enumerate() {
            if renamed.iter().take(index).any(|other| other.value == name.value) {
                diagnostics.error(name.span, format!("two outputs are called `{}`", name.value));
            }
        }
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
