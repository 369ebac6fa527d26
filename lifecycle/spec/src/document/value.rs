//! A value whose shape nobody prescribes, such as what a buildpack keeps in `[metadata]`.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::Fault;

/// A free-form table. Keys are sorted, as the reference writes them.
pub type ValueTable = BTreeMap<String, Value>;

/// A value of a free-form table.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the members are the types of TOML")]
pub enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A date, a time or both, as it is written in TOML. A string once it has been through JSON.
    Datetime(String),
    Array(Vec<Value>),
    Table(ValueTable),
}

impl Value {
    pub(crate) fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Fault> {
        Ok(match value.get_ref() {
            DeValue::String(text) => Self::String(text.to_string()),
            DeValue::Integer(integer) => {
                let parsed = i64::from_str_radix(integer.as_str(), integer.radix());
                let message = "the integer does not fit into 64 bits";
                Self::Integer(parsed.map_err(|_| Fault::new(value.span(), message))?)
            }
            DeValue::Float(float) => {
                let message = "the number cannot be represented";
                Self::Float(
                    float
                        .as_str()
                        .parse()
                        .map_err(|_| Fault::new(value.span(), message))?,
                )
            }
            DeValue::Boolean(boolean) => Self::Boolean(*boolean),
            DeValue::Datetime(datetime) => Self::Datetime(datetime.to_string()),
            DeValue::Array(members) => {
                Self::Array(members.iter().map(Self::from_toml).collect::<Result<_, _>>()?)
            }
            DeValue::Table(entries) => {
                let entry = |(key, value): (&Spanned<_>, _)| {
                    let key: &std::borrow::Cow<'_, str> = key.get_ref();
                    Ok((key.to_string(), Self::from_toml(value)?))
                };
                Self::Table(entries.iter().map(entry).collect::<Result<_, _>>()?)
            }
        })
    }

    /// The text if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

mod json {
    use std::fmt;

    use serde::de::{MapAccess, SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Value, ValueTable};

    impl Serialize for Value {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self {
                Self::String(text) | Self::Datetime(text) => serializer.serialize_str(text),
                Self::Integer(integer) => serializer.serialize_i64(*integer),
                Self::Float(float) => serializer.serialize_f64(*float),
                Self::Boolean(boolean) => serializer.serialize_bool(*boolean),
                Self::Array(members) => members.serialize(serializer),
                Self::Table(table) => table.serialize(serializer),
            }
        }
    }

    impl<'de> Deserialize<'de> for Value {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(AnyValue)
        }
    }

    struct AnyValue;

    impl<'de> Visitor<'de> for AnyValue {
        type Value = Value;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }

        fn visit_str<E>(self, text: &str) -> Result<Value, E> {
            Ok(Value::String(text.to_owned()))
        }

        fn visit_bool<E>(self, boolean: bool) -> Result<Value, E> {
            Ok(Value::Boolean(boolean))
        }

        fn visit_i64<E>(self, integer: i64) -> Result<Value, E> {
            Ok(Value::Integer(integer))
        }

        fn visit_u64<E>(self, integer: u64) -> Result<Value, E> {
            #[expect(
                clippy::cast_precision_loss,
                reason = "what TOML cannot hold as an integer is a float"
            )]
            let float = integer as f64;
            Ok(i64::try_from(integer).map_or(Value::Float(float), Value::Integer))
        }

        fn visit_f64<E>(self, float: f64) -> Result<Value, E> {
            Ok(Value::Float(float))
        }

        // TOML has no null: members that are null vanish.

        fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = access.next_element::<Option<Value>>()? {
                members.extend(member);
            }
            Ok(Value::Array(members))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
            let mut table = ValueTable::new();
            while let Some((key, value)) = access.next_entry::<String, Option<Value>>()? {
                if let Some(value) = value {
                    table.insert(key, value);
                }
            }
            Ok(Value::Table(table))
        }
    }
}
