//! From TOML to a [`Recipe`]: each function reads one kind of table.

use std::path::Path;

use toml::de::DeTable;

use super::field::field;
use super::label::label;
use super::section::{Faults, Section};
use super::{ColumnType, Dialect, Format, Growth, Lines, Quote, Recipe, SPLIT_OF_FILES, Source, SplitRecipe};
use crate::error::Fault;
use crate::simulator::SimulatorConfig;
use crate::source::is_encoding;
use crate::split::Split;

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
    let weight = top.text("weight", faults);
    let allow_leak = top.texts("allow_leak", faults).unwrap_or_default();
    let verdict = top.metric("verdict", faults);
    let sources = top.tables("source", "[[source]]", faults).into_iter().map(|s| source(s, faults)).collect();
    let fields = top.tables("field", "[[field]]", faults).into_iter().map(|s| field(s, faults)).collect();
    let labels = top.tables("label", "[[label]]", faults).into_iter().map(|s| label(s, faults)).collect();
    let grow = top.table("grow", "[grow]", faults).map(|s| grow(s, faults)).unwrap_or_default();
    let split_section = top.table("split", "[split]", faults);
    let split_line = split_section.as_ref().map_or(1, |s| s.line);
    let simulator = top.table("simulator", "[simulator]", faults).map(|s| simulator(s, faults));
    let line = |key| top.line_of(key, faults);
    let lines = Lines {
        sql: line("sql"),
        group: line("group"),
        weight: line("weight"),
        split: split_line,
        allow_leak: line("allow_leak"),
        verdict: line("verdict"),
        split_again: false,
    };
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
    (
        Some(Recipe {
            name,
            sql,
            group,
            weight,
            sources,
            fields,
            allow_leak,
            labels,
            split,
            verdict,
            grow,
            simulator,
            path,
            text,
            slices: Vec::new(),
            lines,
        }),
        found,
    )
}

fn source(mut section: Section<'_>, faults: &mut Faults<'_>) -> Source {
    let name = section.need_text("name", faults);
    let (files, splits) = files(&mut section, faults);
    let formats = [("csv", Format::Csv), ("tsv", Format::Tsv), ("parquet", Format::Parquet), ("ipc", Format::Ipc)];
    let is_named = section.has("format");
    let format = section.choice("format", &formats, faults);
    let untold = files.iter().find(|file| Path::new(file).extension().is_some() && Format::of_name(file).is_none());
    if let (false, Some(file)) = (is_named, untold) {
        faults.add(
            section.line,
            format!(
                "the name \"{file}\" does not tell its format: add `format = \"csv\"`, \"tsv\", \"parquet\" or \"ipc\""
            ),
        );
    }
    let format = format.or_else(|| files.iter().find_map(|file| Format::of_name(file)));
    let dialect = dialect(&mut section, format.is_none_or(Format::is_text), faults);
    let columns = section.texts("columns", faults);
    let header = section.flag("header", faults);
    if header == Some(false) && columns.is_none() && format.is_none_or(Format::is_text) {
        faults.add(section.line, "a file without a header needs `columns = [\"...\"]`");
    }
    let types = [
        ("int", ColumnType::Integer),
        ("float", ColumnType::Float),
        ("bool", ColumnType::Boolean),
        ("text", ColumnType::Text),
    ];
    let types = section.choices("types", &types, faults);
    let header = header.unwrap_or(columns.is_none());
    let line = section.line;
    section.finish(faults);
    Source { name, files, splits, format, dialect, columns, header, types, line }
}

/// `file = "..."`, `files = ["...", ...]`, or files by split: `train = ["..."]`, `valid` and `test`.
fn files(section: &mut Section<'_>, faults: &mut Faults<'_>) -> (Vec<String>, Vec<Split>) {
    let by_split = Split::ALL.map(|split| (split, section.has(split.name())));
    let given = ["file", "files"].into_iter().filter(|key| section.has(key)).count()
        + usize::from(by_split.iter().any(|(_, given)| *given));
    let file = section.text("file", faults);
    let lists =
        [section.texts("files", faults)].into_iter().chain(Split::ALL.map(|split| section.texts(split.name(), faults)));
    let lists: Vec<Option<Vec<String>>> = lists.collect();
    if given != 1 {
        let what = match given {
            0 => "[[source]] has no `file`: add `file = \"...\"`, or `files = [\"log/*.parquet\"]`",
            _ => "`file`, `files`, and files by split (`train`, `valid`, `test`) name the same thing: keep one of them",
        };
        faults.add(section.line, what);
        return (vec![], vec![]);
    }
    if lists.iter().flatten().any(|files| files.iter().all(String::is_empty)) {
        faults.add(section.line, "a list of files is empty: write `[\"log/*.parquet\"]`");
    }
    let mut splits = Vec::new();
    for (split, files) in Split::ALL.into_iter().zip(&lists[1..]) {
        splits.extend(files.iter().flatten().map(|_| split));
    }
    (file.into_iter().chain(lists.into_iter().flatten().flatten()).collect(), splits)
}

