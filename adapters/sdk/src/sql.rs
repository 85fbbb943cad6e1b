//! Databases that the host grants: a thin layer over the import `agent-host:sql`.

use std::vec;

use crate::bindings::agent_host::sql::sql as host;
use crate::{Error as AdapterError, Result as AdapterResult};

pub use host::{Dialect, Error, Statement, ValueParam as Param, ValueResult as Value};

/// What the functions of this module give.
pub type Result<T> = std::result::Result<T, Error>;

/// Runs statements one by one: a [`Connection`], or a [`Transaction`].
pub trait Executor {
    /// Runs one statement and gives the number of rows that it changed.
    ///
    /// # Errors
    /// Those of the database.
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64>;

    /// Runs one statement and gives its rows.
    ///
    /// # Errors
    /// Those of the database.
    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Rows>;
}

/// A database, whatever the connection to it is made of: the host's [`Connection`], or one of a driver that a component brings along. An adapter that is written for
/// any of these can be run over each, and tried without a host.
pub trait Begin: Executor {
    /// What it begins.
    type Transaction: Commit;

    /// The SQL that the database speaks.
    fn dialect(&self) -> Dialect;

    /// Runs the statements in one transaction, all or nothing, and gives the number of rows that each changed.
    ///
    /// # Errors
    /// Those of the database; then nothing was changed.
    fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>>;

    /// Begins a transaction that may write.
    ///
    /// # Errors
    /// Those of the database.
    fn begin(&self) -> Result<Self::Transaction>;
}

/// A transaction, which is rolled back when it is dropped.
pub trait Commit: Executor {
    /// Makes what was done durable.
    ///
    /// # Errors
    /// Those of the database; then nothing was changed.
    fn commit(self) -> Result<()>;
}

/// A database. Statements outside a transaction may run on different connections, each in a transaction of its own, and are durable when
/// they return.
#[derive(Debug)]
pub struct Connection(host::Connection);

impl Connection {
    /// Opens the database that the configuration grants under this name.
    ///
    /// # Errors
    /// [`Error::Denied`] if there is no such grant; those of the database.
    pub fn open(name: &str) -> Result<Self> {
        host::Connection::open(name).map(Self)
    }

    /// The SQL that the database speaks.
    pub fn dialect(&self) -> Dialect {
        self.0.dialect()
    }

    /// Runs the statements in one transaction, all or nothing, and gives the number of rows that each changed. One call into the host.
    ///
    /// # Errors
    /// Those of the database; then nothing was changed.
    pub fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>> {
        self.0.batch(statements)
    }

    /// Begins a transaction that may write. Others wait for their turn until it ends.
    ///
    /// # Errors
    /// [`Error::Busy`] if another one does not end; those of the database.
    pub fn begin(&self) -> Result<Transaction> {
        self.0.begin().map(Transaction)
    }
}

impl Executor for Connection {
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        self.0.execute(sql, params)
    }

    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Rows> {
        self.0.query(sql, params).map(Rows::new)
    }
}

impl Begin for Connection {
    type Transaction = Transaction;

    fn dialect(&self) -> Dialect {
        self.dialect()
    }

    fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>> {
        self.batch(statements)
    }

    fn begin(&self) -> Result<Transaction> {
        self.begin()
    }
}

/// A transaction. Dropping it without [`Transaction::commit`] rolls it back.
#[derive(Debug)]
pub struct Transaction(host::Transaction);

impl Transaction {
    /// Makes what was done durable.
    ///
    /// # Errors
    /// Those of the database; then nothing was changed.
    pub fn commit(self) -> Result<()> {
        self.0.commit()
    }
}

impl Executor for Transaction {
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        self.0.execute(sql, params)
    }

    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Rows> {
        self.0.query(sql, params).map(Rows::new)
    }
}

impl Commit for Transaction {
    fn commit(self) -> Result<()> {
        self.commit()
    }
}

/// The rows of a query. The host holds them; they come over in pages.
#[derive(Debug)]
pub struct Rows {
    /// `None` if all are here.
    host: Option<host::Rows>,
    page: vec::IntoIter<Vec<Value>>,
}

impl Rows {
    fn new(host: host::Rows) -> Self {
        Self { host: Some(host), page: Vec::new().into_iter() }
    }

    /// The only row of a query that gives one row at most.
    pub fn only(mut self) -> Option<Row> {
        match &self.host {
            Some(host) => host.next(1).pop().map(Row::new),
            None => self.next(),
        }
    }
}

impl From<Vec<Vec<Value>>> for Rows {
    /// Rows of a connection that is not the host's.
    fn from(rows: Vec<Vec<Value>>) -> Self {
        Self { host: None, page: rows.into_iter() }
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.page.len() == 0
            && let Some(host) = &self.host
        {
            // The host ends a page at about 1 MiB, whatever the number of rows.
            self.page = host.next(u32::MAX).into_iter();
        }
        self.page.next().map(Row::new)
    }
}

/// A row, whose columns are taken one after the other.
#[derive(Debug)]
pub struct Row(vec::IntoIter<Value>);

impl Row {
    fn new(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    /// The next column; `column` is its name in errors.
    ///
    /// # Errors
    /// [`AdapterError::Corrupt`] if there is no further column, or if it holds something else.
    pub fn take<T: FromValue>(&mut self, column: &str) -> AdapterResult<T> {
        let value = self.0.next().ok_or_else(|| AdapterError::corrupt(format!("there is no column {column:?}")))?;
        T::from_value(value).map_err(|found| AdapterError::corrupt(format!("the column {column:?} holds {found}, not {}", T::EXPECTED)))
    }

    /// Passes over columns.
    pub fn skip(&mut self, columns: usize) {
        self.0.by_ref().take(columns).for_each(drop);
    }
}

/// What can be read from a column.
pub trait FromValue: Sized {
    /// What a column of this type holds, as an error calls it.
    const EXPECTED: &str;

