//! From the values of aggregates to a view's rows: casts, features from features, and what is hidden left out.
//!
//! Always true: an expression that fails on a row makes that feature of that row null, and is reported; the rest of the
//! row stands.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};

use super::expression::Expression;
use super::key;
use super::udf::CallError;
use crate::record::{ColumnType, Columns, timestamps};
use crate::time::Micros;

/// A feature that an aggregate gives.
#[derive(Clone, Debug)]
pub struct FeatureColumn {
    /// Which of the values.
    pub value: usize,
    /// Which of its outputs.
    pub output: usize,
    /// The type that the project asks for.
    pub kind: DataType,
}

/// A feature from features.
#[derive(Clone)]
pub struct DerivedFeature {
    /// Its value, over the columns of `scope`.
    pub expression: Expression,
    /// The columns that it reads, by their index among those before it.
    pub scope: Vec<usize>,
    /// Those columns.
    pub schema: SchemaRef,
    /// The feature, in the type that the project asks for.
    pub field: FieldRef,
}

/// How a view's rows are put together.
#[derive(Clone)]
pub struct FeaturePlan {
    /// The types of the entity's keys, in the order of their names.
    pub key_types: Vec<ColumnType>,
    /// What the aggregates give: after keys, event timestamp, and the columns that come with the rows themselves.
    pub aggregated: Vec<FeatureColumn>,
    /// Features from features, each over the columns before it.
    pub derived: Vec<DerivedFeature>,
    /// The columns that are given out, by their index among all of these.
    pub picked: Vec<usize>,
    /// Keys, event timestamp, features: what is given out.
    pub schema: SchemaRef,
}

/// A view's rows, and what failed.
pub struct FeatureRows {
    /// The rows.
    pub batch: RecordBatch,
    /// Features that are null since their expression failed: the name, how often, and one of the reasons.
    pub failed: Vec<(String, usize, String)>,
}

impl FeaturePlan {
    /// Puts rows together: of the keys with these bytes, at these times, with these carried columns and values.
    ///
    /// # Errors
    /// The values are not those of this plan: the host's fault.
    pub fn rows<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u8]>,
        stamps: Vec<Micros>,
        carried: Vec<ArrayRef>,
        values: &[Columns],
    ) -> Result<FeatureRows, CallError> {
        let rows = stamps.len();
        let mut columns = key::decode(keys, &self.key_types).map_err(|error| CallError::Host(error.to_string()))?;
        columns.push(timestamps(&stamps.into()));
        columns.extend(carried);
        for feature in &self.aggregated {
            let value = values.get(feature.value).and_then(|value| value.columns.get(feature.output));
            let value = value.ok_or_else(|| CallError::Host("an aggregate gave fewer outputs than it said".into()))?;
            columns.push(if *value.data_type() == feature.kind { value.clone() } else { cast(value, &feature.kind)? });
        }
        let mut failed = Vec::new();
        for derived in &self.derived {
            let scope = derived.scope.iter().filter_map(|column| columns.get(*column)).cloned().collect();
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let batch = RecordBatch::try_new_with_options(derived.schema.clone(), scope, &options)?;
            let (value, errors) = derived.expression.evaluate_rows(&batch);
            let wanted = derived.field.data_type();
            let value = if value.data_type() == wanted { value } else { cast(&value, wanted)? };
            if let Some((_, detail)) = errors.first() {
                failed.push((derived.field.name().clone(), errors.len(), detail.clone()));
            }
            columns.push(value);
        }
        let picked = self.picked.iter().filter_map(|column| columns.get(*column)).cloned().collect();
        Ok(FeatureRows { batch: RecordBatch::try_new(self.schema.clone(), picked)?, failed })
    }
}
