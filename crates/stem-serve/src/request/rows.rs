//! The rows of a request, by column: those that a model reads, and nothing else.

use std::collections::HashSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use stem_core::{Cells, Columns, Value, ValueRef};

use super::value::ValueSeed;
use super::{Fault, Skip, nearest, no_fault, read};
use crate::refusal::{Refusal, shortened};

/// Rows by column.
#[derive(Debug, PartialEq)]
pub(crate) struct Rows {
    count: usize,
    /// In the order of the names that were asked for; those that are there.
    found: Vec<(String, Found)>,
}

/// The values of a column.
#[derive(Debug, PartialEq)]
enum Found {
    Shared(Value),
    /// A value for each row, null where there is none; and the first row where there is none.
    Each(Cells<'static>, Option<usize>),
}

/// How rows are read.
#[derive(Clone, Copy)]
struct Reading<'a> {
    fault: &'a Fault,
    known: &'a [&'a str],
    ignore_unknown: bool,
    limit: usize,
}

impl Rows {
    /// Reads the rows of a body, of which the columns `known` are kept.
    pub(crate) fn read(body: &[u8], known: &[&str], ignore_unknown: bool, limit: usize) -> Result<Self, Refusal> {
        let fault = no_fault();
        let reading = Reading { fault: &fault, known, ignore_unknown, limit };
        let (shared, own) = read(body, BodySeed { reading, has_table: false }, &fault)?;
        let (count, own) = own.ok_or(Refusal::NoRows)?;
        Self::of(known, count, shared, own)
    }

    /// The rows of a table `own` of `count` rows, which has cells for each known column or none, and what they share, of the `settings` that
    /// came with it.
    #[cfg_attr(not(any(feature = "arrow", feature = "grpc")), allow(dead_code))]
    pub(crate) fn of_table(
        settings: &[u8],
        (known, ignore_unknown): (&[&str], bool),
        (count, own): (usize, Vec<Option<Cells<'static>>>),
    ) -> Result<Self, Refusal> {
        let fault = no_fault();
        let reading = Reading { fault: &fault, known, ignore_unknown, limit: 0 };
        let (shared, _) = read(settings, BodySeed { reading, has_table: true }, &fault)?;
        Self::of(known, count, shared, own.into_iter().map(|cells| Some((cells?, None))).collect())
    }

    fn of(
        known: &[&str],
        count: usize,
        shared: Vec<Option<Value>>,
        own: Vec<Option<OwnCells>>,
    ) -> Result<Self, Refusal> {
        let (mut shared, mut found) = (shared.into_iter(), Vec::new());
        for (name, own) in known.iter().zip(own) {
            let name = (*name).to_string();
            match (shared.next().flatten(), own) {
                (Some(_), Some(_)) => return Err(Refusal::DuplicateKey { key: name, row: None }),
                (Some(value), None) => found.push((name, Found::Shared(value))),
                (None, Some((cells, hole))) => found.push((name, Found::Each(cells, hole))),
                (None, None) => {}
            }
        }
        Ok(Self { count, found })
    }

    /// `B`
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The value of a column, where it is one in all rows.
    pub(crate) fn only_value(&self, column: &str) -> Result<Option<ValueRef<'_>>, Refusal> {
        let found = self.found.iter().find(|(name, _)| name == column);
        match found.map(|(_, found)| found) {
            None => Ok(None),
            Some(Found::Shared(value)) => Ok(Some(value.into())),
            Some(Found::Each(cells, _)) if cells.iter().skip(1).all(|cell| Some(cell) == cells.get(0)) => {
                Ok(cells.get(0))
            }
            Some(Found::Each(..)) => Err(Refusal::SeveralModels { column: column.into() }),
        }
    }

    /// Refuses rows that lack a column of a model.
    pub(crate) fn check(&self, columns: &[&str]) -> Result<(), Refusal> {
        for column in columns.iter().filter(|_| self.count > 0) {
            let row = match self.found.iter().find(|(name, _)| name == column) {
                Some((_, Found::Each(_, Some(row)))) => *row,
                Some(_) => continue,
                None => 0,
            };
            let (column, columns) = ((*column).into(), columns.join(", "));
            return Err(Refusal::MissingColumn { column, row, columns });
        }
        Ok(())
    }

    /// The columns as a model takes them.
    pub(crate) fn into_columns(self) -> Columns<'static> {
        self.found.into_iter().fold(Columns::new(self.count), |columns, (name, found)| match found {
            Found::Shared(value) => columns.shared(name, value),
            Found::Each(cells, _) => columns.column(name, cells),
        })
    }
}

