//! From TOML to a [`Recipe`]: each function reads one kind of table.

use std::path::Path;

use stem_core::Pooling;
use toml::de::DeTable;

use super::section::{Faults, Section};
use super::{ColumnType, FieldRecipe, Format, Kind, LabelRecipe, Lines, Recipe, Source, SplitRecipe};
use crate::error::Fault;
use crate::simulator::SimulatorConfig;

/// As much of a recipe as can be made out, and what is wrong with it. `None` where it is no TOML at all.
pub(super) fn read(text: &str, path: &Path) -> (Option<Recipe>, Vec<Fault>) {
    let mut faults = Faults::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let line = faults.line(error.span().map_or(0, |span| span.start));
            faults.add(line, format!("not TOML: {}", error.message()));
        }
        return (None, faults.found);
    }
    let mut top = Section::new("the recipe", 0..0, document.get_ref(), &faults);
    let faults = &mut faults;
    let name = top.need_text("name", faults);
    let sql = top.text("sql", faults);
    let group = top.text("group", faults);
    let sources = top.tables("source", "[[source]]", faults).into_iter().map(|s| source(s, faults)).collect();
    let fields = top.tables("field", "[[field]]", faults).into_iter().map(|s| field(s, faults)).collect();
    let labels = top.tables("label", "[[label]]", faults).into_iter().map(|s| label(s, faults)).collect();
    let split_section = top.table("split", "[split]", faults);
    let split_line = split_section.as_ref().map_or(1, |s| s.line);
    let simulator = top.table("simulator", "[simulator]", faults).map(|s| simulator(s, faults));
    let lines = Lines { sql: top.line_of("sql", faults), group: top.line_of("group", faults), split: split_line };
    top.finish(faults);
    let split = match split_section {
        Some(section) => split(section, faults),
        None => {
            faults.add(1, "no [split]: say how rows fall into training, validation and test");
            None
        }
    };
    let found = std::mem::take(&mut faults.found);
    let split = split.unwrap_or(SplitRecipe::Random { valid: 0.1, test: 0.1, seed: 1 });
    let (path, text) = (path.to_path_buf(), text.to_string());
    (Some(Recipe { name, sql, group, sources, fields, labels, split, simulator, path, text, lines }), found)
}

fn source(mut section: Section<'_>, faults: &mut Faults<'_>) -> Source {
    let name = section.need_text("name", faults);
    let file = section.need_text("file", faults);
    let [csv, tsv] = [b',', b'\t'].map(|separator| Format::Text { separator });
    let formats = [("csv", csv), ("tsv", tsv), ("parquet", Format::Parquet), ("ipc", Format::Ipc)];
    let extension = Path::new(&file).extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let by_extension = match extension.as_str() {
        "csv" => Some(csv),
        "tsv" | "tab" => Some(tsv),
        "parquet" | "pq" => Some(Format::Parquet),
        "ipc" | "arrow" | "feather" => Some(Format::Ipc),
        _ => None,
    };
    let format_line = section.line_of("format", faults);
    let has_format = format_line != section.line || by_extension.is_some();
    let mut format = section.choice("format", &formats, faults).or(by_extension).unwrap_or(csv);
    if !has_format && !file.is_empty() {
        faults.add(
            section.line,
            format!(
                "the name \"{file}\" does not tell its format: add `format = \"csv\"`, \"tsv\", \"parquet\" or \"ipc\""
            ),
        );
    }
    let separator_line = section.line_of("separator", faults);
    if let Some(text) = section.text("separator", faults) {
        match (text.as_bytes(), &mut format) {
            ([byte], Format::Text { separator }) if byte.is_ascii() => *separator = *byte,
            (_, Format::Text { .. }) => {
                faults.add(separator_line, format!("`separator` is \"{text}\", expected one ASCII character"));
            }
            _ => faults.add(separator_line, "`separator` is for csv and tsv files"),
        }
    }
    let columns = section.texts("columns", faults);
    let header = section.flag("header", faults);
    if header == Some(false) && columns.is_none() && matches!(format, Format::Text { .. }) {
        faults.add(section.line, "a file without a header needs `columns = [\"...\"]`");
    }
    let types = [("int", ColumnType::Integer), ("float", ColumnType::Float), ("text", ColumnType::Text)];
    let types = section.choices("types", &types, faults);
    let header = header.unwrap_or(columns.is_none());
    let line = section.line;
    section.finish(faults);
    Source { name, file: file.into(), format, columns, header, types, line }
}

#[derive(Clone, Copy, PartialEq)]
enum Word {
    Category,
    Sequence,
    Number,
}

