//! The bodies of Feast's requests.
//!
//! A body is read in one pass into borrowed types. One that does not fit is read once more, as plain JSON, to say
//! where it is wrong, in the form of FastAPI that Feast's server answers with. What the request leaves out has
//! Feast's default; fields that are not known are ignored, as there.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_json::json;

use super::error::{Detail, Failure};

/// The longest piece of a wrong body that is sent back.
const LONGEST_ECHO: usize = 1_000;

/// More columns than any entity or frame has; it keeps the search for repeated names short.
const MOST_COLUMNS: usize = 1_000;

/// `POST /get-online-features`.
#[derive(Debug, Deserialize)]
pub(super) struct FeaturesRequest<'a> {
    /// The join keys' values, in the order of the request.
    #[serde(borrow)]
    pub(super) entities: Entities<'a>,
    /// A service, instead of a list of features.
    #[serde(borrow, default)]
    pub(super) feature_service: Option<Cow<'a, str>>,
    /// `view:feature` each.
    #[serde(borrow, default)]
    pub(super) features: Vec<Text<'a>>,
    /// Whether names are `view__feature`.
    #[serde(default)]
    pub(super) full_feature_names: bool,
    /// Whether the answer lists the views.
    #[serde(default)]
    pub(super) include_feature_view_version_metadata: bool,
}

/// `POST /push`.
#[derive(Debug, Deserialize)]
pub(super) struct PushRequest<'a> {
    /// A source of type `push`.
    #[serde(borrow)]
    pub(super) push_source_name: Cow<'a, str>,
    /// Columns by name.
    pub(super) df: DataFrame,
    /// `online`, `offline` or `online_and_offline`.
    #[serde(borrow, default)]
    pub(super) to: Option<Cow<'a, str>>,
}

/// A string that borrows where it can.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Join keys and their values, one a row; the later of two of one name counts.
#[derive(Debug)]
pub(super) struct Entities<'a>(pub(super) Vec<(Text<'a>, Vec<Scalar<'a>>)>);

/// One JSON value that may be a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    /// An integer above `i64::MAX`, or a number with a fraction or an exponent.
    Number(f64),
    Text(Cow<'a, str>),
    /// A list or an object, which no key is; its contents are skipped.
    Compound(&'static str),
}

/// Columns of a pushed frame, in the order of the request; the later of two of one name counts.
#[derive(Debug)]
pub(super) struct DataFrame(pub(super) Vec<(String, Vec<Json>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entities<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Entities<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object of lists")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                columns(map).map(Entities)
            }
        }
        input.deserialize_map(Read)
    }
}

impl<'de> Deserialize<'de> for DataFrame {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = DataFrame;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object of lists")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                columns(map).map(DataFrame)
            }
        }
        input.deserialize_map(Read)
    }
}

/// Reads an object as columns; the later of two of one name counts, in the place of the first.
fn columns<'de, A, N, V>(mut map: A) -> Result<Vec<(N, V)>, A::Error>
where
    A: MapAccess<'de>,
    N: Deserialize<'de> + PartialEq,
    V: Deserialize<'de>,
{
    let mut columns: Vec<(N, V)> = Vec::new();
    let mut read = 0;
    while let Some((name, values)) = map.next_entry()? {
        read += 1;
        if read > MOST_COLUMNS {
            return Err(serde::de::Error::custom(format_args!("more than {MOST_COLUMNS} columns")));
        }
        match columns.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = values,
            None => columns.push((name, values)),
        }
    }
    Ok(columns)
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Scalar<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Boolean(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Integer(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "above i64::MAX no key type takes it but a float")]
            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(i64::try_from(value).map_or(Scalar::Number(value as f64), Scalar::Integer))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(value))
            }

            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(value.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Compound("a list"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Compound("an object"))
            }
        }
        input.deserialize_any(Read)
    }
}

/// What a field of a request must be.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    TextOrNull,
    Boolean,
    Texts,
    Lists,
}

