//! Values as PostgreSQL's types and back. A parameter takes the type that the statement gives it.

use std::error::Error as StdError;

use agent_host_adapter::sql::{Param, Value};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

type Boxed = Box<dyn StdError + Send + Sync>;

/// A parameter. Those of the adapter's statements are integers, text and bytes.
#[derive(Debug)]
pub(crate) struct Parameter<'a>(pub(crate) &'a Param<'a>);

impl ToSql for Parameter<'_> {
    fn to_sql(&self, type_: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        match self.0 {
            Param::Null => Ok(IsNull::Yes),
            Param::Integer(integer) if *type_ == Type::INT8 => integer.to_sql(type_, out),
            Param::Integer(integer) if *type_ == Type::INT4 => i32::try_from(*integer)?.to_sql(type_, out),
            Param::Real(real) if *type_ == Type::FLOAT8 => real.to_sql(type_, out),
            Param::Text(text) if <&str as ToSql>::accepts(type_) => text.to_sql(type_, out),
            Param::Blob(blob) if *type_ == Type::BYTEA => blob.to_sql(type_, out),
            _ => Err(format!("a parameter does not fit the type {type_}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        // It depends on the value.
        true
    }

    to_sql_checked!();
}

/// A value of a result.
pub(crate) struct Cell(pub(crate) Value);

impl<'a> FromSql<'a> for Cell {
    fn from_sql(type_: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        Ok(Self(match *type_ {
            Type::INT8 => Value::Integer(i64::from_sql(type_, raw)?),
            Type::INT4 => Value::Integer(i32::from_sql(type_, raw)?.into()),
            Type::FLOAT8 => Value::Real(f64::from_sql(type_, raw)?),
            Type::BYTEA => Value::Blob(raw.to_vec()),
            // A function that gives nothing, such as the one that locks.
            Type::VOID => Value::Null,
            _ if <String as FromSql>::accepts(type_) => Value::Text(String::from_sql(type_, raw)?),
            _ => return Err(format!("a value of type {type_} cannot be held").into()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Boxed> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