impl Reading<'_> {
    /// The place of a column, or none where it is to be left out.
    fn place<E: serde::de::Error>(
        &self,
        column: &str,
        hint: usize,
        row: Option<usize>,
        left_out: &mut HashSet<String>,
    ) -> Result<Option<usize>, E> {
        if self.known.get(hint).is_some_and(|known| *known == column) {
            return Ok(Some(hint)); // rows have their columns in one order, as a rule
        }
        if let Some(place) = self.known.iter().position(|known| *known == column) {
            return Ok(Some(place));
        }
        if !self.ignore_unknown {
            let nearest = nearest(column, self.known.iter().copied());
            return Err(self.fault.refuse(Refusal::UnknownColumn { column: shortened(column.into()), row, nearest }));
        }
        if !left_out.insert(column.into()) {
            return Err(self.fault.refuse(Refusal::DuplicateKey { key: shortened(column.into()), row }));
        }
        Ok(None)
    }

    /// Gives the place of each column of an object to `take`, which reads its value; values that are to be left out are skipped.
    fn columns<'de, A: MapAccess<'de>>(
        self,
        mut map: A,
        row: Option<usize>,
        mut take: impl FnMut(usize, &mut A) -> Result<(), A::Error>,
    ) -> Result<(), A::Error> {
        let (mut left_out, mut hint) = (HashSet::new(), 0);
        while let Some(place) = map.next_key_seed(ColumnSeed { reading: self, hint, row, left_out: &mut left_out })? {
            match place {
                Some(place) => {
                    hint = place + 1;
                    take(place, &mut map)?;
                }
                None => map.next_value_seed(Skip)?,
            }
        }
        Ok(())
    }

    fn value<'a>(&'a self, column: &'a str, row: Option<usize>) -> ValueSeed<'a> {
        ValueSeed { fault: self.fault, column, row, is_inner: false }
    }

    fn twice<E: serde::de::Error>(&self, place: usize, row: Option<usize>) -> E {
        self.fault.refuse(Refusal::DuplicateKey { key: self.known[place].into(), row })
    }
}

/// The whole body.
struct BodySeed<'a> {
    reading: Reading<'a>,
    /// Whether its rows are a table beside it.
    has_table: bool,
}

impl<'de> DeserializeSeed<'de> for BodySeed<'_> {
    type Value = (Vec<Option<Value>>, Option<Own>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BodySeed<'_> {
    type Value = (Vec<Option<Value>>, Option<Own>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { reading, has_table } = self;
        let (mut shared, mut own) = (vec![], None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "shared" => shared = map.next_value_seed(SharedSeed(reading))?,
                "rows" | "columns" if has_table => {
                    let (found, expected) = ("there beside a table".into(), "no rows but the table's".into());
                    return Err(reading.fault.refuse(Refusal::Setting { key, found, expected }));
                }
                "rows" | "columns" if own.is_some() => {
                    let (found, expected) = ("there beside the other".into(), "either \"rows\" or \"columns\"".into());
                    return Err(reading.fault.refuse(Refusal::Setting { key, found, expected }));
                }
                "rows" => own = Some(map.next_value_seed(RowsSeed(reading))?),
                "columns" => own = Some(map.next_value_seed(ColumnsSeed(reading))?),
                _ => map.next_value_seed(Skip)?,
            }
        }
        Ok((shared, own))
    }
}

/// `{COLUMN: VALUE, ...}` of all rows; gives a value for each known column, or none.
struct SharedSeed<'a>(Reading<'a>);

impl<'de> DeserializeSeed<'de> for SharedSeed<'_> {
    type Value = Vec<Option<Value>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SharedSeed<'_> {
    type Value = Vec<Option<Value>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of values that all rows share")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let Self(reading) = self;
        let mut values = vec![None; reading.known.len()];
        reading.columns(map, None, |place, map| {
            if values[place].is_some() {
                return Err(reading.twice(place, None));
            }
            values[place] = Some(map.next_value_seed(reading.value(reading.known[place], None))?);
            Ok(())
        })?;
        Ok(values)
    }
}

/// What rows have of their own: their number; for each known column its values and its first hole, or none.
type Own = (usize, Vec<Option<OwnCells>>);
type OwnCells = (Cells<'static>, Option<usize>);

/// `{COLUMN: [VALUE, ...], ...}`
struct ColumnsSeed<'a>(Reading<'a>);

