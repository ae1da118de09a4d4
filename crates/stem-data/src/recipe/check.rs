//! What can be said about a recipe before any file is opened.

use std::collections::HashMap;
use std::path::{Component, Path};

use stem_report::analysis::{LabelKind, Metric};

use super::{Feedback, FieldRecipe, Format, Kind, Recipe, nearest};
use crate::error::Fault;

pub(super) fn check(recipe: &Recipe, faults: &mut Vec<Fault>) {
    let mut add = |line, what: String| faults.push(Fault { line, what });
    for (what, empty) in [
        ("no [[source]]: name at least one table", recipe.sources.is_empty()),
        ("no [[field]]: name at least one feature", recipe.fields.is_empty()),
        ("no [[label]]: name at least one kind of feedback", recipe.labels.is_empty()),
    ] {
        if empty {
            add(1, what.into());
        }
    }
    if recipe.sql.is_none() && recipe.sources.len() > 1 {
        add(1, format!("{} sources need a `sql` SELECT that joins them", recipe.sources.len()));
    }
    let without_group = |metric: &Metric| metric.needs_groups() && recipe.group.is_none();
    if let Some(metric) = recipe.verdict.filter(without_group) {
        let (key, name) = (metric.key(), metric.name());
        add(
            recipe.lines.verdict,
            format!("`verdict` is {key}, and without a `group` there is no {name}: name the users' column"),
        );
    }
    for label in &recipe.labels {
        if let Feedback::WatchQuantile { duration, .. } = &label.kind
            && !duration.is_empty()
        {
            let field = recipe.fields.iter().find(|field| field.name == *duration);
            if !field.is_some_and(|field| matches!(field.kind, Kind::Number { .. }) && field.quantiles.is_none()) {
                let found = if field.is_some() { "is no number" } else { "is no field" };
                let column = &label.column;
                add(
                    label.line,
                    format!(
                        "`duration` of label \"{column}\" is \"{duration}\", which {found}: it is a [[field]] of `kind = \"number\"`"
                    ),
                );
            }
        }
        let Some(metric) = label.metric else { continue };
        let (key, name, column) = (metric.key(), metric.name(), &label.column);
        if without_group(&metric) {
            let what = "and without a `group` there is none: name the users' column";
            add(label.line, format!("`metric` of label \"{column}\" is {key}, {what}"));
        }
        let kind = match label.kind {
            Feedback::Binary => LabelKind::Binary,
            Feedback::Classes { .. } => LabelKind::Class,
            _ => LabelKind::Value,
        };
        if kind == LabelKind::Class && !metric.applies_to(kind) {
            add(label.line, format!("`metric` of label \"{column}\" is {name}: of classes accuracy is measured"));
        } else if !metric.applies_to(kind) {
            let what = "which is measured of labels 0 and 1: xauc, rmse, mae, ndcg@10 and others within groups are for numbers";
            add(label.line, format!("`metric` of label \"{column}\" is {name}, {what}"));
        }
    }
    let mut twice = |what: &str, names: Vec<(&str, usize)>| {
        let mut first = HashMap::new();
        for (name, line) in names.into_iter().filter(|(name, _)| !name.is_empty()) {
            if let Some(before) = first.insert(name, line) {
                add(line, format!("{what} \"{name}\" appears twice, first on line {before}"));
            }
        }
    };
    twice("source", recipe.sources.iter().map(|s| (s.name.as_str(), s.line)).collect());
    twice("field", recipe.fields.iter().map(|f| (f.name.as_str(), f.line)).collect());
    twice("label", recipe.labels.iter().map(|l| (l.column.as_str(), l.line)).collect());

    for source in &recipe.sources {
        if source.format.is_some_and(|format| !format.is_text()) && source.columns.is_some() {
            add(
                source.line,
                format!("source \"{}\" names its columns itself: `columns` is for csv and tsv", source.name),
            );
        }
        if let Some(columns) = &source.columns {
            for (name, _) in source.types.iter().filter(|(name, _)| !columns.contains(name)) {
                add(
                    source.line,
                    format!("`types` names \"{name}\", which is not among `columns` of source \"{}\"", source.name),
                );
            }
        }
    }
    let by_files =
        matches!(&recipe.split, super::SplitRecipe::Column { column, .. } if column == super::SPLIT_OF_FILES);
    for source in recipe.sources.iter().filter(|source| !source.splits.is_empty() && !by_files) {
        add(
            recipe.lines.split,
            format!("source \"{}\" lists its files by split: write `kind = \"files\"`", source.name),
        );
    }
    for source in &recipe.sources {
        let columns = source.columns.iter().flatten();
        let twice =
            columns.clone().enumerate().find(|(place, name)| columns.clone().take(*place).any(|other| other == *name));
        if let Some((_, name)) = twice {
            add(source.line, format!("`columns` of source \"{}\" names \"{name}\" twice", source.name));
        }
    }
    if let (Some(_), Some(source)) = (&recipe.simulator, recipe.sources.first()) {
        let inside = |file: &str| {
            Path::new(file).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        };
        let is_one_file =
            source.files.len() == 1 && source.format.is_some_and(Format::is_text) && inside(&source.files[0]);
        if !is_one_file || source.files[0].contains(['*', '?', '[']) {
            add(
                source.line,
                "a [simulator] writes the first source: name one csv or tsv file inside the data folder".into(),
            );
        }
    }
    for name in recipe.allow_leak.iter().filter(|name| !recipe.fields.iter().any(|field| field.name == **name)) {
        let near = nearest(name, recipe.fields.iter().map(|field| field.name.as_str()));
        let near = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        add(recipe.lines.allow_leak, format!("`allow_leak` names \"{name}\", which is no field{near}"));
    }
    if let Some(weight) = &recipe.weight
        && recipe.labels.iter().any(|label| label.column == *weight)
    {
        add(recipe.lines.weight, format!("`weight` is \"{weight}\", which is a label: rows would count by the answer"));
    }
    for field in &recipe.fields {
        if recipe.labels.iter().any(|label| field.columns.contains(&label.column)) {
            add(field.line, format!("field \"{}\" is a label too: the model would read the answer", field.name));
        }
    }
    if let super::SplitRecipe::Column { column, .. } = &recipe.split
        && let Some(field) = recipe.fields.iter().find(|field| field.columns.contains(column))
    {
        add(field.line, format!("field \"{column}\" is the split column: it tells test rows apart, and nothing else"));
    }
    if let super::SplitRecipe::Column { values: [train, valid, test], .. } = &recipe.split
        && (train == valid || train == test || valid == test)
    {
        add(
            recipe.lines.split,
            format!("train \"{train}\", valid \"{valid}\" and test \"{test}\" must be three different values"),
        );
    }
    for label in &recipe.labels {
        let Some(within) = &label.within else { continue };
        if within == &label.column {
            add(label.line, format!("label \"{within}\" is within itself"));
        } else if !recipe.labels.iter().any(|other| other.column == *within) {
            add(label.line, format!("label \"{}\" is within \"{within}\", which is not a label", label.column));
        } else if recipe.labels.iter().any(|other| other.column == *within && other.kind != Feedback::Binary) {
            let what = "is a number: only a label of 0 and 1 has positives. Name one, CASE WHEN ... THEN 1 ELSE 0 END in the sql makes it";
            add(label.line, format!("label \"{}\" is within \"{within}\", which {what}", label.column));
        }
    }
    let within = |label: &str| recipe.labels.iter().find(|l| l.column == label)?.within.as_deref();
    for label in &recipe.labels {
        let spaces = std::iter::successors(within(&label.column), |space| within(space));
        if label.within.as_ref() != Some(&label.column) && spaces.take(recipe.labels.len()).any(|s| s == label.column) {
            add(label.line, format!("label \"{}\" is within itself by way of other labels", label.column));
        }
    }
    for number in recipe.fields.iter().filter(|field| field.numbers() > 0) {
        if recipe.fields.iter().any(|field| field.vocabulary.as_ref() == Some(&number.name)) {
            add(
                number.line,
                format!("number \"{0}\" and a vocabulary are both called \"{0}\": rename one", number.name),
            );
        }
    }
    for (field, of) in recipe.fields.iter().filter_map(|field| Some((field, field.beside.as_ref()?))) {
        let history = recipe.fields.iter().find(|other| other.name == *of && other.beside.is_none());
        let (name, found) = match (history.map(|history| history.kind), field.kind) {
            (Some(Kind::Sequence { max_len, keep, .. }), Kind::Sequence { max_len: own, keep: own_keep, .. }) => {
                if (max_len, keep) == (own, own_keep) {
                    continue;
                }
                (&field.name, format!("another `max_len` or `keep` than \"{of}\": write the same in both"))
            }
            (Some(_), _) => (&field.name, format!("\"{of}\", which is no sequence")),
            (None, _) => (&field.name, format!("\"{of}\", which is no field with values of its own")),
        };
        add(field.line, format!("`ago` of field \"{name}\" has {found}"));
    }
    let mut given: HashMap<&str, &str> = HashMap::new();
    for field in recipe.fields.iter().filter(|field| field.vectors.is_some()) {
        let (name, line) = (field.vocabulary(), field.vectors.as_ref().map_or(field.line, |vectors| vectors.line));
        if let Some(first) = given.insert(name, &field.name) {
            add(line, format!("vocabulary \"{name}\" has `vectors` in field \"{first}\" already: name one table"));
        }
    }
    let mut firsts: HashMap<&str, &FieldRecipe> = HashMap::new();
    for field in recipe.fields.iter().filter(|field| field.numbers() == 0) {
        let name = field.vocabulary();
        let first = *firsts.entry(name).or_insert(field);
        if first.hash != field.hash {
            let buckets = |field: &FieldRecipe| field.hash.map_or("no `hash`".into(), |n| format!("`hash = {n}`"));
            add(
                field.line,
                format!(
                    "vocabulary \"{name}\" has {} in field \"{}\" and {} in \"{}\": write the same in both",
                    buckets(first),
                    first.name,
                    buckets(field),
                    field.name
                ),
            );
        }
        let (count, first) = (first.min_count, &first.name);
        if count != field.min_count {
            add(
                field.line,
                format!(
                    "vocabulary \"{name}\" has min_count {count} in field \"{first}\" and {} in \"{}\": write the same in both",
                    field.min_count, field.name
                ),
            );
        }
    }
}
