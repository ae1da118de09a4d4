//! What each column is, and why. The rules and thresholds are those of `docs/decisions/0015-what-init-guesses.md`.

use stem_data::RawType;

use super::facts::{Facts, count};
use super::labels::Label;
use super::leak;
use super::lists;
use super::names;
use super::sql::quoted;
use super::time::time_of;

/// So many different integers or whole floats are taken for codes.
const CODES: usize = 50;
/// So many rows, each with a value of its own, are no chance.
const UNIQUE: usize = 20;

/// What a field is made.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Category { min_count: u32 },
    Sequence { separator: Option<String>, max_len: usize },
    Number,
}

impl Kind {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Kind::Category { .. } => "category",
            Kind::Sequence { .. } => "sequence",
            Kind::Number => "number",
        }
    }
}

/// What becomes of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Label,
    Field(Kind),
    /// Left out; with the kind that it would be if the reader takes it in.
    LeftOut(Option<Kind>),
}

/// A column, what becomes of it, and why.
pub(super) struct Guess {
    pub(super) column: String,
    pub(super) verdict: Verdict,
    pub(super) reason: String,
    /// SQL that the SELECT has in the place of the plain column.
    pub(super) expression: Option<String>,
    /// What the reader should look at.
    pub(super) check: Option<String>,
}

impl Guess {
    fn of(facts: &Facts, verdict: Verdict, reason: String) -> Self {
        Self { column: facts.name().into(), verdict, reason, expression: None, check: None }
    }
}

/// Guesses every column. `group` and `split` are the columns chosen for those.
pub(super) fn columns(facts: &[Facts], labels: &[Label], group: Option<&str>, split: Option<&str>) -> Vec<Guess> {
    facts.iter().map(|facts| column(facts, labels, group == Some(facts.name()), split == Some(facts.name()))).collect()
}

fn column(facts: &Facts, labels: &[Label], is_group: bool, is_split: bool) -> Guess {
    let guess = |verdict, reason| Guess::of(facts, verdict, reason);
    if let Some(label) = labels.iter().find(|label| label.column == facts.name()) {
        let missing = facts.rows - label.known;
        let missing = if missing > 0 { format!(", missing in {} rows", count(missing)) } else { String::new() };
        let (positives, known, rate) = (count(label.positives), count(label.known), 100.0 * label.rate());
        return match label.kind {
            None => guess(Verdict::Label, format!("1 in {positives} of {known} rows ({rate:.2} %){missing}")),
            Some(_) => guess(
                Verdict::Label,
                format!("a number, above 0 in {positives} of {known} rows ({rate:.2} %){missing}"),
            ),
        };
    }
    if let Some(reason) = useless(facts) {
        return guess(Verdict::LeftOut(None), reason);
    }
    if let Some(time) = time_of(facts, &quoted(facts.name())) {
        let use_of_it = if is_split {
            "rows are split by it, and it is no feature"
        } else {
            "no feature: later rows have values that training never saw"
        };
        let mut guess = guess(Verdict::LeftOut(None), format!("{}: {use_of_it}", time.what));
        guess.expression = time.expression.filter(|expression| is_split && !expression.is_empty());
        return guess;
    }
    if is_split {
        return guess(Verdict::LeftOut(None), "it says which rows are for training, validation and test".into());
    }
    if let Some(reason) = words_of_splits(facts) {
        return guess(Verdict::LeftOut(None), reason);
    }
    let mut decided = kind_of(facts, is_group);
    if is_group || matches!(decided.verdict, Verdict::LeftOut(None)) {
        return decided;
    }
    let aucs = labels.iter().filter_map(|label| Some((leak::auc_alone(facts, &label.answers)?, label)));
    let best = aucs.max_by(|a, b| a.0.total_cmp(&b.0));
    let by_values = labels.iter().find_map(|label| gives_away(facts, label));
    let by_auc = || {
        let (auc, label) = best.as_ref().filter(|(auc, _)| *auc >= leak::TOO_GOOD)?;
        let name = &label.column;
        Some(format!("it alone predicts label \"{name}\" with AUC {auc:.3}: made of the answer, or measured after it"))
    };
    if let Some(reason) = by_values.or_else(by_auc).or_else(|| named_as_feedback(facts)) {
        let kind = match decided.verdict {
            Verdict::Field(kind) => Some(kind),
            Verdict::LeftOut(kind) => kind,
            Verdict::Label => None,
        };
        return Guess { verdict: Verdict::LeftOut(kind), reason, check: None, ..decided };
    }
    if matches!(decided.verdict, Verdict::Field(_))
        && let Some((auc, label)) = best.filter(|(auc, _)| *auc >= leak::SUSPICIOUS)
    {
        decided.check = Some(format!(
            "\"{}\" alone predicts \"{}\" with AUC {auc:.3}: is it known before the feedback? If not, take its [[field]] out",
            facts.name(),
            label.column
        ));
    }
    decided
}

