//! What no model could use is refused.

use std::collections::HashSet;

use super::{FieldKind, Schema, Task};
use crate::error::{Error, Result};
use crate::transform::Transform;

/// Most slots that a row of a batch may have.
const MOST_SLOTS: usize = 65_536;

impl Schema {
    /// Refuses a schema no model could use: nothing to read or learn, names twice, pointers to nowhere, sizes of 0.
    ///
    /// # Errors
    /// [`Error::Schema`] with the first fault and its names.
    pub fn check(&self) -> Result<()> {
        let checked = self.check_names().and_then(|()| self.check_fields()).and_then(|()| self.check_spaces());
        checked.and_then(|()| self.check_sizes()).map_err(|what| Error::Schema { what })
    }

    fn check_names(&self) -> Result<(), String> {
        if self.fields.is_empty() {
            return Err("it has no fields: name at least one".into());
        }
        if self.tasks.is_empty() {
            return Err("it has no tasks: name at least one label".into());
        }
        let fields = self.fields.iter().map(|f| ("field", &f.name));
        let tasks = self.tasks.iter().map(|t| ("task", &t.name));
        let vocabularies = self.vocabularies.iter().map(|v| ("vocabulary", &v.name));
        let mut seen = HashSet::new();
        match fields.chain(tasks).chain(vocabularies).find(|named| !seen.insert(*named)) {
            Some((what, name)) => Err(format!("{what} '{name}' appears twice")),
            None => Ok(()),
        }
    }

    fn check_fields(&self) -> Result<(), String> {
        for field in &self.fields {
            let (name, count) = (&field.name, self.vocabularies.len());
            let Some(vocabulary) = self.vocabularies.get(field.vocabulary) else {
                return Err(format!("field '{name}' points at vocabulary {} of {count}", field.vocabulary));
            };
            let owner = || format!("vocabulary '{}' of field '{name}' has {} rows", vocabulary.name, vocabulary.rows);
            match field.kind {
                FieldKind::Number { std, mean } if !(std.is_finite() && std > 0.0 && mean.is_finite()) => {
                    return Err(format!(
                        "number '{name}' has mean {mean} and std {std}: both must be finite, std positive"
                    ));
                }
                FieldKind::Number { .. } if vocabulary.rows != 1 => {
                    return Err(format!("{}, a number's has exactly 1", owner()));
                }
                FieldKind::Vector { len: 0 } => {
                    return Err(format!("vector '{name}' has no numbers: give it at least 1"));
                }
                FieldKind::Vector { len } if vocabulary.rows != len => {
                    return Err(format!("{}, a vector of {len} numbers has exactly {len}", owner()));
                }
                FieldKind::Number { .. } | FieldKind::Vector { .. } if vocabulary.hashed.is_some() => {
                    return Err(format!("{}, which hashes keys, and it has none", owner()));
                }
                FieldKind::Sequence { max_len: 0, .. } => {
                    return Err(format!("sequence '{name}' has max_len 0: give it at least 1"));
                }
                FieldKind::Category | FieldKind::Sequence { .. } if vocabulary.rows < 2 => {
                    return Err(format!("{}, at least 2 are needed", owner()));
                }
                FieldKind::Category | FieldKind::Sequence { .. }
                    if vocabulary.hashed.is_some() && vocabulary.rows < 3 =>
                {
                    return Err(format!("{}, at least 3 are needed to hash into", owner()));
                }
                _ => {}
            }
            if let Some(fault) = field.transforms.iter().find_map(Transform::fault) {
                return Err(format!("field '{name}' {fault}"));
            }
            let crossed =
                matches!(&field.transforms[..], [Transform::Cross { keys }, ..] if keys.len() == field.columns.len());
            let is_ago = field.transforms.contains(&Transform::Ago);
            let sequence = matches!(field.kind, FieldKind::Sequence { .. });
            let told = sequence && field.columns.len() == 2 && field.transforms.first() == Some(&Transform::Ago);
            if is_ago && !told {
                return Err(format!(
                    "field '{name}' tells how long ago its values were, and is no sequence of two columns, times and the row's time"
                ));
            }
            if let Some(of) = &field.beside {
                let other = self.fields.iter().find(|other| other.name == *of && other.beside.is_none());
                if !sequence || !other.is_some_and(|other| matches!(other.kind, FieldKind::Sequence { .. })) {
                    return Err(format!(
                        "field '{name}' stands beside '{of}': both have to be sequences, and that one beside none"
                    ));
                }
            }
            if field.columns.len() > 1 && !crossed && !told {
                return Err(format!("field '{name}' reads {} columns and does not cross them", field.columns.len()));
            }
        }
        Ok(())
    }

