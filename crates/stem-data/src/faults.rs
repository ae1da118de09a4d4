//! What the columns of the SELECT show to be wrong with a recipe: all of it at once, each with what to write instead.

use std::collections::{BTreeSet, HashMap};

use polars::prelude::*;
use stem_core::Value;

use crate::dictionary::has_integer_keys;
use crate::error::Fault;
use crate::provenance::{Origins, cast_to_times, drifting};
use crate::recipe::{Feedback, FieldRecipe, Kind, Recipe, SplitRecipe, nearest};
use crate::source::{ColumnFacts, words};
use crate::transform::Steps;

/// Columns the recipe reads, each with the line that names it.
pub(crate) fn used_columns(recipe: &Recipe) -> Vec<(&str, usize)> {
    let fields = recipe.fields.iter().flat_map(|f| f.columns.iter().map(|column| (column.as_str(), f.line)));
    let labels = recipe.labels.iter().map(|l| (l.column.as_str(), l.line));
    let times = recipe.labels.iter().filter_map(|l| Some((l.mature.as_ref()?.column.as_str(), l.line)));
    let labels = labels.chain(times);
    let group = recipe.group.iter().map(|g| (g.as_str(), recipe.lines.group));
    let weight = recipe.weight.iter().map(|w| (w.as_str(), recipe.lines.weight));
    let split = match &recipe.split {
        SplitRecipe::Random { .. } => vec![],
        SplitRecipe::Column { column, .. }
        | SplitRecipe::Hash { column, .. }
        | SplitRecipe::Days { column, .. }
        | SplitRecipe::Time { column, .. } => {
            vec![column]
        }
        SplitRecipe::Last { column, order, .. } => vec![column, order],
    };
    let split = split.into_iter().map(|column| (column.as_str(), recipe.lines.split));
    let slices = recipe.slices.iter().map(|column| (column.as_str(), recipe.lines.sql));
    fields.chain(labels).chain(group).chain(weight).chain(split).chain(slices).collect()
}

