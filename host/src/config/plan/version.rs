//! A view's version: the hash of everything that decides its values; and what of that decides what its state means, which
//! is all but its UDFs' digests: of those, what they take, keep and give.

use std::collections::BTreeSet;

use arrow::datatypes::FieldRef;
use sha2::{Digest, Sha256};

use super::ViewPlan;
use super::steps::display;
use crate::config::project::{
    AggregateName, FeatureKind, Format, JsonObject, Named, Of, Project, Source, TransformUse, View,
};
use crate::engine::aggregate::{AggregateFactory, AggregateSignature};
use crate::engine::transform::{TransformFactory, TransformSignature};

/// Counts up when the engine computes something else from the same definition.
const SEMANTICS: u32 = 1;

/// A view's UDFs.
#[derive(Default)]
pub(super) struct Udfs {
    /// The digests of their components.
    pub(super) digests: BTreeSet<String>,
    /// What they take, keep and give.
    pub(super) signatures: BTreeSet<String>,
}

impl Udfs {
    pub(super) fn transform(&mut self, factory: &dyn TransformFactory) {
        let TransformSignature { input, output } = factory.signature();
        self.digests.insert(factory.digest().to_owned());
        self.signatures.insert(format!("takes {input:?} gives {}", fields(output)));
    }

    pub(super) fn aggregate(&mut self, factory: &dyn AggregateFactory) {
        let AggregateSignature { input, state, output, ordered } = factory.signature();
        self.digests.extend(factory.digest().map(ToOwned::to_owned));
        let (state, output) = (fields(state), fields(output));
        self.signatures.insert(format!("takes {input:?} keeps {state} gives {output} ordered {ordered}"));
    }
}

fn fields(fields: &[FieldRef]) -> String {
    let field = |field: &FieldRef| {
        let null = if field.is_nullable() { "?" } else { "" };
        format!("{:?} {}{null}", field.name(), display(field.data_type()))
    };
    fields.iter().map(field).collect::<Vec<_>>().join(", ")
}

