//! What must hold of the outputs of all views.

use super::super::diagnostics::{Diagnostics, suggestion};
use super::super::project::{Output, OutputTarget, Project, SourceKind, View};

pub(super) fn check(project: &Project, diagnostics: &mut Diagnostics) {
    files(project, diagnostics);
    for view in &project.views {
        let columns = columns(view, project);
        for output in &view.outputs {
            time_name(output, &columns, diagnostics);
            topic(output, &columns, project, diagnostics);
        }
    }
}

/// No file is written twice, or written while it is read.
fn files(project: &Project, diagnostics: &mut Diagnostics) {
    let mut taken = Vec::new();
    for source in &project.sources {
        if let SourceKind::File { path } = &source.kind {
            taken.push((&path.value, format!("source `{}` reads", source.name.value)));
        }
    }
    let outputs = project.views.iter().flat_map(|view| view.outputs.iter().map(move |output| ("view", &view.name, output)));
    for (what, name, output) in outputs {
        let OutputTarget::File { path } = &output.target else { continue };
        if let Some((_, by)) = taken.iter().find(|(known, _)| **known == path.value) {
            diagnostics.error(path.span, format!("{by} `{}` already: write to another file", path.display()));
        }
        taken.push((&path.value, format!("{what} `{}` writes", name.value)));
    }
}

/// The columns of a view's rows but the event timestamp.
fn columns<'a>(view: &'a View, project: &'a Project) -> Vec<&'a str> {
    let entity = view.entity.as_ref().and_then(|name| project.entity(name));
    let keys = entity.into_iter().flat_map(|entity| &entity.keys).map(|key| key.name.as_str());
    let features = view.features.iter().filter(|feature| !feature.hidden).map(|feature| feature.name.as_str());
    keys.chain(features).collect()
}

/// The event timestamp's new name is no other column's.
fn time_name(output: &Output, columns: &[&str], diagnostics: &mut Diagnostics) {
    if let Some(name) = output.time_name.as_ref().filter(|name| columns.contains(&name.as_str())) {
        let message = format!("the rows have a column `{}` already: give the event timestamp another name", name.value);
        diagnostics.error(name.span, message);
    }
}

/// A topic's brokers can be told, and its key is made of columns.
fn topic(output: &Output, columns: &[&str], project: &Project, diagnostics: &mut Diagnostics) {
    let OutputTarget::Kafka { brokers, topic, key, .. } = &output.target else { return };
    if brokers.is_none() && project.brokers().is_none() {
        let any = project.sources.iter().any(|source| matches!(source.kind, SourceKind::Kafka { .. }));
        let why = if any { "the project's sources have several" } else { "no source of the project has any" };
        diagnostics.error(topic.span, format!("an output to Kafka needs `brokers` here: {why}"));
    }
    for name in key.iter().flatten().filter(|name| !columns.contains(&name.as_str())) {
        let hint = suggestion(name, columns.iter().copied());
        diagnostics.error(name.span, format!("`{}` is no column of these rows{hint}", name.value));
    }
}
