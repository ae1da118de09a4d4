//! A `[[field]]`: what a feature is made of, and what is done to its values.

use stem_core::{Keep, Pooling, TimePart, TimeUnit, Transform};

use super::section::{Buckets, Faults, Section};
use super::{FieldRecipe, Kind, VectorTable};

#[derive(Clone, Copy, PartialEq)]
enum Word {
    Category,
    Sequence,
    Number,
    Vector,
}

use Word::{Category, Number, Sequence, Vector};

pub(super) fn field(mut section: Section<'_>, faults: &mut Faults<'_>) -> FieldRecipe {
    let (name, mut columns) = columns(&mut section, faults);
    let word = word(&mut section, &name, faults);
    let cuts = section.has("bucketize");
    for (key, kinds, whom) in KEYS {
        let makes_numbers = matches!(key, "clip" | "log1p") && word == Category;
        if section.has(key) && (!kinds.contains(&word) || makes_numbers && !cuts) {
            faults.add(section.line_of(key, faults), format!("`{key}` is for {whom}"));
        }
    }
    let max_len = section.count("max_len", 1, faults);
    let pooling = section.choice("pooling", &[("mean", Pooling::Mean), ("sum", Pooling::Sum)], faults);
    let keep = section.choice("keep", &[("first", Keep::First), ("last", Keep::Last)], faults);
    let standardize = section.flag("standardize", faults);
    let length = section.count("length", 1, faults);
    let kind = match word {
        Category => Kind::Category,
        Sequence => {
            if !section.has("max_len") {
                faults.add(section.line, format!("sequence \"{name}\" has no `max_len`: add `max_len = 20`"));
            }
            let (pooling, keep) = (pooling.unwrap_or_default(), keep.unwrap_or_default());
            Kind::Sequence { max_len: max_len.unwrap_or(1), pooling, keep }
        }
        Number => Kind::Number { standardize: standardize.unwrap_or(false) },
        Vector => {
            if !section.has("length") {
                let what =
                    format!("vector \"{name}\" has no `length`: add `length = 64`, how many numbers each row has");
                faults.add(section.line, what);
            }
            Kind::Vector { len: length.unwrap_or(1) }
        }
    };
    let (mut transforms, quantiles) = transforms(&mut section, faults);
    let hash = section.count("hash", 1, faults);
    let min_count = section.count("min_count", 1, faults);
    for (key, with, why) in [
        ("min_count", section.has("hash"), "`hash`: no key is known, and none is too rare"),
        ("min_count", cuts, "`bucketize`: a bucket is never too rare"),
        ("vocabulary", cuts, "`bucketize`: the buckets of a field are its own"),
        ("hash", cuts, "`bucketize`, which gives few values: leave `hash` out"),
        ("bucketize", section.has("part") || columns.len() > 1, "`part` and `cross`, which give no numbers"),
        ("part", columns.len() > 1, "`cross`"),
        ("default", columns.len() > 1, "`cross`: where a column is null, so is the cross"),
        ("separator", columns.len() > 1, "`cross`"),
        ("min_count", section.has("ago"), "`ago`: a bucket is never too rare"),
        ("vocabulary", section.has("ago"), "`ago`: the buckets of a field are its own"),
        ("hash", section.has("ago"), "`ago`, which gives few values: leave `hash` out"),
        ("default", section.has("ago"), "`ago`: where there is no list there are no values"),
        ("trim", section.has("ago"), "`ago`, which reads numbers"),
        ("lower", section.has("ago"), "`ago`, which reads numbers"),
        ("vectors", section.has("ago"), "`ago`: their rows are no keys of a table"),
        ("vectors", columns.len() > 1, "`cross`: no table has its keys in one column"),
        ("vectors", section.has("hash"), "`hash`: keys share rows there"),
        ("vectors", cuts || section.has("part"), "`bucketize` and `part`: their rows are no keys of a table"),
    ] {
        if with && section.has(key) {
            faults.add(section.line_of(key, faults), format!("`{key}` does not go with {why}"));
        }
    }
    let vocabulary = section.text("vocabulary", faults);
    let separator = section.text("separator", faults);
    let default = section.value("default", faults);
    let vectors = section.table("vectors", "vectors = { file = \"videos.parquet\", column = \"vector\" }", faults);
    let vectors = vectors.map(|own| vector_table(own, &columns, faults));
    let line = section.line_of(if columns.len() > 1 { "cross" } else { "column" }, faults);
    let beside = section
        .table("ago", "ago = { of = \"watched\", from = \"time\", unit = 60 }", faults)
        .map(|own| ago(own, &mut columns, &mut transforms, faults));
    section.finish(faults);
    let min_count = min_count.unwrap_or(1);
    FieldRecipe {
        name,
        columns,
        kind,
        transforms,
        quantiles,
        hash,
        min_count,
        vocabulary,
        separator,
        default,
        beside,
        vectors,
        line,
    }
}