/// Why nothing can be learned of a column, whatever it is.
fn useless(facts: &Facts) -> Option<String> {
    if facts.name().is_empty() {
        return Some("the column has no name that a recipe could call it by".into());
    }
    match facts.kind() {
        RawType::Null => return Some("no row has a value".into()),
        RawType::Other(what) if what.starts_with("list[f") => {
            return Some(format!(
                "it holds {what}: where each row has as many numbers, such as an embedding, `kind = \"vector\"` with `length` reads it"
            ));
        }
        RawType::Other(what) => return Some(format!("it holds {what}, of which no field is made")),
        _ => {}
    }
    if facts.known == 0 {
        return Some("no row looked at has a value".into());
    }
    let one = facts.distinct() == 1 && facts.nulls() == 0 && *facts.kind() != RawType::List;
    one.then(|| format!("every row holds {}: it tells nothing", facts.examples(1)))
}

/// Words for parts of a split, where the split is not made of them.
fn words_of_splits(facts: &Facts) -> Option<String> {
    let texts = facts.texts().filter(|texts| (2..=3).contains(&texts.len()))?;
    let parts = texts.iter().all(|text| super::split::part(text).is_some()).then(|| facts.examples(3))?;
    Some(format!(
        "it names parts of a split ({parts}); a split by column wants all three of training, validation and test"
    ))
}

/// How the values of a column give a label away, or its name does.
fn gives_away(facts: &Facts, label: &Label) -> Option<String> {
    let name = &label.column;
    if label.kind.is_some() {
        let is_prediction = facts.numbers().is_some() && names::is_prediction_of(facts.name(), name);
        if is_prediction {
            return Some(format!("by its name a prediction of label \"{name}\""));
        }
        let tells = facts.is_binary() && leak::copy(&leak::answers(facts), &label.answers).is_some();
        let tells = tells.then(|| format!("it says in every row whether label \"{name}\" is high: made of the answer"));
        return tells.or_else(|| there_only_where(facts, label));
    }
    if facts.is_binary() {
        let answers = leak::answers(facts);
        if let Some(equal) = leak::copy(&answers, &label.answers) {
            let is = if equal { "equals" } else { "is the contrary of" };
            return Some(format!("it {is} label \"{name}\" in every row: the model would read the answer"));
        }
        let rows = count(leak::only_where(&answers, &label.answers)?);
        Some(format!("label \"{name}\" is 1 in all {rows} rows where it is 1: feedback that comes after, not before"))
    } else if facts.numbers().is_some() && names::is_prediction_of(facts.name(), name) {
        Some(format!("by its name a prediction of label \"{name}\""))
    } else if leak::is_probability(facts, &label.answers) {
        Some(format!("numbers that agree with how often label \"{name}\" is 1: its probability"))
    } else {
        there_only_where(facts, label)
    }
}

/// Says so where a column holds a number above 0, or any text, only in rows where the label is 1: a play time for a click.
fn there_only_where(facts: &Facts, label: &Label) -> Option<String> {
    let is_number = facts.numbers().is_some();
    let is_there = leak::holds_something(facts);
    if is_there.is_empty() || (is_number && facts.range()?.0 < 0.0) {
        return None;
    }
    let rows = count(leak::only_where(&is_there, &label.answers)?);
    let (holds, is) = match (is_number, label.kind.is_some()) {
        (true, false) => ("a number above 0", "is 1"),
        (true, true) => ("a number above 0", "is above its median"),
        (false, false) => ("a value", "is 1"),
        (false, true) => ("a value", "is above its median"),
    };
    let (name, rate) = (&label.column, 100.0 * label.rate());
    let own = if is_number { ". It could be a label of its own, such as kind = \"watch-time\"" } else { "" };
    Some(format!(
        "label \"{name}\" {is} in all {rows} rows where it holds {holds}, and in {rate:.2} % of all rows: measured after the feedback, not before{own}"
    ))
}

