//! What must hold of one feature service.

use std::collections::HashSet;

use super::super::diagnostics::Diagnostics;
use super::super::parse::Declared;
use super::super::project::{Project, Service, ServiceFeature};
use super::{unknown, unknown_of};

pub(super) fn check(service: &Service, project: &Project, declared: &Declared, diagnostics: &mut Diagnostics) {
    let mut served = HashSet::new();
    let mut aliases = HashSet::new();
    for item in &service.features {
        let Some((_, features)) = declared.views.iter().find(|(view, _)| *view == item.view.value) else {
            unknown(diagnostics, "view", &item.view, declared.views.iter().map(|(view, _)| view));
            continue;
        };
        if let Some(feature) = item.feature.as_ref().filter(|feature| !features.contains(feature)) {
            let place = format!(" of view `{}`", item.view.value);
            unknown_of(diagnostics, "feature", feature, &place, features);
            continue;
        }
        can_serve(item, project, diagnostics);
        if let Some(alias) = item.alias.as_ref().filter(|alias| !aliases.insert(alias.value.clone())) {
            diagnostics.error(alias.span, format!("two features are called `{}`", alias.value));
        }
        for feature in features.iter().filter(|name| item.feature.as_ref().is_none_or(|one| one.value == **name)) {
            let shown = item.alias.as_ref().map_or(feature, |alias| &alias.value);
            if !served.insert((item.view.value.clone(), shown.clone())) && item.alias.is_none() {
                let message = format!("feature `{feature}` of view `{}` is there twice", item.view.value);
                diagnostics.error(item.view.span, message);
            }
        }
    }
}

/// What is not in the online store, or hidden, cannot be served.
fn can_serve(item: &ServiceFeature, project: &Project, diagnostics: &mut Diagnostics) {
    let Some(view) = project.view(&item.view) else { return };
    if !view.online {
        let message = format!("view `{}` says `online = false`, so nothing of it can be served", item.view.value);
        diagnostics.error(item.view.span, message);
    }
    let Some(name) = &item.feature else { return };
    if view.features.iter().any(|feature| feature.name.value == name.value && feature.hidden) {
        diagnostics.error(name.span, format!("feature `{}` is hidden, so it cannot be served", name.value));
    }
}