/// Most buckets of how long ago something was: `unit * 2^62` is longer than anything.
const MOST_BUCKETS: usize = 64;

/// How long before the row the values of another sequence were, in buckets that double; gives that sequence.
fn ago(
    mut own: Section<'_>,
    columns: &mut Vec<String>,
    transforms: &mut Vec<Transform>,
    faults: &mut Faults<'_>,
) -> String {
    let (of, from) = (own.need_text("of", faults), own.text("from", faults));
    let (unit, buckets) = (own.number("unit", faults).unwrap_or(1.0), own.count("buckets", 2, faults).unwrap_or(16));
    if !(unit.is_finite() && unit > 0.0) {
        faults.add(own.line_of("unit", faults), format!("`unit` is {unit}, expected a number above 0"));
    }
    if buckets > MOST_BUCKETS {
        faults.add(own.line_of("buckets", faults), format!("`buckets` is more than {MOST_BUCKETS}"));
    }
    own.finish(faults);
    if let Some(from) = from {
        columns.push(from);
        transforms.push(Transform::Ago);
    }
    let edges = (0..buckets.min(MOST_BUCKETS) as i32 - 1).map(|k| unit * 2f64.powi(k)).collect();
    transforms.push(Transform::Bucketize { edges });
    of
}

/// Where the vectors of keys are; the column of the keys is called as the field's where nothing is said.
fn vector_table(mut own: Section<'_>, columns: &[String], faults: &mut Faults<'_>) -> VectorTable {
    let (file, column) = (own.need_text("file", faults), own.need_text("column", faults));
    let key = own.text("key", faults).or_else(|| columns.first().cloned()).unwrap_or_default();
    let separator = own.text("separator", faults);
    let line = own.line;
    own.finish(faults);
    VectorTable { file, key, column, separator, line }
}

/// Keys of some kinds alone.
const KEYS: [(&str, &[Word], &str); 21] = [
    ("min_count", &[Category, Sequence], "categories and sequences"),
    ("vocabulary", &[Category, Sequence], "categories and sequences"),
    ("hash", &[Category, Sequence], "categories and sequences"),
    ("ago", &[Sequence], "sequences"),
    ("vectors", &[Category, Sequence], "categories and sequences, whose values have rows of their own"),
    ("trim", &[Category, Sequence], "categories and sequences"),
    ("lower", &[Category, Sequence], "categories and sequences"),
    ("cross", &[Category], "categories"),
    ("part", &[Category], "categories"),
    ("unit", &[Category], "categories"),
    ("utc_offset", &[Category], "categories"),
    ("bucketize", &[Category], "categories"),
    ("clip", &[Category, Number], "numbers, and for categories that are cut by `bucketize`"),
    ("log1p", &[Category, Number], "numbers, and for categories that are cut by `bucketize`"),
    ("standardize", &[Number], "numbers"),
    ("separator", &[Sequence, Vector], "sequences and vectors"),
    ("max_len", &[Sequence], "sequences"),
    ("pooling", &[Sequence], "sequences"),
    ("keep", &[Sequence], "sequences"),
    ("length", &[Vector], "vectors"),
    (
        "default",
        &[Category, Sequence, Number],
        "categories, sequences and numbers; a vector that is null weighs nothing",
    ),
];