/// Why the name says that a column is known only afterwards.
fn named_as_feedback(facts: &Facts) -> Option<String> {
    if facts.is_binary() && names::is_feedback(facts.name()) {
        let why = "0 and 1, named as feedback is: known only after the row was shown. It could be a label of its own";
        return Some(why.into());
    }
    let measured = !facts.is_binary() && facts.numbers().is_some() && names::is_measured_feedback(facts.name());
    measured.then(|| "a number named as feedback is: measured only after the row was shown".into())
}

/// The kind of a column by its values and its name.
fn kind_of(facts: &Facts, is_group: bool) -> Guess {
    let guess = |verdict, reason| Guess::of(facts, verdict, reason);
    let field = |kind, reason| guess(Verdict::Field(kind), reason);
    let distinct = count(facts.distinct());
    let category = || Kind::Category { min_count: min_count(facts) };
    match facts.kind() {
        RawType::Boolean => field(category(), "true and false".into()),
        RawType::Integer if is_group => field(category(), format!("the group; {distinct} different integers")),
        RawType::Text if is_group => field(category(), format!("the group; {distinct} different texts")),
        RawType::Integer if row_number(facts) => guess(
            Verdict::LeftOut(Some(category())),
            "every row has an integer of its own: it numbers the rows, and no row to come will have one of these"
                .into(),
        ),
        RawType::Integer => {
            let (low, high) = facts.range().unwrap_or_default();
            let between = format!("{distinct} different integers from {low} to {high}");
            let dense = low >= 0.0 && high - low < 2.0 * facts.distinct() as f64;
            if names::is_id(facts.name()) {
                field(category(), format!("an id by its name; {between}"))
            } else if facts.distinct() <= CODES {
                field(category(), format!("few integers, taken for codes; {between}"))
            } else if names::is_quantity(facts.name()) {
                number(facts, format!("a quantity by its name; {between}"), None)
            } else if dense {
                field(category(), format!("most integers of their range occur, as those of ids do; {between}"))
            } else if low >= 1e6 {
                field(category(), format!("large integers, taken for ids; {between}"))
            } else {
                number(facts, format!("{between}, with gaps"), None)
            }
        }
        RawType::Float => {
            let whole =
                facts.numbers().is_some_and(|numbers| numbers.iter().all(|x| x.fract() == 0.0 && x.abs() < 9e15));
            if whole && (facts.distinct() <= CODES || names::is_id(facts.name())) {
                let reason = format!("whole numbers written with a point, taken for codes; {distinct} different");
                let cast = format!("CAST({} AS BIGINT)", quoted(facts.name()));
                Guess { expression: Some(cast), ..field(category(), reason) }
            } else {
                number(facts, format!("{distinct} different numbers"), None)
            }
        }
        RawType::List => match lists::max_len(&facts.column.lengths) {
            Some((max_len, longest)) => field(
                Kind::Sequence { separator: None, max_len },
                format!("lists of up to {longest} values, {distinct} different ones"),
            ),
            None => guess(Verdict::LeftOut(None), "every list is empty".into()),
        },
        _ => text(facts),
    }
}

