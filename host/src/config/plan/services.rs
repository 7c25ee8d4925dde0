//! Services with outputs, planned: which columns of which views their combined rows have.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};

use super::outputs::outputs;
use super::{ServicePlan, ViewPlan};
use crate::config::diagnostics::Diagnostics;
use crate::config::project::{Project, Service};
use crate::engine::combine::{CombinePlan, CombinedView};
use crate::record::event_timestamp_field;

/// Plans the services that have outputs.
pub(super) fn services(project: &Project, views: &[ViewPlan], errors: &mut Diagnostics) -> Vec<ServicePlan> {
    let with_outputs = project.services.iter().filter(|service| !service.outputs.is_empty());
    with_outputs.filter_map(|service| plan(project, service, views, errors)).collect()
}

/// None where a view could not be planned, which has been said.
fn plan(project: &Project, service: &Service, views: &[ViewPlan], errors: &mut Diagnostics) -> Option<ServicePlan> {
    let mut used: Vec<(u16, CombinedView)> = Vec::new();
    let mut features: Vec<FieldRef> = Vec::new();
    let mut keys: Vec<FieldRef> = Vec::new();
    for item in &service.features {
        let (index, view) = (0_u16..).zip(views).find(|(_, view)| view.name == item.view.value)?;
        keys = view.schema.fields().iter().take(view.keys).cloned().collect();
        let place = used.iter().position(|(known, _)| *known == index).unwrap_or_else(|| {
            used.push((index, CombinedView { columns: Vec::new(), places: Vec::new() }));
            used.len() - 1
        });
        let (_, combined) = used.get_mut(place)?;
        // Keys and the event timestamp come first.
        for (column, field) in view.schema.fields().iter().enumerate().skip(view.keys + 1) {
            if item.feature.as_ref().is_some_and(|wanted| wanted.value != *field.name()) {
                continue;
            }
            let name = item.alias.as_ref().map_or(field.name(), |alias| &alias.value);
            combined.columns.push((column, field.data_type().clone()));
            combined.places.push(features.len());
            features.push(Arc::new(Field::new(name, field.data_type().clone(), true)));
        }
    }
    let names: Vec<String> = keys.iter().map(|key| key.name().clone()).collect();
    let types = keys.iter().map(|key| key.data_type().clone()).collect();
    let fields: Vec<FieldRef> = keys.into_iter().chain([event_timestamp_field()]).chain(features).collect();
    let outputs = outputs(project, &format!("service/{}", service.name.value), &service.outputs, &names, errors);
    let (indices, combined) = used.into_iter().unzip();
    let combine = CombinePlan { keys: types, views: combined, schema: Arc::new(Schema::new(fields)) };
    Some(ServicePlan { name: service.name.value.clone(), views: indices, combine: Arc::new(combine), outputs })
}
