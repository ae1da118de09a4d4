//! What is learned: `[[label]]`.

use stem_report::analysis::Metric;

use super::section::{Faults, Section};

/// One kind of feedback.
#[derive(Debug, Clone)]
pub struct LabelRecipe {
    /// Column of the SELECT: 0 or 1, or a number as its kind has it, or null (missing).
    pub column: String,
    /// What it holds.
    pub kind: Feedback,
    /// What a comparison decides by on it; where it is not said, the recipe's `verdict`.
    pub metric: Option<Metric>,
    /// Where this other label is not 1, the label counts as missing.
    pub within: Option<String>,
    /// When it is known.
    pub mature: Option<Mature>,
    /// Line in the recipe.
    pub line: usize,
}

/// What a label holds: see [`TaskKind`](stem_core::TaskKind) for what is learned of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Feedback {
    /// 0 or 1.
    #[default]
    Binary,
    /// Any number.
    Regression {
        /// Whether `ln(1 + y)` is learned in place of `y`, for numbers of 0 or more with a long tail.
        log1p: bool,
        /// Whether mean and standard deviation of the training split are taken out.
        standardize: bool,
    },
    /// 0, 1, 2 ...
    Count,
    /// A time or an amount of 0 or more.
    WatchTime,
    /// A level, 0 to `classes - 1`.
    Ordinal {
        /// How many levels there are.
        classes: usize,
    },
    /// A class without an order, 0 to `classes - 1`.
    Classes {
        /// How many classes there are.
        classes: usize,
    },
    /// An amount of 0 or more with many zeros.
    ZeroInflated,
    /// A time of 0 or more, learned by its rank among rows of about the same duration.
    WatchQuantile {
        /// The number field that is the duration.
        duration: String,
        /// How many buckets the training rows are cut into by it, of about as many rows each.
        buckets: usize,
    },
}

/// A label that arrives late.
#[derive(Debug, Clone, PartialEq)]
pub struct Mature {
    /// Column with the time of the impression: a number, a date or a time.
    pub column: String,
    /// What the newest row has to be older by for the label to be known: in days of a date or time, else as the column counts.
    pub wait: f64,
}

/// Reads `[[label]]`.
pub(super) fn label(mut section: Section<'_>, faults: &mut Faults<'_>) -> LabelRecipe {
    let column = section.need_text("column", faults);
    let within = section.text("within", faults);
    let kind = feedback(&mut section, faults);
    let metric = section.metric("metric", faults);
    let mature =
        section.table("mature_after", "mature_after = { column = \"time\", wait = 7 }", faults).map(|mut own| {
            let (column, wait) = (own.need_text("column", faults), own.number("wait", faults));
            if !wait.is_some_and(|wait| wait.is_finite() && wait > 0.0) {
                faults.add(
                    own.line,
                    "`mature_after` needs a `wait` above 0: in days of a date or time, else as the column counts",
                );
            }
            own.finish(faults);
            Mature { column, wait: wait.unwrap_or(1.0) }
        });
    let line = section.line_of("column", faults);
    section.finish(faults);
    LabelRecipe { column, kind, metric, within, mature, line }
}

/// Buckets of a duration where nothing is said, and most of them: each has a table in the bundle.
const BUCKETS: usize = 30;
const MOST_BUCKETS: usize = 1000;
/// Most levels of an ordinal label, as the schema has it.
const MOST_CLASSES: usize = 1024;

fn feedback(section: &mut Section<'_>, faults: &mut Faults<'_>) -> Feedback {
    let regression = Feedback::Regression { log1p: false, standardize: true };
    let kinds = [
        ("binary", Feedback::Binary),
        ("regression", regression.clone()),
        ("count", Feedback::Count),
        ("watch-time", Feedback::WatchTime),
        ("ordinal", Feedback::Ordinal { classes: 0 }),
        ("classes", Feedback::Classes { classes: 0 }),
        ("zero-inflated", Feedback::ZeroInflated),
        ("watch-quantile", Feedback::WatchQuantile { duration: String::new(), buckets: BUCKETS }),
    ];
    let kind = section.choice("kind", &kinds, faults);
    let (duration, buckets) = (section.text("duration", faults), section.count("buckets", 2, faults));
    if buckets.is_some_and(|buckets| buckets > MOST_BUCKETS) {
        faults.add(section.line_of("buckets", faults), format!("`buckets` is more than {MOST_BUCKETS}"));
    }
    let transform = section.choice("transform", &[("none", false), ("log1p", true)], faults);
    let standardize = section.flag("standardize", faults);
    let classes = section.count("classes", 2, faults);
    if classes.is_some_and(|classes| classes > MOST_CLASSES) {
        faults.add(
            section.line_of("classes", faults),
            format!("`classes` is more than {MOST_CLASSES}: is it a number, `kind = \"regression\"`?"),
        );
    }
    let unreadable = section.has("kind") && kind.is_none(); // that is a fault already
    let mut only = |key: &str, of: &str, is_there: bool| {
        if is_there && !unreadable {
            faults.add(section.line_of(key, faults), format!("`{key}` is for a label of `kind = \"{of}\"`"));
        }
    };
    let is_regression = kind == Some(regression.clone());
    let is_quantile = matches!(kind, Some(Feedback::WatchQuantile { .. }));
    only("duration", "watch-quantile", duration.is_some() && !is_quantile);
    only("buckets", "watch-quantile", buckets.is_some() && !is_quantile);
    only("transform", "regression", transform.is_some() && !is_regression);
    only("standardize", "regression", standardize.is_some() && !is_regression);
    match kind {
        // `classes` alone says what the label is
        None | Some(Feedback::Ordinal { .. }) if classes.is_some() => {
            Feedback::Ordinal { classes: classes.unwrap_or(2) }
        }
        Some(Feedback::Ordinal { .. }) => {
            if !section.has("classes") {
                faults.add(
                    section.line,
                    "a label of `kind = \"ordinal\"` needs `classes`: how many levels there are, 0 among them",
                );
            }
            Feedback::Ordinal { classes: 2 }
        }
        Some(Feedback::Classes { .. }) => {
            if !section.has("classes") {
                faults.add(
                    section.line,
                    "a label of `kind = \"classes\"` needs `classes`: how many there are, 0 among them",
                );
            }
            Feedback::Classes { classes: classes.unwrap_or(2) }
        }
        Some(Feedback::Regression { .. }) => {
            only("classes", "ordinal\" or \"classes", classes.is_some());
            Feedback::Regression { log1p: transform.unwrap_or(false), standardize: standardize.unwrap_or(true) }
        }
        Some(Feedback::WatchQuantile { .. }) => {
            only("classes", "ordinal\" or \"classes", classes.is_some());
            if !section.has("duration") {
                faults.add(
                    section.line,
                    "a label of `kind = \"watch-quantile\"` needs `duration`: the number field that says how long what is watched lasts",
                );
            }
            Feedback::WatchQuantile { duration: duration.unwrap_or_default(), buckets: buckets.unwrap_or(BUCKETS) }
        }
        Some(kind) => {
            only("classes", "ordinal\" or \"classes", classes.is_some());
            kind
        }
        None => Feedback::Binary,
    }
}
