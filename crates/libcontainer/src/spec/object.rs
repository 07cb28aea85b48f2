//! Objects are written as objects: what serde derives for a struct takes a list of its fields' values as well, and an empty
//! list for one without any. And `null` is no value, as in Go, whose users' engines write it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A struct whose fields are deserialized by what `#[serde(remote = "Self")]` derives.
pub(super) trait Fields<'de>: Sized {
    /// From a map.
    fn fields<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Takes an object, and nothing else.
pub(super) fn deserialize<'de, D: Deserializer<'de>, T: Fields<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Fields<'de>> Visitor<'de> for Object<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::fields(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(Object(PhantomData))
}

/// Makes structs with `#[serde(remote = "Self")]` be read as objects only.
macro_rules! read_as_objects {
    ($($type:ty),+ $(,)?) => {$(
        impl<'de> $crate::spec::object::Fields<'de> for $type {
            fn fields<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$type>::deserialize(deserializer) // the derived one
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::spec::object::deserialize(deserializer)
            }
        }
    )+};
}

/// The same for those that are written as well.
macro_rules! read_and_write_as_objects {
    ($($type:ty),+ $(,)?) => {
        $crate::spec::object::read_as_objects!($($type),+);
        $(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$type>::serialize(self, serializer) // the derived one
            }
        }
        )+
    };
}

pub(super) use {read_and_write_as_objects, read_as_objects};

/// Engines written in Go print an empty list, and much else, as `null`.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