    /// Spaces of samples are tasks, without circles; groups are made by a column that is no label.
    fn check_spaces(&self) -> Result<(), String> {
        let within = |task: &Task| task.within.as_deref().and_then(|space| self.task(space));
        for task in &self.tasks {
            let (name, space) = (&task.name, task.within.as_deref());
            if let Some(space) = space.filter(|space| self.task(space).is_none()) {
                return Err(format!("task '{name}' is within '{space}', which is no task"));
            }
            if let Some(space) = within(task).map(|space| &self.tasks[space]).filter(|space| !space.kind.is_binary()) {
                let (space, kind) = (&space.name, space.kind.name());
                return Err(format!(
                    "task '{name}' is within '{space}', whose label is {kind}: only one of 0 and 1 has positives"
                ));
            }
            if let Some(fault) = task.kind.fault() {
                return Err(format!("task '{name}' {fault}"));
            }
            if let Some(duration) = task.kind.duration()
                && !self.fields.iter().any(|f| f.name == duration && matches!(f.kind, FieldKind::Number { .. }))
            {
                return Err(format!("task '{name}' has the duration '{duration}', which is no field of numbers"));
            }
            let mut spaces = std::iter::successors(within(task), |&space| within(&self.tasks[space]));
            if spaces.by_ref().take(self.tasks.len()).any(|space| self.tasks[space].name == *name) {
                return Err(format!("task '{name}' is within itself, by way of '{}'", space.unwrap_or(name)));
            }
        }
        match self.group.as_deref() {
            Some("") => Err("its group has no name: name a column, or leave it out".into()),
            Some(group) if self.task(group).is_some() => {
                Err(format!("its group '{group}' is a task: name the column of users or requests"))
            }
            _ => Ok(()),
        }
    }

