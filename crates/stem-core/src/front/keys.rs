//! The keys of what stands before a model, among the keys of the model's own sizes: one table in a file, in code a struct in a struct.
//!
//! `serde(flatten)` would read them as well, but an unknown key would be told without its line and without the keys that there are, and so
//! would a value of a wrong type. Here each is read where it stands.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, forward_to_deserialize_any};

use super::FrontConfig;

/// Reads and writes the keys of a model's `front` beside its own. The struct derives both with `#[serde(remote = "Self")]`, which makes functions
/// of its own keys and no implementations, and skips the front.
macro_rules! keys_with_front {
    ($sizes:ident) => {
        impl serde::Serialize for $sizes {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                struct Own<'a>(&'a $sizes);

                impl serde::Serialize for Own<'_> {
                    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                        $sizes::serialize(self.0, serializer)
                    }
                }
                serde::Serialize::serialize(&$crate::front::Written { own: Own(self), front: &self.front }, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $sizes {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let mut front = $crate::front::FrontConfig::default();
                let own = $sizes::deserialize($crate::front::WithoutFront { inner: deserializer, front: &mut front })?;
                Ok(Self { front, ..own })
            }
        }
    };
}

/// Both as one table.
#[derive(Serialize)]
pub(crate) struct Written<'a, S> {
    #[serde(flatten)]
    pub own: S,
    #[serde(flatten)]
    pub front: &'a FrontConfig,
}

/// A table, or who reads it, without the keys of a front: those are read on the way.
pub(crate) struct WithoutFront<'f, I> {
    pub inner: I,
    pub front: &'f mut FrontConfig,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for WithoutFront<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(WithoutFront { inner: visitor, front: self.front })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for WithoutFront<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(WithoutFront { inner: map, front: self.front })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutFront<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, mut seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.inner.next_key_seed(Key(seed))? {
            match key {
                Found::Own(key) => return Ok(Some(key)),
                Found::Front(key, again) => {
                    self.front.read(key, &mut self.inner)?;
                    seed = again;
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(seed)
    }
}

/// A key of the front, or one that the seed reads.
struct Key<K>(K);

enum Found<K, V> {
    Own(V),
    Front(&'static str, K),
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<K> {
    type Value = Found<K, K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let key = String::deserialize(deserializer)?;
        if let Some(of_front) = FrontConfig::KEYS.into_iter().find(|name| *name == key) {
            return Ok(Found::Front(of_front, self.0));
        }
        let own: StringDeserializer<Unknown> = key.into_deserializer();
        self.0.deserialize(own).map(Found::Own).map_err(|unknown| D::Error::custom(unknown.0))
    }
}

/// Why a key was refused, with the front's keys among those that there are.
#[derive(Debug)]
struct Unknown(String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unknown {}

impl Error for Unknown {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn unknown_field(field: &str, own: &'static [&'static str]) -> Self {
        let known: Vec<_> = own.iter().chain(&FrontConfig::KEYS).map(|key| format!("`{key}`")).collect();
        Self(format!("unknown field `{field}`, expected one of {}", known.join(", ")))
    }
}
