//! The two files as text: every guess stands below its reason.

use std::fmt::Write;

use stem_data::{ColumnType, Format, Source, is_pattern};

use super::facts::count;
use super::guess::{Guess, Kind, Verdict};
use super::labels::Label;
use super::split::{Split, SplitBy};
use super::sql::{one_line, quoted, toml_sql, toml_text};

/// Columns of a comment.
const WIDTH: usize = 110;

/// All that was guessed.
pub(super) struct Draft<'d> {
    pub(super) name: &'d str,
    pub(super) source: &'d Source,
    /// Why its format has to be named.
    pub(super) reason: Option<&'d str>,
    /// The types that its first rows do not show.
    pub(super) types: &'d [(String, ColumnType)],
    pub(super) rows: usize,
    pub(super) looked_at: usize,
    pub(super) group: Option<(String, String)>,
    pub(super) split: Split,
    pub(super) guesses: Vec<Guess>,
    pub(super) labels: &'d [Label],
}

impl Draft<'_> {
    /// Shares of validation and test: small logs give more, so that all parts have rows.
    fn share(&self) -> f64 {
        if self.rows < 1000 { 0.2 } else { 0.1 }
    }

    /// `recipe.toml`.
    pub(super) fn recipe(&self) -> String {
        let mut out = String::new();
        let looked = match self.looked_at == self.rows {
            true => format!("all {} rows", count(self.rows)),
            false => format!("{} of {} rows, the first and the last", count(self.looked_at), count(self.rows)),
        };
        comment(
            &mut out,
            &format!(
                "What is read, learned and split. `stem init` guessed it from {looked}; the reason stands above each guess. \
                 Change what it does not know: above all, leave no column in that is known only after the feedback"
            ),
        );
        line(&mut out, format!("name = {}", toml_text(self.name)));
        match &self.group {
            Some((column, reason)) => {
                comment(&mut out, &format!("{reason}. Metrics are measured within these groups too (gAUC)"));
                line(&mut out, format!("group = {}", toml_text(column)));
            }
            None => {
                comment(
                    &mut out,
                    "no column that is named as users are repeats its values: name who saw the rows here, and gAUC and users in the report come with it",
                );
                line(&mut out, "# group = \"user_id\"");
            }
        }
        if let Some(sql) = self.sql() {
            comment(&mut out, "columns that are no feature, time or list as they are in the file are made one here");
            line(&mut out, format!("sql = {}", toml_sql(&sql)));
        }
        self.source(&mut out);
        self.guesses.iter().filter(|guess| guess.verdict != Verdict::Label).for_each(|guess| field(&mut out, guess));
        self.labels.iter().for_each(|label| self.label(&mut out, label));
        self.split_section(&mut out);
        out
    }

    /// The SELECT, where a plain `SELECT *` will not do.
    fn sql(&self) -> Option<String> {
        if self.guesses.iter().all(|guess| guess.expression.is_none()) {
            return None;
        }
        let of_use = |guess: &&Guess| !guess.column.is_empty();
        let columns: Vec<String> = self
            .guesses
            .iter()
            .filter(of_use)
            .map(|guess| match &guess.expression {
                Some(expression) => format!("{expression} AS {}", quoted(&guess.column)),
                None => quoted(&guess.column),
            })
            .collect();
        Some(format!("SELECT {}\nFROM {}", columns.join(", "), quoted(&self.source.name)))
    }

    fn source(&self, out: &mut String) {
        let source = self.source;
        line(out, "\n[[source]]");
        line(out, format!("name = {}", toml_text(&source.name)));
        match source.files.as_slice() {
            [file] if !is_pattern(file) => {
                line(out, format!("file = {}   # in the folder that --data names", toml_text(file)))
            }
            files => {
                comment(
                    out,
                    "in the folder that --data names; a pattern takes in files that come later too: \"log/*.csv\"",
                );
                let files: Vec<String> = files.iter().map(|file| toml_text(file)).collect();
                line(out, format!("files = [{}]", files.join(", ")));
            }
        }
        if let Some(reason) = self.reason {
            comment(out, reason);
            match source.format {
                Some(Format::Parquet) => line(out, "format = \"parquet\""),
                Some(Format::Ipc) => line(out, "format = \"ipc\""),
                Some(Format::Tsv) => line(out, "format = \"tsv\""),
                _ => line(out, "format = \"csv\""),
            }
            if let Some(separator) = &source.dialect.separator {
                line(out, format!("separator = {}", toml_text(separator)));
            }
        }
        if let Some(columns) = &source.columns {
            comment(out, "the file has no line of names");
            let names: Vec<String> = columns.iter().map(|name| toml_text(name)).collect();
            line(out, format!("columns = [{}]", names.join(", ")));
        }
        if !self.types.is_empty() {
            comment(out, "types of all values, where the first rows show another or leading zeros would be lost");
            let word = |kind: &ColumnType| match kind {
                ColumnType::Integer => "int",
                ColumnType::Float => "float",
                ColumnType::Boolean => "bool",
                _ => "text",
            };
            let types: Vec<String> =
                self.types.iter().map(|(name, kind)| format!("{} = \"{}\"", toml_text(name), word(kind))).collect();
            line(out, format!("types = {{ {} }}", types.join(", ")));
        }
    }

    fn label(&self, out: &mut String, label: &Label) {
        out.push('\n');
        if let Some(guess) = self.guesses.iter().find(|guess| guess.column == label.column) {
            comment(out, &guess.reason);
        }
        line(out, "[[label]]");
        line(out, format!("column = {}", toml_text(&label.column)));
        label.kind.iter().for_each(|lines| line(out, lines.clone()));
        if let Some(outer) = &label.inside {
            comment(
                out,
                &format!(
                    "\"{outer}\" is 1 in every row where this is 1. With the next line it is learned among those rows only: \
                     the chance of \"{}\" given \"{outer}\"",
                    label.column
                ),
            );
            line(out, format!("# within = {}", toml_text(outer)));
        }
    }

    fn split_section(&self, out: &mut String) {
        out.push('\n');
        comment(out, &self.split.reason);
        line(out, "[split]");
        let share = self.share();
        match &self.split.by {
            SplitBy::Column(column, [train, valid, test]) => {
                line(out, "kind = \"column\"");
                line(out, format!("column = {}", toml_text(column)));
                for (key, value) in [("train", train), ("valid", valid), ("test", test)] {
                    line(out, format!("{key} = {}", toml_text(value)));
                }
            }
            SplitBy::Time(column) => {
                line(out, "kind = \"time\"");
                line(out, format!("column = {}", toml_text(column)));
                line(out, format!("valid = {share}\ntest = {share}"));
            }
            SplitBy::Random => {
                line(out, "kind = \"random\"");
                line(out, format!("valid = {share}\ntest = {share}\nseed = 1"));
            }
        }
    }

    /// `experiment.toml`.
    pub(super) fn experiment(&self) -> String {
        let training = self.rows as f64 * (1.0 - 2.0 * self.share());
        let steps = 200.0; // an epoch of about so many steps moves the weights enough and takes seconds
        let batch = ((training / steps).log2().round().exp2() as usize).clamp(256, 4096);
        let epochs = match self.rows {
            0..1_000_000 => 20,
            1_000_000..10_000_000 => 10,
            _ => 4,
        };
        let (dim, wide, narrow) = if self.rows < 20_000 { (8, 32, 16) } else { (16, 64, 32) };
        let monitor = match &self.group {
            Some((column, _)) => format!("or \"gauc\", the AUC within each {}", one_line(column)),
            None => "\"gauc\" wants a `group` in the recipe".to_string(),
        };
        format!(
            r#"# How to train, and the sizes of the models. What is not written has a default.

[train]
# about {steps} steps an epoch: {rows} rows in all, of which {train:.0} % train
batch_size = {batch}
# at most; training stops earlier, after `patience` evaluations in a row that were no better for any task
epochs = {epochs}
patience = 4
# how often the validation split is asked, in epochs: on real logs the best moment often lies inside the first ones
evaluate_every = {{ epochs = 0.5 }}
# what decides which weights are the best ones of a task, on the validation split; {monitor}
monitor = "auc"
learning_rate = 1e-3
# what holds embeddings of rare values near 0, and those of one value near each other: learned from the data;
# {{ name = "fixed", l2 = 1e-5 }} is one number for all
prior = {{ name = "learned" }}
seed = 1

# Small sizes, which train in seconds to minutes. The STEM paper's are four and more times as large.
[stem]
# numbers in an embedding; every value has one for each task and a shared one
dim = {dim}
# experts of each task, and those that all tasks share
specific_experts = 1
shared_experts = 2
# widths of the layers of an expert, of a gate, and of the tower of a task
experts = [{wide}, {narrow}]
gate = [{narrow}]
tower = [{narrow}]

# The models to hold it against: all tasks on one network, and a network for each task.
[shared-bottom]
dim = {dim}
bottom = [{wide}, {narrow}]
tower = [{narrow}]

[single-task]
dim = {dim}
bottom = [{wide}, {narrow}]
tower = [{narrow}]
"#,
            rows = count(self.rows),
            train = 100.0 * (1.0 - 2.0 * self.share()),
        )
    }
}