    fn check_sizes(&self) -> Result<(), String> {
        let (slots, rows) = (self.slots(), self.rows());
        if slots > MOST_SLOTS {
            return Err(format!("a row has {slots} slots, at most {MOST_SLOTS} are taken for meant: lower max_len"));
        }
        if i32::try_from(rows).is_err() {
            return Err(format!("its table has {rows} rows, more than the {} that 32-bit ids can name", i32::MAX));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{DurationQuantiles, Field, Keep, Pooling, TaskKind, VocabularySpec};
    use crate::transform::KeyKind;
    use crate::value::Value;

    /// One field of each kind, two tasks.
    fn schema() -> Schema {
        let fields = vec![
            Field::category("user", 0),
            Field::sequence("tags", 1, 3).pooled(Pooling::Sum),
            Field::number("age", 2).standardized(40.0, 10.0),
        ];
        let specs = [("user", 5), ("tags", 4), ("age", 1)].map(|(name, rows)| VocabularySpec::new(name, rows));
        Schema::new(fields, specs.into(), vec![Task::new("click"), Task::new("buy").within("click")]).grouped_by("user")
    }

    #[track_caller]
    fn refused(edit: impl FnOnce(&mut Schema), expected: &str) {
        let mut schema = schema();
        edit(&mut schema);
        let message = schema.check().unwrap_err().to_string();
        assert_eq!(message, format!("the schema cannot be used: {expected}"));
    }

    #[test]
    fn every_fault_is_refused_with_its_names() {
        schema().check().unwrap();
        refused(
            |s| s.vocabularies[2].hashed = Some(KeyKind::Texts),
            "vocabulary 'age' of field 'age' has 1 rows, which hashes keys, and it has none",
        );
        refused(
            |s| s.vocabularies[0] = VocabularySpec::hashed("user", 0, KeyKind::Texts),
            "vocabulary 'user' of field 'user' has 2 rows, at least 3 are needed to hash into",
        );
        let mut hashed = schema();
        hashed.vocabularies[0] = VocabularySpec::hashed("user", 1, KeyKind::Texts);
        hashed.vocabularies[1].rows = 2; // known keys need no third row
        hashed.check().unwrap();
        refused(
            |s| s.fields[0].columns = vec!["user".into(), "page".into()],
            "field 'user' reads 2 columns and does not cross them",
        );
        let mut crossed = schema();
        crossed.fields[0].columns = vec!["user".into(), "page".into()];
        crossed.fields[0].transforms = vec![Transform::Cross { keys: vec![KeyKind::Texts; 2] }];
        crossed.check().unwrap();
        assert!(crossed.is_null(&Value::Null) && crossed.is_null("") && !crossed.is_null(0));
        let mut beside = schema();
        beside.fields.push(Field::sequence("ago", 1, 3).beside("tags"));
        beside.check().unwrap();
        for of in ["user", "ago", "tgas"] {
            refused(
                |s| s.fields.push(Field::sequence("ago", 1, 3).beside(of)),
                &format!("field 'ago' stands beside '{of}': both have to be sequences, and that one beside none"),
            );
        }
        refused(|s| s.fields.clear(), "it has no fields: name at least one");
        refused(|s| s.tasks.clear(), "it has no tasks: name at least one label");
        refused(|s| s.fields[1].name = "user".into(), "field 'user' appears twice");
        refused(|s| s.tasks[1].name = "click".into(), "task 'click' appears twice");
        refused(|s| s.vocabularies[2].name = "user".into(), "vocabulary 'user' appears twice");
        refused(|s| s.fields[0].vocabulary = 3, "field 'user' points at vocabulary 3 of 3");
        refused(|s| s.fields[1] = Field::sequence("tags", 1, 0), "sequence 'tags' has max_len 0: give it at least 1");
        refused(|s| s.vocabularies[0].rows = 1, "vocabulary 'user' of field 'user' has 1 rows, at least 2 are needed");
        refused(|s| s.vocabularies[1].rows = 0, "vocabulary 'tags' of field 'tags' has 0 rows, at least 2 are needed");
        refused(
            |s| s.fields[2].vocabulary = 0,
            "vocabulary 'user' of field 'age' has 5 rows, a number's has exactly 1",
        );
        refused(|s| s.vocabularies[2].rows = 0, "vocabulary 'age' of field 'age' has 0 rows, a number's has exactly 1");
        refused(|s| s.tasks[1].within = Some("like".into()), "task 'buy' is within 'like', which is no task");
        refused(|s| s.tasks[1].within = Some("buy".into()), "task 'buy' is within itself, by way of 'buy'");
        refused(|s| s.tasks[0].within = Some("buy".into()), "task 'click' is within itself, by way of 'buy'");
        let by = |duration: &str| TaskKind::WatchQuantile(DurationQuantiles::unfitted(duration));
        refused(|s| s.tasks[0].kind = by("tags"), "task 'click' has the duration 'tags', which is no field of numbers");
        let mut lasting = schema();
        (lasting.tasks[0].kind, lasting.tasks[1].within) = (by("age"), None);
        lasting.check().unwrap();
        assert_eq!(lasting.duration_slots(), [Some(4), None]);
        refused(|s| s.group = Some(String::new()), "its group has no name: name a column, or leave it out");
        refused(|s| s.group = Some("buy".into()), "its group 'buy' is a task: name the column of users or requests");
        refused(
            |s| s.fields[1] = Field::sequence("tags", 1, 65_535),
            "a row has 65537 slots, at most 65536 are taken for meant: lower max_len",
        );
    }

    #[test]
    fn a_number_is_divided_by_a_positive_finite_std() {
        for (mean, std) in [(0.0, 0.0), (0.0, -1.0), (0.0, f32::NAN), (0.0, f32::INFINITY), (f32::NAN, 1.0)] {
            refused(
                |s| s.fields[2] = Field::number("age", 2).standardized(mean, std),
                &format!("number 'age' has mean {mean} and std {std}: both must be finite, std positive"),
            );
        }
    }

    #[test]
    fn a_table_has_as_many_rows_as_an_i32_names() {
        let largest = i32::MAX as usize - 5; // beside 4 rows of tags and 1 of age
        let mut schema = schema();
        schema.vocabularies[0].rows = largest;
        schema.check().unwrap();
        refused(
            |s| s.vocabularies[0].rows = largest + 1,
            "its table has 2147483648 rows, more than the 2147483647 that 32-bit ids can name",
        );
        refused(
            |s| s.vocabularies[0].rows = usize::MAX,
            "its table has 18446744073709551615 rows, more than the 2147483647 that 32-bit ids can name",
        );
    }

    #[test]
    fn one_task_alone_is_a_schema_too() {
        schema().only_task(1).check().unwrap();
    }

    #[test]
    fn a_field_is_built_kind_by_kind() {
        let kind = FieldKind::Sequence { max_len: 4, pooling: Pooling::Sum, keep: Keep::First };
        let field = Field::sequence("tags", 1, 4).pooled(Pooling::Sum).separated_by("|").with_default("a");
        let expected = Field { separator: Some("|".into()), default: Some("a".into()), ..Field::new("tags", kind, 1) };
        assert_eq!(field, expected);
        assert_eq!(Field::category("a", 0).pooled(Pooling::Sum).standardized(1.0, 2.0).kind, FieldKind::Category);
        assert_eq!(Field::number("a", 0).kind, FieldKind::Number { mean: 0.0, std: 1.0 });
    }
}
