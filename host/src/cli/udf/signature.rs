//! A UDF's signature in words.

use arrow::datatypes::FieldRef;
use millrace::engine::decode::DecodeField;
use millrace::record::ColumnType;

use super::loaded::Bound;

/// What a bound UDF wants, keeps and gives, a line each.
pub(super) fn lines(bound: &Bound, columns: &[DecodeField]) -> Vec<String> {
    match bound {
        Bound::Transform(transform) => {
            let signature = transform.signature();
            vec![
                format!("wants  {}", wanted(&signature.input, columns)),
                format!("gives  {}", fields(&signature.output)),
            ]
        }
        Bound::Aggregate(aggregate) => {
            let signature = aggregate.signature();
            let mut lines = vec![
                format!("wants  {}", wanted(&signature.input, columns)),
                format!("keeps  {}", fields(&signature.state)),
                format!("gives  {}", fields(&signature.output)),
            ];
            if signature.ordered {
                lines.push("its rows come sorted by event time, once the watermark has passed them".into());
            }
            lines
        }
    }
}

fn wanted(names: &[String], columns: &[DecodeField]) -> String {
    let kind = |name: &String| columns.iter().find(|column| column.name == *name).map(|column| &column.kind);
    let one = |name| kind(name).map_or_else(|| name.clone(), |kind| format!("{name}: {kind}"));
    listed(names.iter().map(one))
}

fn fields(fields: &[FieldRef]) -> String {
    listed(fields.iter().map(|field| {
        let kind = ColumnType::from_arrow(field.data_type());
        let kind = kind.map_or_else(|| field.data_type().to_string(), |kind| kind.to_string());
        format!("{}: {kind}{}", field.name(), if field.is_nullable() { "?" } else { "" })
    }))
}

fn listed(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() { "nothing".into() } else { parts.join(", ") }
}