/// Every fault, in the order of the recipe's lines.
pub(crate) fn faults(
    recipe: &Recipe,
    plan: &DslPlan,
    types: &HashMap<String, DataType>,
    facts: &ColumnFacts,
    origins: &Origins,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |line: usize, what: String| faults.push(Fault { line, what });
    for (column, line) in used_columns(recipe) {
        if types.contains_key(column) {
            continue;
        }
        if let Some(why) = facts.unreadable.get(column) {
            add(line, why.clone());
            continue;
        }
        let mut known: Vec<&str> = types.keys().map(String::as_str).collect();
        known.sort_unstable();
        let hint = nearest(column, known.iter().copied());
        let hint = hint.map_or(".".to_string(), |near| format!("; did you mean \"{near}\"?"));
        add(line, format!("there is no column \"{column}\"{hint} The SELECT gives: {}", known.join(", ")));
    }
    let example = |column: &str| {
        let examples = origins[column].iter().filter_map(|origin| facts.examples.get(&origin.column));
        examples.map(|example| format!(", for instance {example}")).next().unwrap_or_default()
    };
    let is_undecided = |column: &str| origins[column].iter().all(|c| facts.undecided.contains(&c.column));
    let mut kinds: HashMap<&str, (&FieldRecipe, bool)> = HashMap::new();
    for field in &recipe.fields {
        let Some(of) = field.columns.iter().map(|column| types.get(column)).collect::<Option<Vec<_>>>() else {
            continue;
        };
        let empty = |(column, dtype): (&String, &&DataType)| **dtype == DataType::String && is_undecided(column);
        let of: Vec<DataType> = field
            .columns
            .iter()
            .zip(&of)
            .map(|(column, dtype)| match (column, dtype) {
                pair if !field.is_keyed() && empty(pair) => DataType::Null, // text that holds no value yet
                _ => (*dtype).clone(),
            })
            .collect();
        let steps = match Steps::of(field, &of) {
            Ok(steps) => steps,
            Err(what) => {
                add(field.line, format!("field \"{}\" {what}", field.name));
                continue;
            }
        };
        let dtype = if let Kind::Sequence { .. } = field.kind { &of[0] } else { &steps.dtype };
        let misfit = match field.beside {
            Some(_) => None, // its steps have looked
            None => misfit(field, dtype, steps.default.as_ref(), &example),
        };
        if let Some(what) = misfit {
            add(field.line, format!("field \"{}\" {what}", field.name));
        }
        if field.numbers() > 0 {
            continue;
        }
        let (name, is_integers) = (field.vocabulary(), has_integer_keys(&steps.dtype));
        let (first, integers) = *kinds.entry(name).or_insert((field, is_integers));
        if integers != is_integers {
            let what = format!(
                "vocabulary \"{name}\" holds integers in one of \"{}\" and \"{}\", text in the other: CAST one in the sql",
                first.name, field.name
            );
            add(field.line, what);
        }
    }
    if let Some((weight, dtype)) = recipe.weight.as_ref().and_then(|weight| Some((weight, types.get(weight)?)))
        && !dtype.is_primitive_numeric()
    {
        let what = format!(
            "`weight` is \"{weight}\", which is {}{}, expected numbers: CAST(\"{weight}\" AS DOUBLE) in the sql",
            words(dtype),
            example(weight)
        );
        add(recipe.lines.weight, what);
    }
    for (mature, line) in recipe.labels.iter().filter_map(|label| Some((label.mature.as_ref()?, label.line))) {
        let Some(dtype) = types.get(&mature.column) else { continue };
        if !(dtype.is_primitive_numeric() || matches!(dtype, DataType::Date | DataType::Datetime(..))) {
            let (column, dtype, example) = (&mature.column, words(dtype), example(&mature.column));
            add(
                line,
                format!(
                    "`mature_after` reads \"{column}\", which is {dtype}{example}, expected a number, a date or a time: STRPTIME(\"{column}\", '%Y-%m-%d %H:%M:%S') in the sql reads a time in text by its form"
                ),
            );
        }
    }
    for label in &recipe.labels {
        let Some(dtype) = types.get(&label.column) else { continue };
        let name = &label.column;
        let is_number = dtype.is_primitive_numeric() || matches!(dtype, DataType::Boolean | DataType::Null);
        let is_read = is_number || (*dtype == DataType::String && is_undecided(name));
        if !is_read {
            let what = format!(
                "label \"{name}\" is {}{}, expected {} or null: write CAST(\"{name}\" AS DOUBLE) in the sql where it holds numbers, CASE WHEN ... THEN 1 ELSE 0 END where it holds words",
                words(dtype),
                example(name),
                if label.kind == Feedback::Binary { "0, 1" } else { "a number" }
            );
            add(label.line, what);
        }
        let answer = &origins[name.as_str()];
        for field in recipe
            .fields
            .iter()
            .filter(|field| !field.columns.contains(name) && !recipe.allow_leak.contains(&field.name))
        {
            let read: BTreeSet<_> =
                field.columns.iter().flat_map(|column| &origins[column.as_str()]).cloned().collect();
            let column = &field.name;
            if !answer.is_empty() && answer.is_subset(&read) {
                let columns = answer.iter().map(|origin| origin.column.as_str()).collect::<Vec<_>>().join(", ");
                let what = format!(
                    "field \"{column}\" is made of {columns}, as label \"{name}\" is: the model would read the answer. Values of earlier rows are known: LAG({columns}) OVER (PARTITION BY ... ORDER BY ...). If this one is known before the feedback too, say so: `allow_leak = [\"{column}\"]` at the top of the recipe"
                );
                add(field.line, what);
            } else if let Some(origin) = answer.intersection(&read).next() {
                tracing::warn!(
                    "field \"{column}\" holds {}, from which label \"{name}\" is computed too: is it known before the feedback?",
                    origin.column
                );
            }
        }
    }
    for column in cast_to_times(plan) {
        if let Some(time) = facts.offsets.get(&column) {
            let what = format!(
                "a CAST drops the offset of \"{column}\" (\"{time}\"), and times of two offsets would be mixed up: STRPTIME(\"{column}\", '%Y-%m-%dT%H:%M:%S%z') reads instants (in UTC; `Z` is written +00:00 for it)"
            );
            add(recipe.lines.sql, what);
        }
    }
    for (column, kinds) in drifting(plan) {
        let keyed = recipe.fields.iter().filter(|field| field.is_keyed());
        let keyed = keyed
            .flat_map(|field| field.columns.iter().map(|column| (column, field.line)))
            .chain(recipe.group.iter().map(|group| (group, recipe.lines.group)));
        for (name, line) in keyed {
            if *name == column || origins[name.as_str()].iter().any(|origin| origin.column == column) {
                let what = format!(
                    "\"{column}\" is {} in the parts of a UNION, and 12, 12.0 and \"12\" would be different keys: write `types = {{ {column} = \"int\" }}` (or \"text\") in each source",
                    kinds.join(" and ")
                );
                add(line, what);
            }
        }
    }
    let ordered = match &recipe.split {
        SplitRecipe::Time { column, .. } => Some(column),
        SplitRecipe::Last { order, .. } => Some(order),
        _ => None,
    };
    if let Some((column, dtype)) = ordered.and_then(|column| Some((column, types.get(column)?)))
        && !(dtype.is_primitive_numeric() || dtype.is_temporal())
    {
        let what = format!(
            "the split orders by \"{column}\", which is {}{}, expected a number, a date or a time: STRPTIME(\"{column}\", '%Y-%m-%d %H:%M:%S') in the sql reads a time in text by its form, CAST(\"{column}\" AS DATE) a date",
            words(dtype),
            example(column)
        );
        add(recipe.lines.split, what);
    }
    faults.sort_by_key(|fault| fault.line);
    faults.dedup();
    faults
}