impl<'de> DeserializeSeed<'de> for ColumnsSeed<'_> {
    type Value = Own;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Own, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ColumnsSeed<'_> {
    type Value = Own;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of a list by column")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Own, A::Error> {
        let Self(reading) = self;
        let (mut columns, mut count) = (vec![None; reading.known.len()], None);
        reading.columns(map, None, |place, map| {
            if columns[place].is_some() {
                return Err(reading.twice(place, None));
            }
            let values: Vec<Value> = map.next_value_seed(ListSeed { reading, column: reading.known[place] })?;
            let (found, expected) = (values.len(), *count.get_or_insert(values.len()));
            if found != expected {
                let column = reading.known[place].into();
                return Err(reading.fault.refuse(Refusal::Length { column, found, expected }));
            }
            columns[place] = Some((values.into(), None));
            Ok(())
        })?;
        match count {
            Some(count) => Ok((count, columns)),
            None => Err(reading.fault.refuse(Refusal::NoRows)),
        }
    }
}

/// A value for each row.
struct ListSeed<'a> {
    reading: Reading<'a>,
    column: &'a str,
}

impl<'de> DeserializeSeed<'de> for ListSeed<'_> {
    type Value = Vec<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListSeed<'_> {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list with a value of column '{}' for each row (\"shared\" holds what all rows share)", self.column)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let Reading { fault, limit, .. } = self.reading;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.reading.value(self.column, Some(values.len())))? {
            if values.len() == limit {
                return Err(fault.refuse(Refusal::TooManyRows { limit }));
            }
            values.push(value);
        }
        Ok(values)
    }
}

/// `[{COLUMN: VALUE, ...}, ...]`
struct RowsSeed<'a>(Reading<'a>);

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = Own;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Own, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = Own;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Own, A::Error> {
        let Self(reading) = self;
        let mut columns = vec![Collected::default(); reading.known.len()];
        let mut count = 0;
        while items.next_element_seed(RowSeed { reading, row: count, columns: &mut columns })?.is_some() {
            count += 1;
        }
        let own = |column: Collected| column.is_there.then(|| (column.values.into(), column.hole));
        Ok((count, columns.into_iter().map(own).collect()))
    }
}

/// The values of a column, row after row.
#[derive(Clone, Default)]
struct Collected {
    values: Vec<Value>,
    /// The first row without a value.
    hole: Option<usize>,
    is_there: bool,
}

/// `{COLUMN: VALUE, ...}` of one row.
struct RowSeed<'a, 'c> {
    reading: Reading<'a>,
    row: usize,
    columns: &'c mut [Collected],
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}: an object of a value by column", self.row)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Self { reading, row, columns } = self;
        if row == reading.limit {
            return Err(reading.fault.refuse(Refusal::TooManyRows { limit: reading.limit }));
        }
        let at = Some(row);
        reading.columns(map, at, |place, map| {
            if columns[place].values.len() > row {
                return Err(reading.twice(place, at));
            }
            let value = map.next_value_seed(reading.value(reading.known[place], at))?;
            columns[place].values.push(value);
            columns[place].is_there = true;
            Ok(())
        })?;
        for column in columns.iter_mut().filter(|column| column.values.len() == row) {
            column.values.push(Value::Null);
            column.hole.get_or_insert(row);
        }
        Ok(())
    }
}

/// The name of a column: its place among the known ones, or none where it is to be left out.
struct ColumnSeed<'a, 's> {
    reading: Reading<'a>,
    hint: usize,
    row: Option<usize>,
    left_out: &'s mut HashSet<String>,
}

