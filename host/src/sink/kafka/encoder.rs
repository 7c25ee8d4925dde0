//! Rows as messages: a JSON object each, keyed by the entity.
//!
//! A single key column is its text, several are a JSON object of them; rows without an entity have no key. A row by
//! which a key is deleted is a message without a value, so a compacted topic forgets the key.

use arrow::array::{Array, BooleanArray, RecordBatch};

use crate::record::Messages;
use crate::sink::SinkError;
use crate::sink::json_lines::{RowForm, Rows};

/// Makes messages of rows.
#[derive(Clone, Debug)]
pub struct Encoder {
    key: Vec<String>,
    form: RowForm,
}

impl Encoder {
    /// With these columns as the key, and rows in this form.
    pub fn new(key: Vec<String>, form: RowForm) -> Self {
        Self { key, form }
    }

    /// A message for each row; those that `deleted` marks say that their key is gone.
    ///
    /// # Errors
    /// [`SinkError`]: a key column is missing, or a column cannot be written. No retry helps.
    pub fn encode(&self, batch: &RecordBatch, deleted: Option<&BooleanArray>) -> Result<Messages, SinkError> {
        let key: Vec<usize> =
            self.key.iter().map(|name| batch.schema_ref().index_of(name)).collect::<Result<_, _>>()?;
        let keys = batch.project(&key)?;
        let plain = RowForm::default();
        let mut keys = (!key.is_empty()).then(|| Rows::of(&keys, &plain)).transpose()?;
        let mut rows = Rows::of(batch, &self.form)?;
        let mut messages = Messages::default();
        for row in 0..batch.num_rows() {
            let gone = deleted.is_some_and(|deleted| deleted.is_valid(row) && deleted.value(row));
            let write_key = |out: &mut Vec<u8>| match &mut keys {
                None => false,
                Some(keys) if key.len() == 1 => keys.write_text(row, out),
                Some(keys) => {
                    keys.write(row, out);
                    true
                }
            };
            messages.push_with(write_key, (!gone).then_some(|out: &mut Vec<u8>| rows.write(row, out)));
            let last = messages.get(messages.len() - 1);
            if last.is_some_and(|last| last.key.is_none() && last.value.is_none()) {
                // Nothing could be forgotten by it.
                messages.pop();
            }
        }
        Ok(messages)
    }
}
