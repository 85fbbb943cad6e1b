//! What `agent-host:sql` holds, as PostgreSQL's types and back.
//!
//! A parameter takes the type that the statement gives it. What is not PostgreSQL's own for a value is sent as text, which the server reads as it reads a literal: so text
//! can be a timestamp, a UUID or JSON.

use std::error::Error as StdError;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::sql::{Error, Value};

type Boxed = Box<dyn StdError + Send + Sync>;

/// A value that a column or parameter cannot hold, or that cannot be held here.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(String);

/// A parameter.
#[derive(Debug)]
pub(super) struct Param<'a>(pub(super) &'a Value);

impl Param<'_> {
    /// Whether it can have the type, before anything is sent.
    pub(super) fn check(&self, type_: &Type) -> Result<(), Error> {
        let fits = match self.0 {
            Value::Integer(integer) => match *type_ {
                Type::INT2 => i16::try_from(*integer).is_ok(),
                Type::INT4 => i32::try_from(*integer).is_ok(),
                _ => true,
            },
            Value::Blob(_) => *type_ == Type::BYTEA,
            Value::Null | Value::Real(_) | Value::Text(_) => true,
        };
        let what = match self.0 {
            Value::Integer(_) => "an integer of this size",
            _ => "a blob",
        };
        if fits { Ok(()) } else { Err(Error::Syntax(format!("{what} cannot be a parameter of type {type_}"))) }
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self, type_: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        match self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Integer(integer) => match *type_ {
                Type::INT8 => integer.to_sql(type_, out),
                Type::INT4 => i32::try_from(*integer)?.to_sql(type_, out),
                Type::INT2 => i16::try_from(*integer)?.to_sql(type_, out),
                _ => literal(&integer.to_string(), out),
            },
            Value::Real(real) => match *type_ {
                Type::FLOAT8 => real.to_sql(type_, out),
                _ => literal(&real.to_string(), out),
            },
            Value::Text(text) => literal(text, out),
            Value::Blob(blob) => blob.to_sql(type_, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // `check` knows the value, too.
        true
    }

    fn encode_format(&self, type_: &Type) -> Format {
        let is_binary = match self.0 {
            Value::Null | Value::Blob(_) => true,
            Value::Integer(_) => matches!(*type_, Type::INT2 | Type::INT4 | Type::INT8),
            Value::Real(_) => *type_ == Type::FLOAT8,
            Value::Text(_) => false,
        };
        if is_binary { Format::Binary } else { Format::Text }
    }

    to_sql_checked!();
}

fn literal(text: &str, out: &mut BytesMut) -> Result<IsNull, Boxed> {
    out.extend_from_slice(text.as_bytes());
    Ok(IsNull::No)
}

/// A value of a result.
pub(super) struct Cell(pub(super) Value);

impl<'a> FromSql<'a> for Cell {
    fn from_sql(type_: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        let value = match *type_ {
            Type::BOOL => Value::Integer(bool::from_sql(type_, raw)?.into()),
            Type::INT2 => Value::Integer(i16::from_sql(type_, raw)?.into()),
            Type::INT4 => Value::Integer(i32::from_sql(type_, raw)?.into()),
            Type::INT8 => Value::Integer(i64::from_sql(type_, raw)?),
            Type::OID => Value::Integer(u32::from_sql(type_, raw)?.into()),
            Type::FLOAT4 => Value::Real(f32::from_sql(type_, raw)?.into()),
            Type::FLOAT8 => Value::Real(f64::from_sql(type_, raw)?),
            Type::BYTEA => Value::Blob(raw.to_vec()),
            Type::UUID => Value::Text(Uuid::from_slice(raw)?.to_string()),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON | Type::XML => text(raw)?,
            // The first byte says which version of the format it is.
            Type::JSONB => text(raw.split_first().map_or(raw, |(_, text)| text))?,
            _ => match type_.kind() {
                Kind::Domain(inner) => return Self::from_sql(inner, raw),
                Kind::Enum(_) => text(raw)?,
                // A function that gives nothing.
                _ if *type_ == Type::VOID => Value::Null,
                _ => return Err(Unfit(format!("a value of type {type_} cannot be held: give it as text, CAST(… AS TEXT)")).into()),
            },
        };
        Ok(Self(value))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Boxed> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn text(raw: &[u8]) -> Result<Value, Boxed> {
    Ok(Value::Text(str::from_utf8(raw)?.to_owned()))
}
