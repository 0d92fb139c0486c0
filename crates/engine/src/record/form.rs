//! From a domain type to its shape on disk and back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, de::DeserializeOwned};

use crate::EngineError;

/// A type that has a shape on disk.
pub(super) trait Form: Sized {
    /// The shape.
    type Shape: Serialize + DeserializeOwned + Default + PartialEq;

    /// Takes it.
    fn to_form(&self) -> Self::Shape;

    /// Reads it.
    fn from_form(shape: Self::Shape) -> Result<Self, EngineError>;
}

/// Whether a value can be left out.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

macro_rules! leaves {
    ($($leaf:ty),*) => {$(
        impl Form for $leaf {
            type Shape = Self;

            fn to_form(&self) -> Self {
                self.clone()
            }

            fn from_form(shape: Self) -> Result<Self, EngineError> {
                Ok(shape)
            }
        }
    )*};
}

leaves!(String, bool, u16, u32, u64, i64);

impl<T: Form> Form for Vec<T> {
    type Shape = Vec<T::Shape>;

    fn to_form(&self) -> Self::Shape {
        self.iter().map(T::to_form).collect()
    }

    fn from_form(shape: Self::Shape) -> Result<Self, EngineError> {
        shape.into_iter().map(T::from_form).collect()
    }
}

impl<T: Form> Form for Option<T> {
    type Shape = Option<T::Shape>;

    fn to_form(&self) -> Self::Shape {
        self.as_ref().map(T::to_form)
    }

    fn from_form(shape: Self::Shape) -> Result<Self, EngineError> {
        shape.map(T::from_form).transpose()
    }
}

impl<K: Form<Shape: Ord> + Ord, V: Form> Form for BTreeMap<K, V> {
    type Shape = BTreeMap<K::Shape, V::Shape>;

    fn to_form(&self) -> Self::Shape {
        self.iter().map(|(key, value)| (key.to_form(), value.to_form())).collect()
    }

    fn from_form(shape: Self::Shape) -> Result<Self, EngineError> {
        shape
            .into_iter()
            .map(|(key, value)| Ok((K::from_form(key)?, V::from_form(value)?)))
            .collect()
    }
}

impl<T: Form<Shape: Ord> + Ord> Form for BTreeSet<T> {
    type Shape = BTreeSet<T::Shape>;

    fn to_form(&self) -> Self::Shape {
        self.iter().map(T::to_form).collect()
    }

    fn from_form(shape: Self::Shape) -> Result<Self, EngineError> {
        shape.into_iter().map(T::from_form).collect()
    }
}

impl Form for (u16, u16) {
    type Shape = (u16, u16);

    fn to_form(&self) -> Self {
        *self
    }

    fn from_form(shape: Self) -> Result<Self, EngineError> {
        Ok(shape)
    }
}

/// Types whose shape is the text that `to_string` and `parse` exchange.
macro_rules! texts {
    ($($text:ty),* $(,)?) => {$(
        impl crate::record::form::Form for $text {
            type Shape = String;

            fn to_form(&self) -> String {
                self.to_string()
            }

            fn from_form(shape: String) -> Result<Self, crate::EngineError> {
                shape.parse().map_err(|_| crate::EngineError::invalid(format!(
                    "{:?} is no {}", shape, stringify!($text)
                )))
            }
        }
    )*};
}

/// A struct on disk with the fields of a domain's struct. Every field has a default and is left
/// out if it has that.
macro_rules! shapes {
    ($($shape:ident of $domain:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        pub(super) struct $shape {
            $(
                #[serde(default, skip_serializing_if = "crate::record::form::is_default")]
                $field: <$type as crate::record::form::Form>::Shape,
            )*
        }

        impl crate::record::form::Form for $domain {
            type Shape = $shape;

            fn to_form(&self) -> $shape {
                $shape { $($field: crate::record::form::Form::to_form(&self.$field),)* }
            }

            fn from_form(shape: $shape) -> Result<Self, crate::EngineError> {
                Ok(Self { $($field: crate::record::form::Form::from_form(shape.$field)?,)* })
            }
        }
    )*};
}

pub(super) use {shapes, texts};
