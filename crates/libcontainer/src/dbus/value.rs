//! D-Bus values as plain data.

use std::fmt;

use serde::{Serialize, Serializer};
use zbus::wire::{Array, StructureBuilder, Variant};
use zbus::{ObjectPath, Signature};

/// A value of any type that systemd takes (D-Bus specification, "Type System"), shown, and serialised, in GVariant's
/// text form.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the names are the specification's
pub enum Value {
    Bool(bool),
    Byte(u8),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    String(String),
    ObjectPath(String),
    Signature(String),
    /// The signature of its elements, all of which have it.
    Array(String, Vec<Value>),
    /// At least one.
    Struct(Vec<Value>),
    /// A value that brings its type along.
    Variant(Box<Value>),
}

impl Value {
    /// An array of elements whose signature is `element`.
    pub fn array<T: Into<Value>>(element: &str, items: impl IntoIterator<Item = T>) -> Value {
        Value::Array(element.to_owned(), items.into_iter().map(Into::into).collect())
    }

    /// An array of bytes.
    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Array("y".to_owned(), bytes.iter().copied().map(Value::Byte).collect())
    }

    /// The signature of the value's type.
    pub fn signature(&self) -> String {
        match self {
            Value::Bool(_) => "b".to_owned(),
            Value::Byte(_) => "y".to_owned(),
            Value::Int16(_) => "n".to_owned(),
            Value::Uint16(_) => "q".to_owned(),
            Value::Int32(_) => "i".to_owned(),
            Value::Uint32(_) => "u".to_owned(),
            Value::Int64(_) => "x".to_owned(),
            Value::Uint64(_) => "t".to_owned(),
            Value::Double(_) => "d".to_owned(),
            Value::String(_) => "s".to_owned(),
            Value::ObjectPath(_) => "o".to_owned(),
            Value::Signature(_) => "g".to_owned(),
            Value::Array(element, _) => format!("a{element}"),
            Value::Struct(fields) => format!("({})", fields.iter().map(Value::signature).collect::<String>()),
            Value::Variant(_) => "v".to_owned(),
        }
    }

    /// The same, for the library that encodes it.
    ///
    /// # Errors
    /// For a path or signature that is none, and for an array of mixed types.
    pub(super) fn to_wire(&self) -> zbus::Result<Variant<'_>> {
        Ok(match self {
            Value::Bool(value) => Variant::Bool(*value),
            Value::Byte(value) => Variant::U8(*value),
            Value::Int16(value) => Variant::I16(*value),
            Value::Uint16(value) => Variant::U16(*value),
            Value::Int32(value) => Variant::I32(*value),
            Value::Uint32(value) => Variant::U32(*value),
            Value::Int64(value) => Variant::I64(*value),
            Value::Uint64(value) => Variant::U64(*value),
            Value::Double(value) => Variant::F64(*value),
            Value::String(value) => Variant::Str(value.as_str().into()),
            Value::ObjectPath(value) => Variant::ObjectPath(ObjectPath::try_from(value.as_str())?),
            Value::Signature(value) => Variant::Signature(Signature::try_from(value.as_str())?),
            Value::Array(element, items) => {
                let mut array = Array::new(&Signature::try_from(element.as_str())?);
                items.iter().try_for_each(|item| array.append(item.to_wire()?))?;
                Variant::Array(array)
            }
            Value::Struct(fields) => {
                let mut builder = StructureBuilder::new();
                for field in fields {
                    builder.push_value(field.to_wire()?);
                }
                Variant::Structure(builder.build()?)
            }
            Value::Variant(value) => Variant::Variant(Box::new(value.to_wire()?)),
        })
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Uint64(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Uint32(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::String(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Byte(value) => write!(f, "byte {value:#04x}"),
            Value::Int16(value) => write!(f, "int16 {value}"),
            Value::Uint16(value) => write!(f, "uint16 {value}"),
            Value::Int32(value) => write!(f, "{value}"),
            Value::Uint32(value) => write!(f, "uint32 {value}"),
            Value::Int64(value) => write!(f, "int64 {value}"),
            Value::Uint64(value) => write!(f, "uint64 {value}"),
            Value::Double(value) => write!(f, "{value:?}"),
            Value::String(value) => write!(f, "{value:?}"),
            Value::ObjectPath(value) => write!(f, "objectpath {value:?}"),
            Value::Signature(value) => write!(f, "signature {value:?}"),
            Value::Array(element, items) if items.is_empty() => write!(f, "@a{element} []"),
            Value::Array(_, items) => {
                f.write_str("[")?;
                separated(f, items)?;
                f.write_str("]")
            }
            Value::Struct(fields) => {
                f.write_str("(")?;
                separated(f, fields)?;
                f.write_str(if fields.len() == 1 { ",)" } else { ")" })
            }
            Value::Variant(value) => write!(f, "<{value}>"),
        }
    }
}

fn separated(f: &mut fmt::Formatter<'_>, values: &[Value]) -> fmt::Result {
    values.iter().enumerate().try_for_each(|(index, value)| {
        let separator = if index == 0 { "" } else { ", " };
        write!(f, "{separator}{value}")
    })
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