fn field(out: &mut String, guess: &Guess) {
    out.push('\n');
    let (kind, mark) = match &guess.verdict {
        Verdict::Field(kind) => (Some(kind), ""),
        Verdict::LeftOut(kind) => (kind.as_ref(), "# "),
        Verdict::Label => return,
    };
    if mark.is_empty() {
        comment(out, &guess.reason);
    } else {
        comment(out, &format!("left out, {}: {}", toml_text(&guess.column), guess.reason));
    }
    let Some(kind) = kind else { return };
    if let Some(check) = guess.check.as_ref().filter(|_| mark.is_empty()) {
        comment(out, &format!("CHECK: {check}"));
    }
    let mut put = |text: String| line(out, format!("{mark}{text}"));
    put("[[field]]".into());
    put(format!("column = {}", toml_text(&guess.column)));
    put(format!("kind = \"{}\"", kind.word()));
    match kind {
        Kind::Category { min_count: 1 } => {}
        Kind::Category { min_count } => {
            put(format!("min_count = {min_count}   # rarer values share the row of the unseen"))
        }
        Kind::Number => put("standardize = true".into()),
        Kind::Sequence { separator, max_len } => {
            if let Some(separator) = separator {
                put(format!("separator = {}", toml_text(separator)));
            }
            put(format!("max_len = {max_len}"));
            put("pooling = \"mean\"".into());
        }
    }
}

fn line(out: &mut String, text: impl AsRef<str>) {
    out.push_str(text.as_ref());
    out.push('\n');
}

/// A comment in lines of [`WIDTH`] letters.
fn comment(out: &mut String, text: &str) {
    let mut length = 0;
    for word in one_line(text).split_whitespace() {
        let letters = word.chars().count() + 1;
        if length == 0 || length + letters > WIDTH {
            if length > 0 {
                out.push('\n');
            }
            out.push('#');
            length = 1;
        }
        _ = write!(out, " {word}");
        length += letters;
    }
    out.push('\n');
}
