//! Columns as they are named on the command line and in test cases: `amount: float64, at: timestamp(epoch-millis)`.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use millrace::engine::decode::{DecodeField, TimeFormat};
use millrace::record::ColumnType;

/// Reads columns, separated by commas.
pub(super) fn parse(text: &str) -> Result<Vec<DecodeField>, String> {
    let mut fields: Vec<DecodeField> = Vec::new();
    for part in split(text) {
        let (name, kind) = part.split_once(':').ok_or_else(|| {
            format!("`{}` has no type: write `{}: float64`, or another of its type", part.trim(), part.trim())
        })?;
        let field = column(name.trim(), kind.trim())?;
        if fields.iter().any(|other| other.name == field.name) {
            return Err(format!("`{}` is there twice", field.name));
        }
        fields.push(field);
    }
    Ok(fields)
}

/// A column of a type, which may say how its times are written.
pub(super) fn column(name: &str, kind: &str) -> Result<DecodeField, String> {
    let (kind, time) = match kind.strip_prefix("timestamp(").and_then(|rest| rest.strip_suffix(')')) {
        Some(format) => ("timestamp", Some(TimeFormat::parse_config(format.trim())?)),
        None => (kind, None),
    };
    let parsed = ColumnType::parse(kind).ok_or_else(|| {
        let names: Vec<_> = ColumnType::names().collect();
        format!(
            "`{name}` is of the type `{kind}`, which there is not; there are {}, and list<…> of them",
            names.join(", ")
        )
    })?;
    if name.is_empty() {
        return Err("a column has no name".into());
    }
    Ok(DecodeField { name: name.to_owned(), kind: parsed, time, path: None })
}

/// What a UDF is bound to.
pub(super) fn fields(columns: &[DecodeField]) -> Vec<FieldRef> {
    columns.iter().map(|column| Arc::new(Field::new(&column.name, column.kind.arrow(), true))).collect()
}

/// Splits at commas that are within neither brackets nor parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let parts = text.split(|letter| {
        match letter {
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_and_what_is_wrong_is_named() {
        let read = |text: &str| {
            parse(text)
                .map(|fields| fields.iter().map(|field| format!("{}={}", field.name, field.kind)).collect::<Vec<_>>())
        };
        let types = "a: int64, m: map<utf8,float64> ,at: timestamp(%Y-%m-%d, %H), l:list<utf8>,";
        assert_eq!(read(types).unwrap(), ["a=int64", "m=map<utf8,float64>", "at=timestamp", "l=list<utf8>"]);
        assert_eq!(read("").unwrap(), Vec::<String>::new());
        assert!(read("a").unwrap_err().contains("`a` has no type"));
        assert!(read("a: long").unwrap_err().contains("of the type `long`"));
        assert!(read("a: int64, a: utf8").unwrap_err().contains("twice"));
    }
}