impl<'a> FeaturesRequest<'a> {
    /// Reads a body.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        let fields = [
            ("entities", Shape::Lists, true),
            ("feature_service", Shape::TextOrNull, false),
            ("features", Shape::Texts, false),
            ("full_feature_names", Shape::Boolean, false),
            ("include_feature_view_version_metadata", Shape::Boolean, false),
        ];
        serde_json::from_slice(body).map_err(|error| explain(body, &error, &fields))
    }
}

impl<'a> PushRequest<'a> {
    /// Reads a body.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        let fields =
            [("push_source_name", Shape::Text, true), ("df", Shape::Lists, true), ("to", Shape::TextOrNull, false)];
        serde_json::from_slice(body).map_err(|error| explain(body, &error, &fields))
    }
}

/// Says where a body that did not parse is wrong.
fn explain(body: &[u8], error: &serde_json::Error, fields: &[(&'static str, Shape, bool)]) -> Failure {
    let found: Json = match serde_json::from_slice(body) {
        Ok(found) => found,
        Err(error) => {
            let ctx = Some(json!({ "error": error.to_string() }));
            let loc = vec![json!("body"), json!(position(body, &error))];
            return Failure::Schema(vec![Detail {
                kind: "json_invalid",
                loc,
                msg: "JSON decode error",
                input: json!({}),
                ctx,
            }]);
        }
    };
    let mut details = Vec::new();
    match &found {
        Json::Object(object) => {
            for &(name, shape, required) in fields {
                match object.get(name) {
                    Some(value) => shape.check(name, value, &mut details),
                    None if required => details.push(detail("missing", &[name.into()], "Field required", &found)),
                    None => {}
                }
            }
        }
        _ => details.push(detail(
            "model_attributes_type",
            &[],
            "Input should be a valid dictionary or object to extract fields from",
            &found,
        )),
    }
    match details.is_empty() {
        false => Failure::Schema(details),
        true => Failure::unprocessable("bad-body", error.to_string(), "body"),
    }
}

impl Shape {
    fn check(self, name: &str, value: &Json, details: &mut Vec<Detail>) {
        let mut wrong = |loc: &[Json], kind, msg, value| details.push(detail(kind, loc, msg, value));
        let not_text = ("string_type", "Input should be a valid string");
        match (self, value) {
            (Self::Text | Self::TextOrNull, Json::String(_))
            | (Self::TextOrNull, Json::Null)
            | (Self::Boolean, Json::Bool(_)) => {}
            (Self::Text | Self::TextOrNull, _) => wrong(&[name.into()], not_text.0, not_text.1, value),
            (Self::Boolean, _) => wrong(&[name.into()], "bool_type", "Input should be a valid boolean", value),
            (Self::Texts, Json::Array(items)) => {
                if let Some((index, item)) = items.iter().enumerate().find(|(_, item)| !item.is_string()) {
                    wrong(&[name.into(), index.into()], not_text.0, not_text.1, item);
                }
            }
            (Self::Texts, _) => wrong(&[name.into()], "list_type", "Input should be a valid list", value),
            (Self::Lists, Json::Object(columns)) => {
                if let Some((column, values)) = columns.iter().find(|(_, values)| !values.is_array()) {
                    let loc = [name.into(), super::catalog::shown(column).into()];
                    wrong(&loc, "list_type", "Input should be a valid list", values);
                }
            }
            (Self::Lists, _) => wrong(&[name.into()], "dict_type", "Input should be a valid dictionary", value),
        }
    }
}

fn detail(kind: &'static str, loc: &[Json], msg: &'static str, input: &Json) -> Detail {
    let loc = std::iter::once(json!("body")).chain(loc.iter().cloned()).collect();
    let input = match input.to_string().len() <= LONGEST_ECHO {
        true => input.clone(),
        false => json!("(too long to show)"),
    };
    Detail { kind, loc, msg, input, ctx: None }
}

/// The byte of the body where the parser stopped.
fn position(body: &[u8], error: &serde_json::Error) -> usize {
    let before: usize = body.split_inclusive(|&byte| byte == b'\n').take(error.line() - 1).map(<[u8]>::len).sum();
    before + error.column().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(body: &str) -> Json {
        match FeaturesRequest::parse(body.as_bytes()) {
            Err(Failure::Schema(details)) => serde_json::to_value(&details).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_keeps_the_order_of_its_entities_and_the_kind_of_every_value() {
        let body = r#"{"entities": {"b": [1, "x\n", null, 1.5, true, [[1]], {"a": 2}, 18446744073709551615], "a": []},
            "features": ["v:f"], "feature_service": null, "more": {"ignored": [1]}}"#;
        let request = FeaturesRequest::parse(body.as_bytes()).unwrap();
        let [(b, values), (a, none)] = &request.entities.0[..] else { panic!("{request:?}") };
        assert_eq!((&*b.0, &*a.0, none.len()), ("b", "a", 0));
        let expected = [
            Scalar::Integer(1),
            Scalar::Text("x\n".into()),
            Scalar::Null,
            Scalar::Number(1.5),
            Scalar::Boolean(true),
            Scalar::Compound("a list"),
            Scalar::Compound("an object"),
            Scalar::Number(18_446_744_073_709_551_615.0),
        ];
        assert_eq!(values[..], expected);
        assert_eq!(request.features[0].0, "v:f");
        assert!(request.feature_service.is_none() && !request.full_feature_names);
    }

    #[test]
    fn the_later_of_two_columns_of_one_name_counts() {
        let request = FeaturesRequest::parse(br#"{"entities": {"a": [1], "a": [2]}}"#).unwrap();
        assert_eq!(request.entities.0, [(Text("a".into()), vec![Scalar::Integer(2)])]);
        let many = format!(r#"{{"entities": {{{}"a": []}}}}"#, r#""a": [], "#.repeat(MOST_COLUMNS));
        let refused = FeaturesRequest::parse(many.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("more than 1000 columns"), "{refused}");
    }

    #[test]
    fn every_mistake_is_told_in_fastapis_form() {
        let body = r#"{"entities": {"id": 5}, "features": ["a:b", 7], "full_feature_names": "x"}"#;
        assert_eq!(
            wrong(body),
            json!([
                {"type": "list_type", "loc": ["body", "entities", "id"], "msg": "Input should be a valid list", "input": 5},
                {"type": "string_type", "loc": ["body", "features", 1], "msg": "Input should be a valid string", "input": 7},
                {"type": "bool_type", "loc": ["body", "full_feature_names"], "msg": "Input should be a valid boolean", "input": "x"},
            ])
        );
        assert_eq!(wrong(r#"{"features": []}"#)[0]["type"], "missing");
        assert_eq!(wrong("[]")[0]["loc"], json!(["body"]));
        let invalid = wrong("{\n \"entities\": ,}");
        assert_eq!((&invalid[0]["type"], &invalid[0]["loc"]), (&json!("json_invalid"), &json!(["body", 15])));
    }

    #[test]
    fn a_long_wrong_value_is_not_sent_back() {
        let body = format!(r#"{{"entities": "{}"}}"#, "x".repeat(100_000));
        assert!(wrong(&body).to_string().len() < 1_000);
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_stack_overflow() {
        let deep = |text: &str| format!(r#"{{"entities": {}, "features": []}}"#, text.repeat(200_000));
        assert_eq!(wrong(&deep("["))[0]["type"], "json_invalid");
        assert_eq!(wrong(&deep("{\"a\":"))[0]["type"], "json_invalid");
        let skipped = format!(r#"{{"entities": {{"id": [{}1{}]}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let request = FeaturesRequest::parse(skipped.as_bytes()).unwrap();
        assert_eq!(request.entities.0[0].1, [Scalar::Compound("a list")]);
    }
}