/// Why a column cannot be this field, and what to write.
fn misfit(
    field: &FieldRecipe,
    dtype: &DataType,
    default: Option<&Value>,
    example: &dyn Fn(&str) -> String,
) -> Option<String> {
    let (found, name) = (words(dtype), &field.columns[0]);
    match field.kind {
        Kind::Category if field.numbers() == 0 => match dtype {
            DataType::List(_) => Some(format!("is {found}: make it a sequence")),
            DataType::Datetime(..) => Some(format!(
                "holds {found}, and nearly every time is a new one: take a part of it, `part = \"hour\"` or \"weekday\", or write it as text in a form of your own, STRFTIME(\"{name}\", '%Y-%m-%d %H')"
            )),
            DataType::Time | DataType::Duration(_) => {
                Some(format!("holds {found}: take a part of it in the sql, EXTRACT(HOUR FROM \"{name}\"), or make it a number"))
            }
            DataType::Struct(_) | DataType::Array(..) => Some(format!("is {found}, expected integers or text")),
            _ => default_misfit(default, dtype),
        },
        Kind::Sequence { .. } => match (dtype, &field.separator) {
            (DataType::String, None) => Some("is text: add `separator = \"|\"`, or cut it in the sql".into()),
            (DataType::String, Some(_)) => default_misfit(default, dtype),
            (DataType::List(_), Some(_)) => Some("is a list already: leave `separator` out".into()),
            (DataType::List(inner), None) if inner.is_integer() || matches!(**inner, DataType::String | DataType::Boolean) => {
                default_misfit(default, dtype)
            }
            (DataType::List(inner), None) if inner.is_float() => Some(
                "is a list of floats: a sequence is a list of integers or text; a vector of numbers is `kind = \"vector\"`".into(),
            ),
            _ => Some(format!("is {found}: a sequence is a list of integers or text, or a text with a separator")),
        },
        Kind::Vector { .. } => match dtype {
            DataType::List(inner) if inner.is_primitive_numeric() => None,
            DataType::String => None,
            _ => Some(format!("is {found}, expected a list of numbers")),
        },
        Kind::Number { .. } | Kind::Category => match (dtype, default) {
            (_, Some(Value::Text(text))) => Some(format!("has the default \"{text}\", expected a number")),
            (dtype, _) if dtype.is_temporal() => {
                Some(format!("holds {found}, expected numbers: EXTRACT(EPOCH FROM \"{name}\") in the sql, or another part of it"))
            }
            (DataType::List(inner), _) if inner.is_primitive_numeric() => {
                Some(format!("is {found}: several numbers are `kind = \"vector\"`, with how many as `length`"))
            }
            (dtype, _) if !(dtype.is_primitive_numeric() || matches!(dtype, DataType::Boolean | DataType::Null)) => {
                let example = example(name);
                let cast = number_in(&example, name).unwrap_or_else(|| {
                    "make it a category, CAST it in the sql, or name what stands for nothing: `null_values = [\"NA\"]`".into()
                });
                Some(format!("is {found}{example}, expected numbers; {cast}"))
            }
            _ => None,
        },
    }
}