fn text(facts: &Facts) -> Guess {
    let guess = |verdict, reason| Guess::of(facts, verdict, reason);
    let distinct = count(facts.distinct());
    let Some(texts) = facts.texts() else {
        return guess(Verdict::LeftOut(None), "its values are of several types".into());
    };
    let category = Kind::Category { min_count: min_count(facts) };
    if !names::is_id(facts.name()) && facts.distinct() > CODES && is_number_with_gaps(&texts) {
        let cast = format!("TRY_CAST({} AS DOUBLE)", quoted(facts.name()));
        return number(facts, "numbers, with words such as NA where there is none".into(), Some(cast));
    }
    if texts.iter().all(|text| text.starts_with('[') && text.ends_with(']')) {
        let how = "write them as values between bars, a|b|c, and it is a sequence";
        return guess(Verdict::LeftOut(None), format!("lists in brackets ({}): {how}", facts.examples(1)));
    }
    if let Some(list) = lists::list_of(facts) {
        let kind = Kind::Sequence { separator: Some(list.separator.to_string()), max_len: list.max_len };
        let (longest, separator, different) = (list.longest, list.separator, count(list.different));
        let reason = format!("lists of up to {longest} values between \"{separator}\", {different} different ones");
        return guess(Verdict::Field(kind), reason);
    }
    let words = texts.iter().map(|text| text.split_whitespace().count()).sum::<usize>() as f64 / texts.len() as f64;
    let known = count(facts.known);
    let own = facts.known >= UNIQUE && facts.repeats() < 1.2;
    if words >= 4.0 && (own || facts.repeats() < 2.0) {
        let kind = Kind::Sequence { separator: Some(" ".into()), max_len: 20 };
        let texts = format!("prose of {words:.0} words, {distinct} different texts in {known} rows");
        return guess(Verdict::LeftOut(Some(kind)), format!("{texts}; as a sequence its words would be read"));
    }
    if own {
        let texts = format!("almost every row has a text of its own ({distinct} in {known} rows)");
        return guess(Verdict::LeftOut(Some(category)), format!("{texts}: none is seen often enough to learn"));
    }
    let digits = texts.iter().all(|text| text.bytes().all(|b| b.is_ascii_digit()));
    if digits && texts.iter().any(|text| text.starts_with('0')) {
        let reason = format!("codes with leading zeros, kept as text; {distinct} different");
        return guess(Verdict::Field(category), reason);
    }
    guess(Verdict::Field(category), format!("{distinct} different texts ({})", facts.examples(3)))
}

/// A number to be standardised.
fn number(facts: &Facts, reason: String, expression: Option<String>) -> Guess {
    let check = tail(facts).filter(|far| *far > 20.0).map(|far| {
        let name = quoted(facts.name());
        format!(
            "\"{}\" has a long tail: its largest value lies {far:.0} standard deviations from the mean. LN({name} + 1) AS {name} in the `sql` would tame it",
            facts.name()
        )
    });
    Guess { expression, check, ..Guess::of(facts, Verdict::Field(Kind::Number), reason) }
}

/// How far the farthest number lies from the mean, in standard deviations.
fn tail(facts: &Facts) -> Option<f64> {
    let numbers = facts.numbers()?;
    let weighted = |value: &dyn Fn(f64) -> f64| {
        numbers.iter().zip(&facts.counts).map(|(&x, &n)| value(x) * f64::from(n)).sum::<f64>() / facts.known as f64
    };
    let mean = weighted(&|x| x);
    let std = weighted(&|x| (x - mean) * (x - mean)).sqrt();
    let (low, high) = facts.range()?;
    (std > 0.0).then(|| (high - mean).max(mean - low) / std)
}

/// Whether a column of integers numbers the rows.
fn row_number(facts: &Facts) -> bool {
    facts.known >= UNIQUE
        && facts.is_unique()
        && (names::is_id(facts.name()) || facts.ascends() || (facts.known >= 1000 && !names::is_quantity(facts.name())))
}

/// Whether all texts are numbers but for words that say that there is none.
fn is_number_with_gaps(texts: &[&str]) -> bool {
    const NONE: [&str; 10] = ["na", "n/a", "null", "none", "nan", "\\n", "-", "?", "inf", "-inf"];
    let (gaps, rest): (Vec<&str>, Vec<&str>) =
        texts.iter().partition(|text| NONE.contains(&text.to_lowercase().as_str()));
    !gaps.is_empty() && !rest.is_empty() && rest.iter().all(|text| text.parse::<f64>().is_ok_and(f64::is_finite))
}

/// Rarer values are not worth a row of the table: the most of 5, 2 and 1 that costs few of the known rows.
fn min_count(facts: &Facts) -> u32 {
    if facts.distinct() <= CODES {
        1
    } else if facts.rare(5) <= 0.05 {
        5
    } else {
        2
    }
}
