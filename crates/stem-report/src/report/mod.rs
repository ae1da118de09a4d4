//! One HTML page that answers: does sharing help my tasks, for which users, and what should I ship?
//!
//! | step | module |
//! |---|---|
//! | the numbers | `data` |
//! | what it means: positive, negative, no evidence; ties; what to ship | `judge`, `verdict` |
//! | how trainings went: overfitting, too few epochs | `training` |
//! | markup that cannot break, numbers for readers, tables | `markup`, `number`, `table` |
//! | a chart as SVG | `charts` |
//! | a part of the page, left out when it has no data | `sections` |
//! | all of it, with the style sheet | `page` |
//! | a page of a data set, of the same parts | `data_page` |
//!
//! The page holds everything it needs: no script, no font, nothing fetched.

mod charts;
mod data;
mod data_page;
mod judge;
mod markup;
mod number;
mod page;
mod sections;
mod table;
mod training;
mod verdict;

pub use data::{
    CalibrationBin, DriftReport, EmbeddingReport, EpochPoint, EvaluationReport, FieldEmbedding, FieldImportance,
    GateMap, GateReport, GateTask, GateVerdict, Interval, LabelKind, LearningCurve, MeasuredSlice, MeasuredTask,
    Metric, ModelReport, PairReport, Picture, PriorReport, Provenance, ReplayDay, ReplayReport, ReplayWay, Report,
    SearchReport, Spread, StratumModel, StratumReport, StratumTask, TaskReport, Trial,
};
pub use data_page::{DataDay, DataField, DataReport, DataTask, DataVocabulary, Shared, render_data};
pub use judge::Transfer;
pub use number::count;
pub use page::render;
pub use verdict::{Verdict, verdicts};