impl<'de> DeserializeSeed<'de> for ColumnSeed<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for ColumnSeed<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column")
    }

    fn visit_str<E: serde::de::Error>(self, column: &str) -> Result<Self::Value, E> {
        self.reading.place(column, self.hint, self.row, self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: &[&str] = &["user", "item", "tags"];

    fn rows(body: &str) -> Result<Rows, Refusal> {
        Rows::read(body.as_bytes(), KNOWN, false, 3)
    }

    #[test]
    fn rows_and_columns_are_the_same_rows() {
        let each =
            rows(r#"{"rows": [{"user": 7, "item": "a", "tags": ["x", 1]}, {"tags": null, "item": 2.5, "user": 7}]}"#);
        let columns = rows(r#"{"columns": {"tags": [["x", 1], null], "item": ["a", 2.5]}, "shared": {"user": 7}}"#);
        let (each, columns) = (each.unwrap(), columns.unwrap());
        assert_eq!((each.count(), columns.count()), (2, 2));
        assert_eq!(each.only_value("user").unwrap(), columns.only_value("user").unwrap());
        assert_eq!(each.only_value("item").unwrap_err().kind(), "several-models");
        each.check(KNOWN).unwrap();
        columns.check(KNOWN).unwrap();
        let (each, columns) = (each.into_columns(), columns.into_columns());
        for row in 0..2 {
            assert!(
                KNOWN.iter().all(|name| each.get(row, name).is_some() && each.get(row, name) == columns.get(row, name))
            );
        }
        assert!(columns.is_shared("user") && !each.is_shared("user"));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_column_and_row() {
        let told = |body: &str| rows(body).unwrap_err();
        let column = |column: &str, row, nearest: Option<&str>| Refusal::UnknownColumn {
            column: column.into(),
            row,
            nearest: nearest.map(String::from),
        };
        assert_eq!(told(r#"{"rows": [{"user": 1}, {"usr": 1}]}"#), column("usr", Some(1), Some("user")));
        assert_eq!(told(r#"{"shared": {"zz": 1}, "rows": []}"#), column("zz", None, None));
        assert_eq!(told(r#"{"columns": {"Item": [1]}}"#), column("Item", None, Some("item")));
        let twice = |row| Refusal::DuplicateKey { key: "user".into(), row };
        assert_eq!(told(r#"{"rows": [{"user": 1, "user": 1}]}"#), twice(Some(0)));
        assert_eq!(told(r#"{"shared": {"user": 1, "user": 1}, "rows": []}"#), twice(None));
        assert_eq!(told(r#"{"columns": {"user": [1], "user": [1]}}"#), twice(None));
        assert_eq!(told(r#"{"shared": {"user": 1}, "rows": [{"user": 1}]}"#), twice(None));
        let length = Refusal::Length { column: "item".into(), found: 1, expected: 2 };
        assert_eq!(told(r#"{"columns": {"user": [1, 2], "item": [1]}}"#), length);
        for body in
            [r#"{"rows": [{"tags": {}}]}"#, r#"{"rows": [{"tags": {"a": 1}}]}"#, r#"{"rows": [{"tags": [[1]]}]}"#]
        {
            assert!(
                matches!(told(body), Refusal::WrongType { column, row: Some(0), .. } if column == "tags"),
                "{body}"
            );
        }
        assert_eq!(told(r#"{"rows": [{}, {}, {}, {}]}"#), Refusal::TooManyRows { limit: 3 });
        assert_eq!(told(r#"{"columns": {"user": [1, 2, 3, 4]}}"#), Refusal::TooManyRows { limit: 3 });
        for body in ["{}", r#"{"shared": {"user": 1}}"#, r#"{"columns": {}}"#] {
            assert_eq!(told(body), Refusal::NoRows);
        }
        assert_eq!(told(r#"{"rows": [], "columns": {"user": []}}"#).kind(), "setting");
        assert!(told(r#"{"columns": {"user": 7}}"#).to_string().contains("a value of column 'user' for each row"));
        assert!(told(r#"{"rows": [7]}"#).to_string().contains("row 0: an object of a value by column"));
        let missing =
            rows(r#"{"rows": [{"user": 1, "item": 1, "tags": 1}, {"user": 1, "item": 1}]}"#).unwrap().check(KNOWN);
        assert!(matches!(missing, Err(Refusal::MissingColumn { column, row: 1, .. }) if column == "tags"));
        let missing = rows(r#"{"columns": {"user": [1]}}"#).unwrap().check(KNOWN);
        assert!(matches!(missing, Err(Refusal::MissingColumn { column, row: 0, .. }) if column == "item"));
    }

    #[test]
    fn unknown_columns_are_left_out_where_that_was_asked_for() {
        let body = br#"{"rows": [{"user": 1, "other": {"deep": [1, {}]}, "more": 2}], "shared": {"third": []}}"#;
        let read = Rows::read(body, KNOWN, true, 3).unwrap();
        assert_eq!(read.into_columns(), Columns::new(1).column("user", vec![Value::from(1)]));
        let twice = Rows::read(br#"{"rows": [{"x": 1, "x": 2}]}"#, KNOWN, true, 3).unwrap_err();
        assert_eq!(twice, Refusal::DuplicateKey { key: "x".into(), row: Some(0) });
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), ignore: bool) {
            _ = Rows::read(&body, KNOWN, ignore, 3);
        }

        #[test]
        fn no_json_makes_it_panic(pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"rows\"", "\"user\"", "\"shared\"", "\"columns\"", "1", "null", "1e999", "\"\\ud800\"", "-", "true",
        ]), 0..40), ignore: bool) {
            _ = Rows::read(pieces.concat().as_bytes(), KNOWN, ignore, 3);
        }
    }
}