/// How the text of a source is written.
fn dialect(section: &mut Section<'_>, text: bool, faults: &mut Faults<'_>) -> Dialect {
    for key in ["separator", "quote", "escape", "null_values", "encoding"] {
        if section.has(key) && !text {
            faults.add(section.line_of(key, faults), format!("`{key}` is for csv and tsv files"));
        }
    }
    let separator = section.text("separator", faults);
    if separator.as_deref().is_some_and(|text| text.contains(['\n', '\r', '"'])) {
        faults.add(section.line_of("separator", faults), "`separator` cannot hold a quote or the end of a line");
    }
    let mut ascii = |section: &mut Section<'_>, key: &'static str, expected: &str| -> Option<u8> {
        let text = section.text(key, faults)?;
        match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Some(*byte),
            _ if key == "quote" && text == "none" => None,
            _ => {
                faults.add(section.line_of(key, faults), format!("`{key}` is \"{text}\", expected {expected}"));
                None
            }
        }
    };
    let quote = match (section.has("quote"), ascii(section, "quote", "\"none\", or one ASCII character")) {
        (true, Some(character)) => Some(Quote::Character(character)),
        (true, None) => Some(Quote::None),
        (false, _) => None,
    };
    let escape = ascii(section, "escape", "one ASCII character");
    if escape.is_some() && quote == Some(Quote::None) {
        faults.add(
            section.line_of("escape", faults),
            "`escape` is for what stands within quotes, and `quote` is \"none\"",
        );
    }
    if separator.as_ref().is_some_and(|text| text.len() > 1)
        && (escape.is_some() || matches!(quote, Some(Quote::Character(_))))
    {
        let what = "between separators of several characters quotes are letters: leave `quote` and `escape` out";
        faults.add(section.line_of("separator", faults), what);
    }
    let null_values = section.texts("null_values", faults).unwrap_or_default();
    let encoding = section.text("encoding", faults);
    if let Some(label) = encoding.as_deref().filter(|label| !is_encoding(label)) {
        faults.add(
            section.line_of("encoding", faults),
            format!("`encoding` is \"{label}\", expected the name of an encoding: utf-8, latin1, windows-1252, utf-16le, gbk, shift_jis, ..."),
        );
    }
    Dialect { separator, quote, escape, null_values, encoding }
}

fn split(mut section: Section<'_>, faults: &mut Faults<'_>) -> Option<SplitRecipe> {
    let kinds = [("column", 0), ("files", 1), ("random", 2), ("hash", 3), ("time", 4), ("last", 5)];
    let before = faults.found.len();
    let kind = section.choice("kind", &kinds, faults);
    if kind.is_none() && faults.found.len() == before {
        faults.add(
            section.line,
            "[split] has no `kind`: \"column\", \"files\", \"random\", \"hash\", \"time\" or \"last\"",
        );
    }
    let line = section.line;
    let split = match kind? {
        0 => {
            let column = section.need_text("column", faults);
            let named = Split::ALL.map(|split| section.has(split.name()));
            let values = Split::ALL.map(Split::name);
            let values = values.map(|key| section.text(key, faults).unwrap_or_else(|| key.to_string()));
            SplitRecipe::Column { column, values, named }
        }
        1 => SplitRecipe::Column {
            column: SPLIT_OF_FILES.into(),
            values: Split::ALL.map(|split| split.name().to_string()),
            named: [false; 3],
        },
        2 => {
            let (valid, test) = (section.share("valid", faults), section.share("test", faults));
            let seed = section.count("seed", 0, faults).unwrap_or(1) as u64;
            SplitRecipe::Random { valid: valid.unwrap_or(0.1), test: test.unwrap_or(0.1), seed }
        }
        3 => {
            let column = section.need_text("column", faults);
            let (valid, test) = (section.share("valid", faults), section.share("test", faults));
            let seed = section.count("seed", 0, faults).unwrap_or(1) as u64;
            SplitRecipe::Hash { column, valid: valid.unwrap_or(0.1), test: test.unwrap_or(0.1), seed }
        }
        4 => {
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
    if let SplitRecipe::Random { valid, test, .. }
    | SplitRecipe::Hash { valid, test, .. }
    | SplitRecipe::Time { valid, test, .. } = &split
        && valid + test >= 1.0
    {
        faults.add(line, format!("valid {valid} and test {test} leave no rows to train on"));
    }
    section.finish(faults);
    Some(split)
}

fn grow(mut section: Section<'_>, faults: &mut Faults<'_>) -> Growth {
    let growth = Growth {
        admit_after: section.count("admit_after", 1, faults),
        evict_after: section.count("evict_after", 1, faults),
        max_rows: section.count("max_rows", 3, faults),
    };
    section.finish(faults);
    growth
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
