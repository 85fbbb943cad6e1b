//! What a query gives.

use super::{Error, Value};

/// The rows of a query.
#[derive(Clone, Debug)]
pub struct RowSet {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows; each has a value for each column.
    pub rows: Vec<Vec<Value>>,
    /// About how many bytes they hold in memory.
    pub bytes: usize,
}

impl RowSet {
    pub(super) fn new(columns: Vec<String>) -> Self {
        Self { columns, rows: Vec::new(), bytes: 0 }
    }

    /// Adds a row, unless the set would hold more than `limit` bytes with it.
    pub(super) fn push(&mut self, row: Vec<Value>, limit: usize) -> Result<(), Error> {
        self.bytes += row.iter().map(value_bytes).sum::<usize>();
        if self.bytes > limit {
            return Err(Error::Other(format!("the result is larger than the {limit} bytes that may be held: use LIMIT")));
        }
        self.rows.push(row);
        Ok(())
    }
}

/// About how many bytes a value takes in memory.
pub(super) fn value_bytes(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Integer(_) | Value::Real(_) => 0,
            Value::Text(text) => text.len(),
            Value::Blob(blob) => blob.len(),
        }
}