/// SHA-256, in hexadecimal, of the view's resolved definition, its sources' (of a view that it reads what `upstream`
/// gives) and entity's, what `udfs` says of its UDFs, each once, and the engine's semantics; where the file was written,
/// and in which order its tables stand, does not count.
pub(super) fn hashed<'a>(
    project: &Project,
    view: &View,
    udfs: &BTreeSet<String>,
    upstream: impl Fn(&str) -> Option<(&'a ViewPlan, &'a str)>,
) -> String {
    let mut lines = vec![format!("semantics {SEMANTICS}")];
    lines.extend(udfs.iter().map(|udf| format!("udf {udf}")));
    for name in view.reads() {
        if let Some(source) = project.source(name) {
            describe_source(project, source, &mut lines);
        } else if let Some((view, hash)) = upstream(name) {
            lines.push(format!("view {:?} {hash}", view.name));
        }
    }
    let entity = view.entity.as_ref().and_then(|entity| project.entity(entity));
    for key in entity.iter().flat_map(|entity| &entity.keys) {
        lines.push(format!("key {:?} {}", key.name.value, key.kind.value));
    }
    describe_view(project, view, &mut lines);
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(line.as_bytes());
        hash.update(b"\n");
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn describe_source(project: &Project, source: &Source, lines: &mut Vec<String>) {
    let format = match &source.format {
        Format::Json { row } | Format::Avro { row, .. } => format!("{} row {row:?}", source.format.name()),
        Format::Protobuf { message, row, .. } => {
            format!("protobuf {:?} row {row:?}", message.as_ref().map(|message| &message.value))
        }
        format @ (Format::Csv { .. } | Format::Parquet | Format::Raw) => format!("{format:?}"),
    };
    lines.push(format!("source {:?} {format} delay {:?}", source.name.value, source.watermark_delay));
    lines.extend(source.created.iter().map(|column| format!("created {:?}", column.value)));
    lines.extend(source.dedup.iter().map(|dedup| {
        let on: Vec<&str> = dedup.on.iter().map(|name| name.value.as_str()).collect();
        format!("dedup {on:?} within {:?}", dedup.within)
    }));
    lines.push(format!(
        "event time {:?} {:?} ahead {:?}",
        source.event_time.column.value, source.event_time.format.value, source.max_ahead
    ));
    describe_transforms(project, &source.transforms, lines);
    for field in &source.schema {
        let path = field.path.as_ref().map(|path| &path.value);
        lines.push(format!("column {:?} {} {path:?} {:?}", field.name.value, field.kind.value, field.time_format));
    }
}

fn describe_view(project: &Project, view: &View, lines: &mut Vec<String>) {
    lines.push(format!("view {:?} where {:?}", view.name.value, view.filter.as_ref().map(|sql| &sql.value)));
    for join in &view.joins {
        let on: Vec<_> = join.on.iter().map(|on| (on.left.as_str(), on.right.as_str())).collect();
        let columns = named(&join.columns);
        lines.push(format!(
            "join {:?} on {on:?} columns {columns:?} within {:?} miss {:?} wait {:?}",
            join.source.value, join.within, join.on_miss, join.wait
        ));
    }
    describe_transforms(project, &view.transforms, lines);
    lines.push(format!("columns {:?}", named(&view.columns)));
    lines.push(format!(
        "window {:?} late {:?}",
        view.window.as_ref().map(|window| window.value),
        view.allowed_lateness
    ));
    if project.is_folded(&view.name) {
        lines.push("each row once".to_owned());
    }
    lines.push(format!("emit {:?} empty {} unchanged {}", view.emit, view.emit_empty, !view.skip_unchanged));
    for feature in &view.features {
        let cast = feature.cast.as_ref().map(|cast| cast.value.to_string());
        let kind = match &feature.kind {
            FeatureKind::Expr(sql) => format!("expr {:?}", sql.value),
            FeatureKind::Aggregate(used) => {
                let of = match &used.of {
                    Of::Rows => String::new(),
                    Of::Expression(sql) => format!("{:?}", sql.value),
                    Of::Columns(columns) => format!("{:?}", named(columns)),
                };
                let (filter, output) =
                    (used.filter.as_ref().map(|sql| &sql.value), used.output.as_ref().map(|name| &name.value));
                let options = match &used.aggregate.value {
                    AggregateName::Udf(name) => options(project, name, &used.options),
                    AggregateName::BuiltIn(_) => serde_json::Value::Object(used.options.value.clone()).to_string(),
                };
                let rows = used.rows.map(|rows| format!("rows {rows} ")).unwrap_or_default();
                let window = used.window.as_ref().map(|window| window.value);
                format!(
                    "{:?} of {of} where {filter:?} over {window:?} {rows}output {output:?} {options}",
                    used.aggregate.value
                )
            }
        };
        lines.push(format!("feature {:?} {kind} as {cast:?} hidden {}", feature.name.value, feature.hidden));
    }
}

fn describe_transforms(project: &Project, transforms: &[TransformUse], lines: &mut Vec<String>) {
    for used in transforms {
        let options = options(project, &used.udf, &used.options);
        let output: Option<Vec<_>> =
            used.output.as_ref().map(|names| names.iter().map(|(a, b)| (&a.value, &b.value)).collect());
        lines.push(format!(
            "transform {:?} {:?} {output:?} {options}",
            used.udf.value,
            used.input.as_deref().map(named)
        ));
    }
}

fn named(columns: &[Named]) -> Vec<(&str, &str)> {
    columns.iter().map(|column| (column.name.value.as_str(), column.expression.value.as_str())).collect()
}

/// A UDF's options with those of the use, and which of its component's exports it is.
fn options(project: &Project, udf: &str, used: &JsonObject) -> String {
    let udf = project.udf(udf);
    let own = udf.map(|udf| serde_json::Value::Object(udf.options.value.clone()).to_string()).unwrap_or_default();
    let export = udf.and_then(|udf| udf.export.as_ref().map(|export| export.value.as_str())).unwrap_or_default();
    format!("{export:?} {own} {}", serde_json::Value::Object(used.clone()))
}
