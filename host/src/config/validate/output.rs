//! What must hold of the outputs of views and services.

use super::super::diagnostics::{Diagnostics, suggestion};
use super::super::project::{Output, OutputTarget, Project, Service, SourceKind, View};

pub(super) fn check(project: &Project, diagnostics: &mut Diagnostics) {
    files(project, diagnostics);
    for view in &project.views {
        let columns = columns(view, project);
        forms(&view.outputs, &columns, project, diagnostics);
        if !view.emit.close {
            never_final(&view.outputs, diagnostics);
        }
    }
    for service in project.services.iter().filter(|service| !service.outputs.is_empty()) {
        let columns = combined(service, project, diagnostics);
        forms(&service.outputs, &columns, project, diagnostics);
    }
}

/// Subscribers alone get provisional rows.
fn never_final(outputs: &[Output], diagnostics: &mut Diagnostics) {
    for output in outputs.iter().filter(|output| !matches!(output.target, OutputTarget::WebSocket)) {
        let message = "only final rows go to files and Kafka, and `emit` names none: let it name \"close\" too";
        diagnostics.error(output.place, message);
    }
}

/// What goes for the outputs of rows with these columns.
fn forms(outputs: &[Output], columns: &[&str], project: &Project, diagnostics: &mut Diagnostics) {
    let mut subscribers = false;
    for output in outputs {
        time_name(output, columns, diagnostics);
        topic(output, columns, project, diagnostics);
        if matches!(output.target, OutputTarget::WebSocket) && std::mem::replace(&mut subscribers, true) {
            diagnostics.error(output.place, "there is an output to WebSockets already: subscribers hear one");
        }
    }
}

/// No file is written twice, or written while it is read.
fn files(project: &Project, diagnostics: &mut Diagnostics) {
    let mut taken = Vec::new();
    for source in &project.sources {
        if let SourceKind::File { path, .. } = &source.kind {
            taken.push((&path.value, format!("source `{}` reads", source.name.value)));
        }
    }
    let views =
        project.views.iter().flat_map(|view| view.outputs.iter().map(move |output| ("view", &view.name, output)));
    let services = project.services.iter();
    let services = services.flat_map(|one| one.outputs.iter().map(move |output| ("service", &one.name, output)));
    for (what, name, output) in views.chain(services) {
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

/// The columns of a service's combined rows but the event timestamp. Its views have one entity, and its features names
/// of their own.
fn combined<'a>(service: &'a Service, project: &'a Project, diagnostics: &mut Diagnostics) -> Vec<&'a str> {
    let named = |view: &View| view.entity.as_ref().map(|entity| entity.value.clone());
    let described = |entity: &Option<String>| entity.as_ref().map_or("none".to_owned(), |entity| format!("`{entity}`"));
    let mut columns: Vec<&str> = Vec::new();
    let mut entity = None;
    for item in &service.features {
        let Some(view) = project.view(&item.view) else { continue };
        if !view.emit.close {
            let message = format!(
                "view `{}` gives provisional rows alone, which are not combined: let its `emit` name \"close\" too",
                view.name.value
            );
            diagnostics.error(item.view.span, message);
        }
        let first = entity.get_or_insert_with(|| {
            let entity = view.entity.as_ref().and_then(|name| project.entity(name));
            columns.extend(entity.into_iter().flat_map(|entity| &entity.keys).map(|key| key.name.as_str()));
            (view.name.as_str(), named(view))
        });
        if first.1 != named(view) {
            let message = format!(
                "the entity of view `{}` is {}, and that of `{}` is {}: only views of one entity are combined for `output`",
                view.name.value,
                described(&named(view)),
                first.0,
                described(&first.1)
            );
            diagnostics.error(item.view.span, message);
            continue;
        }
        let wanted = |name: &str| item.feature.as_ref().is_none_or(|feature| feature.value == name);
        for feature in view.features.iter().filter(|feature| !feature.hidden && wanted(&feature.name)) {
            let name = item.alias.as_ref().map_or(feature.name.as_str(), |alias| alias.as_str());
            if columns.contains(&name) {
                let message = format!(
                    "combined rows have a column `{name}` already: say \"{}:{} as another_name\"",
                    view.name.value, feature.name.value
                );
                diagnostics.error(item.view.span, message);
            }
            columns.push(name);
        }
    }
    columns
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