fn field(mut section: Section<'_>, faults: &mut Faults<'_>) -> FieldRecipe {
    let column = section.need_text("column", faults);
    let kinds = [("category", Word::Category), ("sequence", Word::Sequence), ("number", Word::Number)];
    let before = faults.found.len();
    let word = section.choice("kind", &kinds, faults);
    if word.is_none() && faults.found.len() == before {
        faults.add(section.line, format!("field \"{column}\" has no `kind`: \"category\", \"sequence\" or \"number\""));
    }
    let word = word.unwrap_or(Word::Category);
    let min_count = section.count("min_count", 1, faults);
    let vocabulary = section.text("vocabulary", faults);
    let separator = section.text("separator", faults);
    let max_len = section.count("max_len", 1, faults);
    let pooling = section.choice("pooling", &[("mean", Pooling::Mean), ("sum", Pooling::Sum)], faults);
    let standardize = section.flag("standardize", faults);
    let default = section.value("default", faults);
    let keyed = [
        ("min_count", min_count.is_some(), word != Word::Number, "categories and sequences"),
        ("vocabulary", vocabulary.is_some(), word != Word::Number, "categories and sequences"),
        ("separator", separator.is_some(), word == Word::Sequence, "sequences"),
        ("max_len", max_len.is_some(), word == Word::Sequence, "sequences"),
        ("pooling", pooling.is_some(), word == Word::Sequence, "sequences"),
        ("standardize", standardize.is_some(), word == Word::Number, "numbers"),
    ];
    for (key, given, fits, whom) in keyed {
        if given && !fits {
            faults.add(section.line_of(key, faults), format!("`{key}` is for {whom}"));
        }
    }
    let kind = match word {
        Word::Category => Kind::Category,
        Word::Sequence => {
            if max_len.is_none() && section.line_of("max_len", faults) == section.line {
                faults.add(section.line, format!("sequence \"{column}\" has no `max_len`: add `max_len = 20`"));
            }
            Kind::Sequence { max_len: max_len.unwrap_or(1), pooling: pooling.unwrap_or_default() }
        }
        Word::Number => Kind::Number { standardize: standardize.unwrap_or(false) },
    };
    let line = section.line_of("column", faults);
    section.finish(faults);
    FieldRecipe { column, kind, min_count: min_count.unwrap_or(1), vocabulary, separator, default, line }
}

fn label(mut section: Section<'_>, faults: &mut Faults<'_>) -> LabelRecipe {
    let column = section.need_text("column", faults);
    let within = section.text("within", faults);
    let line = section.line_of("column", faults);
    section.finish(faults);
    LabelRecipe { column, within, line }
}

fn split(mut section: Section<'_>, faults: &mut Faults<'_>) -> Option<SplitRecipe> {
    let kinds = [("column", 0), ("random", 1), ("time", 2), ("last", 3)];
    let before = faults.found.len();
    let kind = section.choice("kind", &kinds, faults);
    if kind.is_none() && faults.found.len() == before {
        faults.add(section.line, "[split] has no `kind`: \"column\", \"random\", \"time\" or \"last\"");
    }
    let line = section.line;
    let split = match kind? {
        0 => {
            let column = section.need_text("column", faults);
            let mut value = |key| section.text(key, faults).unwrap_or_else(|| key.to_string());
            SplitRecipe::Column { column, values: [value("train"), value("valid"), value("test")] }
        }
        1 => {
            let (valid, test) = (section.share("valid", faults), section.share("test", faults));
            let seed = section.count("seed", 0, faults).unwrap_or(1) as u64;
            SplitRecipe::Random { valid: valid.unwrap_or(0.1), test: test.unwrap_or(0.1), seed }
        }
        2 => {
            let column = section.need_text("column", faults);
            let (valid, test) = (section.share("valid", faults), section.share("test", faults));
            SplitRecipe::Time { column, valid: valid.unwrap_or(0.1), test: test.unwrap_or(0.1) }
        }
        _ => {
            let (column, order) = (section.need_text("column", faults), section.need_text("order", faults));
            let (valid, test) = (section.count("valid", 0, faults), section.count("test", 0, faults));
            SplitRecipe::Last { column, order, valid: valid.unwrap_or(1), test: test.unwrap_or(1) }
        }
    };
    if let SplitRecipe::Random { valid, test, .. } | SplitRecipe::Time { valid, test, .. } = &split
        && valid + test >= 1.0
    {
        faults.add(line, format!("valid {valid} and test {test} leave no rows to train on"));
    }
    section.finish(faults);
    Some(split)
}

fn simulator(mut section: Section<'_>, faults: &mut Faults<'_>) -> SimulatorConfig {
    let mut config = SimulatorConfig::default();
    let line = section.line;
    let f = faults;
    config.seed = section.count("seed", 0, f).map_or(config.seed, |n| n as u64);
    config.users = section.count("users", 1, f).unwrap_or(config.users);
    config.items = section.count("items", 1, f).unwrap_or(config.items);
    config.rows = section.count("rows", 1, f).unwrap_or(config.rows);
    config.tasks = section.texts("tasks", f).unwrap_or(config.tasks);
    config.base = section.numbers("base", f).unwrap_or(config.base);
    config.width = section.count("width", 2, f).unwrap_or(config.width);
    config.correlation = section.number("correlation", f).unwrap_or(config.correlation);
    config.taste = section.number("taste", f).unwrap_or(config.taste);
    config.propensity = section.number("propensity", f).unwrap_or(config.propensity);
    config.popularity = section.number("popularity", f).unwrap_or(config.popularity);
    config.activity = section.number("activity", f).unwrap_or(config.activity);
    config.exposure = section.number("exposure", f).unwrap_or(config.exposure);
    section.finish(f);
    if let Err(error) = config.check() {
        f.add(line, error.to_string());
    }
    config
}