fn word(section: &mut Section<'_>, name: &str, faults: &mut Faults<'_>) -> Word {
    let kinds = [("category", Category), ("sequence", Sequence), ("number", Number), ("vector", Vector)];
    let implied = ["cross", "part", "bucketize"].into_iter().any(|key| section.has(key));
    let word = section.choice("kind", &kinds, faults);
    if word.is_none() && !section.has("kind") && !implied {
        let what = "\"category\", \"sequence\", \"number\" or \"vector\"";
        faults.add(section.line, format!("field \"{name}\" has no `kind`: {what}"));
    }
    word.unwrap_or(Category)
}

/// The name of the field, and its columns.
fn columns(section: &mut Section<'_>, faults: &mut Faults<'_>) -> (String, Vec<String>) {
    let name = section.text("name", faults);
    let columns = match section.texts("cross", faults) {
        Some(crossed) => {
            if section.text("column", faults).is_some() {
                faults.add(section.line, "`column` and `cross` both name what is read: keep one of them");
            }
            if crossed.len() < 2 {
                let what = "`cross` needs two columns or more: `cross = [\"user_id\", \"city\"]`";
                faults.add(section.line_of("cross", faults), what);
            }
            crossed
        }
        None if section.has("cross") => vec![section.text("column", faults).unwrap_or_default()],
        None => vec![section.need_text("column", faults)],
    };
    (name.unwrap_or_else(|| columns.join("_x_")), columns)
}

/// The steps in the order in which they are taken, and quantiles at their end.
fn transforms(section: &mut Section<'_>, faults: &mut Faults<'_>) -> (Vec<Transform>, Option<usize>) {
    let mut steps = Vec::new();
    let parts =
        [("hour", TimePart::Hour), ("weekday", TimePart::Weekday), ("day", TimePart::Day), ("month", TimePart::Month)];
    let units = [("s", TimeUnit::Seconds), ("ms", TimeUnit::Milliseconds), ("us", TimeUnit::Microseconds)];
    let part = section.choice("part", &parts, faults);
    let unit = section.choice("unit", &units, faults);
    let offset = section.text("utc_offset", faults);
    let minutes = offset.as_deref().map(|text| (text, minutes(text)));
    if let Some((text, None)) = minutes {
        let what = format!("`utc_offset` is \"{text}\", expected hours and minutes: \"+05:30\"");
        faults.add(section.line_of("utc_offset", faults), what);
    }
    for key in ["unit", "utc_offset"] {
        if section.has(key) && !section.has("part") {
            faults.add(section.line_of(key, faults), format!("`{key}` is for times: add `part = \"hour\"`"));
        }
    }
    if let Some(part) = part {
        steps.push(Transform::Time { part, unit, utc_offset: minutes.and_then(|(_, minutes)| minutes).unwrap_or(0) });
    }
    for (key, step) in [("trim", Transform::Trim), ("lower", Transform::Lower)] {
        if section.flag(key, faults) == Some(true) {
            steps.push(step);
        }
    }
    if let Some(bounds) = section.numbers("clip", faults) {
        match bounds[..] {
            [least, most] if least <= most => {
                let bound = |bound: f64| bound.is_finite().then_some(bound);
                steps.push(Transform::Clip { least: bound(least), most: bound(most) });
            }
            _ => {
                let what = "`clip` wants the least and the largest number: `[0, 100]`, `[0, inf]`";
                faults.add(section.line_of("clip", faults), what);
            }
        }
    }
    if section.flag("log1p", faults) == Some(true) {
        steps.push(Transform::Log1p);
    }
    match section.buckets("bucketize", faults) {
        Some(Buckets::Edges(edges)) => {
            if edges.is_empty()
                || edges.windows(2).any(|pair| pair[0] >= pair[1])
                || edges.iter().any(|e| !e.is_finite())
            {
                faults
                    .add(section.line_of("bucketize", faults), "the edges of `bucketize` must ascend: `[18, 25, 65]`");
            } else {
                steps.push(Transform::Bucketize { edges });
            }
            (steps, None)
        }
        Some(Buckets::Quantiles(buckets)) => (steps, Some(buckets)),
        None => (steps, None),
    }
}

/// Minutes of `+05:30`.
fn minutes(text: &str) -> Option<i32> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str, most: i32| text.parse::<i32>().ok().filter(|n| text.len() == 2 && (0..=most).contains(n));
    Some(sign * (60 * number(hours, 23)? + number(minutes, 59)?))
}