/// What makes a number of the text in an example that is one but for what stands round or between its digits.
fn number_in(example: &str, name: &str) -> Option<String> {
    let text = example.split('"').nth(1)?;
    let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    let replaced =
        |of: char, by: &str| format!("CAST(REPLACE(\"{name}\", '{of}', '{by}') AS DOUBLE) in the sql reads it");
    if is_number(text.trim().trim_start_matches('+')) {
        let (trimmed, plus) = (text.trim() != text, text.trim().starts_with('+'));
        let of = if trimmed { format!("TRIM(\"{name}\")") } else { format!("\"{name}\"") };
        let of = if plus { format!("REPLACE({of}, '+', '')") } else { of };
        return Some(format!("CAST({of} AS DOUBLE) in the sql reads it"));
    }
    let odd: Vec<char> = text.chars().filter(|c| !(c.is_ascii_digit() || matches!(c, '.' | '-'))).collect();
    match *odd.first().filter(|first| odd.iter().all(|c| c == *first))? {
        ',' if odd.len() == 1 && is_number(&text.replace(',', ".")) => Some(format!(
            "{}, where a comma stands before decimals, and REPLACE(\"{name}\", ',', '') where it stands between thousands",
            replaced(',', ".")
        )),
        sign if is_number(&text.replace(sign, "")) => Some(replaced(sign, "")),
        _ => None,
    }
}

fn default_misfit(default: Option<&Value>, dtype: &DataType) -> Option<String> {
    let default = default?;
    let fits = match default {
        Value::Integer(_) => true,
        Value::Text(_) => !has_integer_keys(dtype),
        _ => false,
    };
    (!fits).then(|| format!("is {}, and has the default {default}", words(dtype)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_a_number_of_a_text_is_told_by_the_text() {
        let told = |text: &str| {
            number_in(&format!(", for instance \"{text}\" (log.csv, line 2)"), "price").unwrap_or_default()
        };
        let cast = |of: &str| format!("CAST({of} AS DOUBLE) in the sql reads it");
        assert!(told("0,5").starts_with(&cast("REPLACE(\"price\", ',', '.')")), "{}", told("0,5"));
        assert_eq!(told("1,234,567"), cast("REPLACE(\"price\", ',', '')"));
        assert_eq!(told("$12.5"), cast("REPLACE(\"price\", '$', '')"));
        assert_eq!(told("5%"), cast("REPLACE(\"price\", '%', '')"));
        assert_eq!(told(" 5 "), cast("TRIM(\"price\")"));
        assert_eq!(told("+5"), cast("REPLACE(\"price\", '+', '')"));
        assert_eq!((told("cheap"), told("1-2"), told("")), (String::new(), String::new(), String::new()));
    }
}