    /// Reads `value`.
    ///
    /// # Errors
    /// If it holds something else: what it holds.
    fn from_value(value: Value) -> std::result::Result<Self, &'static str>;
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Integer(_) => "an integer",
        Value::Real(_) => "a real number",
        Value::Text(_) => "text",
        Value::Blob(_) => "bytes",
    }
}

impl FromValue for i64 {
    const EXPECTED: &str = "an integer";

    fn from_value(value: Value) -> std::result::Result<Self, &'static str> {
        if let Value::Integer(integer) = value { Ok(integer) } else { Err(kind(&value)) }
    }
}

impl FromValue for u64 {
    const EXPECTED: &str = "an integer that is not negative";

    fn from_value(value: Value) -> std::result::Result<Self, &'static str> {
        i64::from_value(value).and_then(|integer| Self::try_from(integer).map_err(|_| "a negative integer"))
    }
}

impl FromValue for f64 {
    const EXPECTED: &str = "a real number";

    fn from_value(value: Value) -> std::result::Result<Self, &'static str> {
        if let Value::Real(real) = value { Ok(real) } else { Err(kind(&value)) }
    }
}

impl FromValue for String {
    const EXPECTED: &str = "text";

    fn from_value(value: Value) -> std::result::Result<Self, &'static str> {
        if let Value::Text(text) = value { Ok(text) } else { Err(kind(&value)) }
    }
}

impl FromValue for Vec<u8> {
    const EXPECTED: &str = "bytes";

    fn from_value(value: Value) -> std::result::Result<Self, &'static str> {
        if let Value::Blob(bytes) = value { Ok(bytes) } else { Err(kind(&value)) }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &str = T::EXPECTED;

    fn from_value(value: Value) -> std::result::Result<Self, &'static str> {
        if let Value::Null = value { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

/// Parameters of a statement, each from anything that [`Param`] can be made from, `None` being null: `params![id, epoch, name.as_deref()]`.
#[macro_export]
macro_rules! params {
    ($($param:expr),* $(,)?) => {
        &[$($crate::sql::Param::from($param)),*]
    };
}

macro_rules! param {
    ($($type:ty => |$value:ident| $param:expr;)*) => {
        $(impl<'a> From<$type> for Param<'a> {
            fn from($value: $type) -> Self {
                $param
            }
        })*
    };
}

param! {
    &'a str => |text| Self::Text(text);
    &'a String => |text| Self::Text(text);
    &'a [u8] => |bytes| Self::Blob(bytes);
    &'a Vec<u8> => |bytes| Self::Blob(bytes);
    i64 => |integer| Self::Integer(integer);
    u32 => |integer| Self::Integer(integer.into());
    // The contract's numbers are below 2^53; a larger one of the component's own becomes the largest that a database can hold.
    u64 => |integer| Self::Integer(i64::try_from(integer).unwrap_or(i64::MAX));
    f64 => |real| Self::Real(real);
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<Error> for AdapterError {
    /// What is worth another try is [`AdapterError::Unavailable`]; a database that was not granted is [`AdapterError::Invalid`], since the
    /// configuration is wrong; anything else is [`AdapterError::Other`].
    fn from(error: Error) -> Self {
        match error {
            Error::Busy(text) => Self::Unavailable(format!("the database is busy: {text}")),
            Error::Unavailable(text) => Self::Unavailable(format!("the database is unavailable: {text}")),
            Error::Denied(text) => Self::Invalid(format!("the database is not granted: {text}")),
            Error::Constraint(text) => Self::Other(format!("the database refused what violates a constraint: {text}")),
            Error::Syntax(text) => Self::Other(format!("the database refused the statement: {text}")),
            Error::Other(text) => Self::Other(format!("the database failed: {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_column_by_column() {
        let mut row = Row::new(vec![Value::Integer(7), Value::Text("x".to_owned()), Value::Null, Value::Blob(vec![0, 255])]);
        assert_eq!(row.take::<u64>("length").unwrap(), 7);
        assert_eq!(row.take::<Option<String>>("name").unwrap().as_deref(), Some("x"));
        assert_eq!(row.take::<Option<String>>("options").unwrap(), None);
        assert_eq!(row.take::<Vec<u8>>("data").unwrap(), [0, 255]);
    }

    #[test]
    fn a_column_that_holds_something_else_is_corrupt() {
        let mut row = Row::new(vec![Value::Integer(-1), Value::Null]);
        let negative = AdapterError::corrupt("the column \"length\" holds a negative integer, not an integer that is not negative");
        assert_eq!(row.take::<u64>("length"), Err(negative));
        assert_eq!(row.take::<String>("id"), Err(AdapterError::corrupt("the column \"id\" holds nothing, not text")));
        assert_eq!(row.take::<String>("name"), Err(AdapterError::corrupt("there is no column \"name\"")));
    }

    #[test]
    fn parameters_are_made_from_rust_values() {
        let params: &[Param<'_>] = params!["a", 1_u64, u64::MAX, None::<&str>, Some(2_i64), &[1_u8, 2][..]];
        let expected =
            [Param::Text("a"), Param::Integer(1), Param::Integer(i64::MAX), Param::Null, Param::Integer(2), Param::Blob(&[1, 2])];
        assert_eq!(params, expected);
    }
}
