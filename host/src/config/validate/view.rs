//! What must hold of one view.

use super::super::diagnostics::{Diagnostics, Spanned};
use super::super::parse::Declared;
use super::super::project::{AggregateName, FeatureKind, Project, Source, View};
use super::unknown;
use crate::record::EVENT_TIMESTAMP;

pub(super) fn check(view: &View, project: &Project, declared: &Declared, diagnostics: &mut Diagnostics) {
    if let Some(entity) = view.entity.as_ref().filter(|entity| !declared.entities.contains(entity)) {
        unknown(diagnostics, "entity", entity, &declared.entities);
    }
    inputs(view, project, declared, diagnostics);
    joins(view, project, declared, diagnostics);
    let sources: Vec<&Source> = view.from.iter().filter_map(|name| project.source(name)).collect();
    same_types(view, &sources, diagnostics);
    transforms(view, &sources, declared, diagnostics);
    for column in &view.columns {
        not_event_time(&column.name, &sources, diagnostics);
    }
    features(view, project, declared, diagnostics);
}

fn inputs(view: &View, project: &Project, declared: &Declared, diagnostics: &mut Diagnostics) {
    for (index, name) in view.from.iter().enumerate() {
        if view.from.iter().take(index).any(|other| other.value == name.value) {
            diagnostics.error(name.span, format!("`{}` is in `from` twice", name.value));
        }
        readable(name, declared, diagnostics);
        aggregates_once(view, name, project, diagnostics);
    }
}

/// A name in `from` or `join` is a source's or a view's.
fn readable(name: &Spanned<String>, declared: &Declared, diagnostics: &mut Diagnostics) {
    let views = || declared.views.iter().map(|(view, _)| view);
    if !declared.sources.contains(name) && !views().any(|view| *view == name.value) {
        unknown(diagnostics, "source or view", name, declared.sources.iter().chain(views()));
    }
}

/// What aggregates a view's rows gets each (key, event_timestamp) once, so they may not be corrected for long.
fn aggregates_once(view: &View, name: &Spanned<String>, project: &Project, diagnostics: &mut Diagnostics) {
    let Some(read) = project.view(name) else { return };
    let folds = view.window.is_some() || project.is_folded(&view.name);
    if folds && !read.allowed_lateness.is_zero() {
        let place = if view.window.is_some() { "here" } else { "in what reads this one" };
        let message = format!(
            "view `{}` corrects rows for its `allowed-lateness`, and a view that aggregates them takes each once: leave `allowed-lateness` out there, or `window` {place}",
            name.value
        );
        diagnostics.error(name.span, message);
    }
}

fn joins(view: &View, project: &Project, declared: &Declared, diagnostics: &mut Diagnostics) {
    for join in &view.joins {
        readable(&join.source, declared, diagnostics);
        for column in &join.columns {
            let sources: Vec<&Source> = view.from.iter().filter_map(|name| project.source(name)).collect();
            not_event_time(&column.name, &sources, diagnostics);
        }
    }
}

/// In a union, a column has one type.
fn same_types(view: &View, sources: &[&Source], diagnostics: &mut Diagnostics) {
    // What transforms give is known once they are bound.
    let Some((first, others)) = sources.split_first().filter(|(first, _)| first.transforms.is_empty()) else { return };
    for other in others.iter().filter(|other| other.transforms.is_empty()) {
        for field in &other.schema {
            let Some(same) = first.schema.iter().find(|known| known.name.value == field.name.value) else { continue };
            if same.kind.value == field.kind.value {
                continue;
            }
            let at = view.from.iter().find(|name| name.value == other.name.value).unwrap_or(&view.name);
            let message = format!(
                "column `{}` is {} in source `{}`, but {} in source `{}`: a view reads one type",
                field.name.value, field.kind.value, other.name.value, same.kind.value, first.name.value
            );
            diagnostics.error(at.span, message);
        }
    }
}

fn transforms(view: &View, sources: &[&Source], declared: &Declared, diagnostics: &mut Diagnostics) {
    super::transforms(&view.transforms, declared, diagnostics);
    for (_, name) in view.transforms.iter().flat_map(|transform| transform.output.iter().flatten()) {
        not_event_time(name, sources, diagnostics);
    }
}

/// Event time is fixed at the source: no later step gives a column of its name.
fn not_event_time(name: &Spanned<String>, sources: &[&Source], diagnostics: &mut Diagnostics) {
    let is_event_time = |source: &&Source| source.event_time.column.value == name.value;
    if name.value == EVENT_TIMESTAMP || sources.iter().any(is_event_time) {
        let message = format!("`{}` is the event time, which is fixed at the source: choose another name", name.value);
        diagnostics.error(name.span, message);
    }
}

fn features(view: &View, project: &Project, declared: &Declared, diagnostics: &mut Diagnostics) {
    let entity = view.entity.as_ref().and_then(|name| project.entity(name));
    let keys = entity.map(|entity| entity.keys.as_slice()).unwrap_or_default();
    for feature in &view.features {
        let name = &feature.name;
        if keys.iter().any(|key| key.name.value == name.value) {
            let message = format!("`{}` is a key of the entity: give the feature another name", name.value);
            diagnostics.error(name.span, message);
        }
        if let FeatureKind::Aggregate(aggregate) = &feature.kind
            && let AggregateName::Udf(udf) = &aggregate.aggregate.value
            && !declared.udfs.contains(udf)
        {
            let udf = Spanned::new(udf.clone(), aggregate.aggregate.span);
            unknown(diagnostics, "UDF", &udf, &declared.udfs);
        }
    }
    let declared = declared.views.iter().find(|(name, _)| *name == view.name.value);
    let all_read = declared.is_some_and(|(_, features)| features.len() == view.features.len());
    if all_read && !view.features.is_empty() && view.features.iter().all(|feature| feature.hidden) {
        diagnostics.error(view.name.span, format!("all features of view `{}` are hidden", view.name.value));
    }
}
