//! Outputs, planned: where rows go, and in which form.

use jiff::tz::TimeZone;

use super::{OutputPlan, OutputTarget};
use crate::config::diagnostics::{Diagnostics, Spanned};
use crate::config::project::{self, Output, Project};
use crate::engine::decode::TimeFormat;
use crate::record::EVENT_TIMESTAMP;
use crate::sink::json_lines::RowForm;
use crate::sink::kafka;

/// Plans the outputs of `owner`, a view or a service with its kind, whose rows have these `keys`; one that does not
/// work is left out and reported.
pub(super) fn outputs(
    project: &Project,
    owner: &str,
    outputs: &[Output],
    keys: &[String],
    errors: &mut Diagnostics,
) -> Vec<OutputPlan> {
    let mut plans: Vec<OutputPlan> = Vec::with_capacity(outputs.len());
    for output in outputs {
        let planned = plan(project, owner, output, keys, errors);
        plans.extend(planned.map(|planned| distinct(planned, &plans)));
    }
    plans
}

/// Of several outputs to one topic each has an id of its own.
fn distinct(mut planned: OutputPlan, before: &[OutputPlan]) -> OutputPlan {
    if let OutputTarget::Kafka(options) = &mut planned.target {
        let same =
            |output: &&OutputPlan| matches!(&output.target, OutputTarget::Kafka(other) if other.topic == options.topic);
        let number = before.iter().filter(same).count();
        if number > 0 {
            options.id = format!("{}/{number}", options.id);
        }
    }
    planned
}

fn plan(
    project: &Project,
    owner: &str,
    output: &Output,
    keys: &[String],
    errors: &mut Diagnostics,
) -> Option<OutputPlan> {
    let time_name = output.time_name.as_ref().map_or_else(|| EVENT_TIMESTAMP.to_owned(), |name| name.value.clone());
    let time_format = match &output.time_format {
        None => TimeFormat::iso(),
        Some(format) => printed_format(format, errors)?,
    };
    let form = RowForm { time_name, time_format };
    let target = match &output.target {
        project::OutputTarget::File { path } => OutputTarget::File(path.value.clone()),
        project::OutputTarget::Kafka { brokers, topic, key, properties, delivery } => {
            OutputTarget::Kafka(kafka::Options {
                // Not by its place in the list, which may change.
                id: format!("{owner}/{}", topic.value),
                brokers: brokers.as_ref().or(project.brokers())?.value.clone(),
                topic: topic.value.clone(),
                key: match key {
                    Some(key) => key.iter().map(|name| name.value.clone()).collect(),
                    None => keys.to_vec(),
                },
                form: form.clone(),
                properties: properties.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect(),
                delivery: match delivery {
                    project::Delivery::AtLeastOnce => kafka::Delivery::AtLeastOnce,
                    project::Delivery::ExactlyOnce { marker_topic } => {
                        kafka::Delivery::ExactlyOnce { marker_topic: marker_topic.clone() }
                    }
                },
            })
        }
        project::OutputTarget::WebSocket => OutputTarget::Subscribers,
    };
    Some(OutputPlan { target, form })
}

/// Unlike a source's format, a pattern need not be readable: an output may leave out what it likes.
fn printed_format(format: &Spanned<project::TimeFormat>, errors: &mut Diagnostics) -> Option<TimeFormat> {
    let project::TimeFormat::Strptime { pattern, zone } = &format.value else {
        return super::source::time_format(&format.value, format.span, errors);
    };
    let printed = TimeFormat::Pattern(pattern.clone(), TimeZone::UTC).with_zone(zone);
    printed.map_err(|message| errors.error(format.span, message)).ok()
}
