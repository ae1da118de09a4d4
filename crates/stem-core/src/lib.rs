//! Placeholder map.

mod batch;
mod error;
mod schema;
mod value;
mod vocabulary;

pub use batch::{Batch, MISSING};
pub use error::{Error, Result};
pub use schema::{Field, FieldKind, Pooling, Schema, Task, VocabularySpec};
pub use value::{Row, Value};
pub use vocabulary::{PADDING, Texts, Vocabulary};
