//! A request as a program makes it: columns that it lends, scores into a buffer of its own, a ranking.

use std::borrow::Cow;

use crate::columns::{Cells, Columns};
use crate::error::Result;
use crate::models::{ModelConfig, ModelSpec};
use crate::predictor::Predictor;
use crate::rank::{Ranked, Ranking};
use crate::scores::Scores;
use crate::value::Value;
use crate::value_ref::ValueRef;

/// Rows to be scored, by column: made by [`Predictor::request`], asked as often as one likes.
///
/// ```no_run
/// use stem_core::{Combine, DeviceSpec, Predictor, Ranking};
///
/// let predictor = Predictor::open("bundle.safetensors", &DeviceSpec::default().open()?)?;
/// let (items, history) = ([21i64, 22, 23], [3i64, 5, 8]);
/// let request = predictor.request(3).shared("user", 7).shared_ref("history", &history[..]).column("item", &items[..]);
/// let mut scores = Vec::new(); // [3, T], its memory is used again and again
/// request.score_into(&mut scores)?;
/// let mut ranking = Ranking::default();
/// (ranking.combine, ranking.top_k) = (Some(Combine::Weights(vec![("click".into(), 1.0), ("like".into(), 5.0)])), Some(2));
/// println!("{:?}", request.rank(&ranking)?.indices);
/// # Ok::<(), stem_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Request<'p, 'a, C: ModelSpec = ModelConfig> {
    predictor: &'p Predictor<C>,
    columns: Columns<'a>,
}

impl<C: ModelSpec> Predictor<C> {
    /// A request of so many rows, without values yet.
    pub fn request<'a>(&self, rows: usize) -> Request<'_, 'a, C> {
        Request { predictor: self, columns: Columns::new(rows) }
    }
}

impl<'a, C: ModelSpec> Request<'_, 'a, C> {
    /// A value that all rows share.
    #[must_use]
    pub fn shared(self, column: impl Into<Cow<'a, str>>, value: impl Into<Value>) -> Self {
        Self { columns: self.columns.shared(column, value), ..self }
    }

    /// A value that all rows share, and that lies elsewhere: a text, a slice that is a list.
    #[must_use]
    pub fn shared_ref(self, column: impl Into<Cow<'a, str>>, value: impl Into<ValueRef<'a>>) -> Self {
        Self { columns: self.columns.shared_ref(column, value), ..self }
    }

    /// A value for each row: a slice of integers, floats or texts, [lists](Cells::lists), an Arrow array (`Cells::arrow`, with the feature
    /// `arrow`).
    #[must_use]
    pub fn column(self, column: impl Into<Cow<'a, str>>, values: impl Into<Cells<'a>>) -> Self {
        Self { columns: self.columns.column(column, values), ..self }
    }

    /// Scores of every row.
    ///
    /// # Errors
    /// [`MissingColumn`](crate::Error::MissingColumn), [`WrongType`](crate::Error::WrongType) and [`Length`](crate::Error::Length), naming
    /// the column.
    pub fn score(&self) -> Result<Scores> {
        self.predictor.score(&self.predictor.encode_columns(&self.columns)?)
    }

    /// The same into a buffer, which is emptied first. `[B, T]`, row-major
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn score_into(&self, scores: &mut Vec<f32>) -> Result<()> {
        self.predictor.score_columns_into(&self.columns, scores)
    }

    /// The best rows.
    ///
    /// # Errors
    /// As [`score`](Self::score), and [`Rank`](crate::Error::Rank) of tasks that the model does not have.
    pub fn rank(&self, ranking: &Ranking) -> Result<Ranked> {
        let schema = self.predictor.schema();
        ranking.check(schema)?;
        Ok(ranking.rank(schema, &self.score()?.into_values()))
    }
}
