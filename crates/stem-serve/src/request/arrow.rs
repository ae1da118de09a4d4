//! Rows as an Arrow IPC stream. Its buffers stay where the body has them: a request in Arrow costs its body, and what its rows are looked up to.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{Message, root_as_message};
use arrow_schema::ArrowError;
use arrow_select::concat::concat_batches;
use stem_core::Cells;
use stem_core::arrow::repeated_text_bytes;

use super::{Rows, place_of};
use crate::config::Limits;
use crate::refusal::{Refusal, shortened};

/// The key of a schema's metadata under which a request's settings are, and what its rows share: the JSON object without "rows" and "columns".
const SETTINGS: &str = "stem.request";
/// Before the length of a message, since version 0.15 of the format.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// A table as it came.
pub(crate) struct Table {
    settings: String,
    rows: RecordBatch,
    /// Bytes of texts that stand once and are read often.
    text_bytes: usize,
}

impl Table {
    /// Reads a whole stream. A reader takes what a message says of itself for granted and allocates by it, so that is held to the bytes that
    /// are there first.
    ///
    /// # Errors
    /// A stream that is none, that is compressed, that claims more than it has, or has more rows than it may.
    pub(crate) fn read(body: Vec<u8>, limits: &Limits) -> Result<Self, Refusal> {
        check_messages(&body, limits.rows)?;
        let decode = || -> Result<RecordBatch, ArrowError> {
            let (mut decoder, mut buffer, mut batches) = (StreamDecoder::new(), Buffer::from(body), Vec::new());
            while !buffer.is_empty() {
                batches.extend(decoder.decode(&mut buffer)?);
            }
            decoder.finish()?;
            let schema = decoder.schema().ok_or_else(|| ArrowError::IpcError("it has no schema".into()))?;
            match batches.len() {
                1 => Ok(batches.remove(0)),
                _ => concat_batches(&schema, &batches),
            }
        };
        // arrow-rs panics on some schemas that no writer makes
        let decoded = catch_unwind(AssertUnwindSafe(decode))
            .unwrap_or_else(|_| Err(ArrowError::IpcError("its schema is none".into())));
        let rows = decoded.map_err(|error| unreadable(&error.to_string()))?;
        let settings = rows.schema_ref().metadata().get(SETTINGS).cloned().unwrap_or_else(|| "{}".into());
        Ok(Self { settings, rows, text_bytes: limits.body_bytes })
    }

    pub(crate) fn settings(&self) -> &[u8] {
        self.settings.as_bytes()
    }

    /// The rows, of which the columns `known` are kept.
    pub(crate) fn rows(&self, known: &[&str], ignore_unknown: bool) -> Result<Rows, Refusal> {
        let mut own = vec![None; known.len()];
        let mut text_bytes = 0;
        for (field, array) in self.rows.schema_ref().fields().iter().zip(self.rows.columns()) {
            let Some(place) = place_of(field.name(), known, &own, ignore_unknown)? else { continue };
            let cells = Cells::arrow(known[place], array.clone())?;
            text_bytes += repeated_text_bytes(array);
            if text_bytes > self.text_bytes as u64 {
                return Err(Refusal::TooLarge { limit: self.text_bytes }); // one text of a dictionary, in every row
            }
            own[place] = Some(cells);
        }
        Rows::of_table(self.settings(), (known, ignore_unknown), (self.rows.num_rows(), own))
    }
}

fn unreadable(what: &str) -> Refusal {
    Refusal::Body { what: format!("it is no Arrow IPC stream that can be read: {}", shortened(what.into())) }
}

/// Holds what messages say of themselves to the bytes that are there.
fn check_messages(mut rest: &[u8], limit: usize) -> Result<(), Refusal> {
    let (mut rows, mut dictionaries) = (0u64, HashSet::new());
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(&CONTINUATION) {
            rest = after;
        }
        let (size, after) = rest.split_first_chunk().ok_or_else(|| unreadable("it is cut within a message"))?;
        let size = u32::from_le_bytes(*size) as usize;
        if size == 0 {
            break; // the end; what follows it is for the reader to refuse
        }
        let (head, after) = after.split_at_checked(size).ok_or_else(|| unreadable("it is cut within a message"))?;
        let message = root_as_message(head).map_err(|error| unreadable(&error.to_string()))?;
        let body = usize::try_from(message.bodyLength()).ok().and_then(|length| after.split_at_checked(length));
        let (body, after) = body.ok_or_else(|| unreadable("it is cut within the body of a message"))?;
        rows = rows.saturating_add(check_message(&message, body.len())?);
        if let Some(dictionary) = message.header_as_dictionary_batch()
            && (dictionary.isDelta() || !dictionaries.insert(dictionary.id()))
        {
            // each would be copied for every batch before and after it
            return Err(unreadable("a dictionary comes in parts or twice: write one for all batches"));
        }
        if rows > limit as u64 {
            return Err(Refusal::TooManyRows { limit });
        }
        rest = after;
    }
    Ok(())
}

/// Gives the rows of a message.
fn check_message(message: &Message<'_>, body: usize) -> Result<u64, Refusal> {
    let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let Some(batch) = message.header_as_record_batch().or(dictionary) else { return Ok(0) };
    if batch.compression().is_some() {
        return Err(unreadable("its buffers are compressed: write them plain"));
    }
    let lengths =
        batch.buffers().into_iter().flatten().map(|buffer| u64::try_from(buffer.length()).unwrap_or(u64::MAX));
    if lengths.fold(0, u64::saturating_add) > body as u64 {
        return Err(unreadable("a message has more in its buffers than in its body"));
    }
    match dictionary {
        Some(_) => Ok(0),
        None => u64::try_from(batch.length()).map_err(|_| unreadable("a batch of less than no rows")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::types::Int8Type;
    use arrow_array::{ArrayRef, DictionaryArray, Float32Array, Int64Array, StringArray};
    use arrow_ipc::writer::StreamWriter;
    use arrow_schema::{Field, Schema};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::request::{Head, check_depth};

    const KNOWN: &[&str] = &["user", "tags", "age"];

    fn limits() -> Limits {
        Limits { rows: 100, body_bytes: 5000, ..Limits::default() }
    }

    /// A stream of batches of these columns, each `parts` of the rows.
    fn stream(columns: Vec<(&str, ArrayRef)>, settings: &str, parts: usize) -> Vec<u8> {
        let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
        let metadata = HashMap::from([(SETTINGS.to_string(), settings.to_string())]);
        let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata));
        let batch =
            RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, array)| array).collect()).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        let each = batch.num_rows() / parts;
        (0..parts).for_each(|part| writer.write(&batch.slice(part * each, each)).unwrap());
        writer.into_inner().unwrap()
    }

    fn columns() -> Vec<(&'static str, ArrayRef)> {
        let mut tags = ListBuilder::new(StringBuilder::new());
        (0..4).for_each(|i| tags.append_option((i != 2).then_some([Some("a"), None])));
        vec![
            ("user", Arc::new(Int64Array::from(vec![Some(1), None, Some(-3), Some(4)]))),
            ("tags", Arc::new(tags.finish())),
            ("age", Arc::new(Float32Array::from(vec![1.5, 2.5, f32::NAN, 4.0]))),
        ]
    }

    fn rows(body: &[u8]) -> Result<usize, Refusal> {
        let table = Table::read(body.to_vec(), &limits())?;
        check_depth(table.settings(), 8)?;
        let head = Head::read(table.settings(), false)?;
        let rows = table.rows(KNOWN, head.ignore_unknown)?;
        rows.check(KNOWN)?;
        let columns = rows.into_columns();
        for row in 0..columns.rows() {
            KNOWN.iter().for_each(|name| drop(columns.get(row, name).map(|value| value.to_value())));
        }
        Ok(columns.rows())
    }

    #[test]
    fn a_table_in_one_piece_or_several_is_its_rows_and_what_they_share() {
        for parts in [1, 2, 4] {
            assert_eq!(rows(&stream(columns(), "{}", parts)), Ok(4), "{parts}");
        }
        let shared = columns().split_off(1);
        let body = stream(shared, r#"{"shared": {"user": 7}, "model": "shop"}"#, 2);
        let table = Table::read(body.clone(), &limits()).unwrap();
        let columns = table.rows(KNOWN, false).unwrap().into_columns();
        assert!(columns.is_shared("user") && columns.get(3, "user") == Some(7.into()));
        assert_eq!((rows(&body), columns.get(1, "age")), (Ok(4), Some(2.5.into())));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let kind = |columns, settings: &str| rows(&stream(columns, settings, 1)).unwrap_err().kind();
        assert_eq!(kind(columns(), r#"{"shared": {"user": 7}}"#), "duplicate-key");
        assert_eq!(kind(columns(), r#"{"rows": []}"#), "setting");
        assert_eq!(kind(columns(), r#"{"rowz": []}"#), "unknown-key");
        assert_eq!(kind(columns(), "[["), "body");
        assert_eq!(kind(columns(), &"[".repeat(20)), "too-deep");
        let with =
            |name: &'static str, array: ArrayRef| columns().into_iter().chain([(name, array)]).collect::<Vec<_>>();
        let four: ArrayRef = Arc::new(Int64Array::from(vec![1; 4]));
        assert_eq!(kind(with("usr", four.clone()), "{}"), "unknown-column");
        assert_eq!(kind(with("user", four.clone()), "{}"), "duplicate-key");
        assert_eq!(rows(&stream(with("usr", four), r#"{"ignore_unknown": true}"#, 1)), Ok(4));
        assert_eq!(kind(columns().split_off(1), "{}"), "missing-column");
        let times = vec![("user", Arc::new(arrow_array::TimestampSecondArray::from(vec![1])) as ArrayRef)];
        assert_eq!(kind(times, "{}"), "wrong-type");
        let many = vec![("user", Arc::new(Int64Array::from(vec![1; 101])) as ArrayRef)];
        assert_eq!(kind(many, "{}"), "too-many-rows");
        let long = "x".repeat(600);
        let texts: DictionaryArray<Int8Type> = vec![long.as_str(); 10].into_iter().collect();
        assert_eq!(kind(vec![("tags", Arc::new(texts))], "{}"), "too-large");
        for body in [&b""[..], b"{}", b"ARROW1\0\0", &[0xff; 8], &[0, 0, 0, 0]] {
            assert_eq!(rows(body).unwrap_err().kind(), "body", "{body:?}");
        }
    }

    #[test]
    fn a_dictionary_that_comes_twice_is_refused_before_it_is_copied_for_every_batch() {
        let kind = arrow_schema::DataType::Dictionary(
            Box::new(arrow_schema::DataType::Int8),
            Box::new(arrow_schema::DataType::Utf8),
        );
        let schema = Arc::new(Schema::new(vec![Field::new("user", kind, true)]));
        let mut body = Vec::new();
        let mut writer = StreamWriter::try_new(&mut body, &schema).unwrap();
        for texts in [["a", "b"], ["c", "d"]] {
            let texts: DictionaryArray<Int8Type> = texts.into_iter().collect();
            writer.write(&RecordBatch::try_new(schema.clone(), vec![Arc::new(texts)]).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        let refused = rows(&body).unwrap_err().to_string();
        assert!(refused.contains("a dictionary comes in parts or twice"), "{refused}");
    }

    #[test]
    fn a_message_that_claims_more_than_it_has_is_refused_before_anything_is_made_of_it() {
        let body = stream(columns(), "{}", 1);
        let schema = u32::from_le_bytes(body[4..8].try_into().unwrap()) as usize + 8;
        let mut large = body[..schema].to_vec();
        large.extend([0xff, 0xff, 0xff, 0xff, 0xf0, 0xff, 0xff, 0x7f]);
        assert!(rows(&large).unwrap_err().to_string().contains("cut within a message"));
        assert!(
            (0..body.len() - 8).all(|cut| rows(&body[..cut]).is_err() || cut == schema),
            "every cut but behind a message"
        );
    }

    /// `STEM_MUTATIONS=200000` tries so many.
    #[test]
    fn a_mutated_stream_is_refused_or_read() {
        std::panic::set_hook(Box::new(|_| {})); // those that arrow-rs panics on are refused, and many
        let number = std::env::var("STEM_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(50_000);
        let texts: DictionaryArray<Int8Type> = ["a", "b", "a", "c"].into_iter().collect();
        let plain = vec![
            ("user", Arc::new(StringArray::from(vec!["1", "2", "x", ""])) as ArrayRef),
            ("tags", Arc::new(texts)),
            ("age", Arc::new(Float32Array::from(vec![1.0; 4]))),
        ];
        let bodies = [
            stream(columns(), r#"{"ignore_unknown": true}"#, 1),
            stream(columns(), "{}", 2),
            stream(plain, r#"{"model": "shop"}"#, 1),
        ];
        let (begun, mut rng, mut told) = (Instant::now(), ChaCha8Rng::seed_from_u64(17), [0; 2]);
        for mutation in 0..number {
            let mut body = bodies[mutation % bodies.len()].clone();
            (0..=rng.random_range(0..4)).for_each(|_| mutate(&mut body, &mut rng));
            match rows(&body) {
                Ok(rows) => {
                    assert!(rows <= 100);
                    told[1] += 1;
                }
                Err(refusal) => {
                    assert!(!refusal.to_string().is_empty() && refusal.kind() != "internal");
                    told[0] += 1;
                }
            }
        }
        _ = std::panic::take_hook();
        println!("{} refused, {} read, in {:?}", told[0], told[1], begun.elapsed());
        assert!(told[0] > number / 10 && told[1] > number / 100, "{told:?}: mutations reach both");
        assert!(begun.elapsed() < Duration::from_secs(300));
    }

    /// Bits, bytes, words that are lengths and offsets, stretches that go, come twice or are swapped.
    fn mutate(body: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
        if body.len() < 16 {
            return;
        }
        let (at, word) = (rng.random_range(0..body.len()), rng.random_range(0..body.len() / 8) * 8);
        match rng.random_range(0..8) {
            0 | 1 => body[at] ^= 1 << rng.random_range(0..8),
            2 => body[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            3 | 4 => {
                let value: i64 =
                    [0, 1, -1, 8, 4096, i64::MAX, i64::MIN, 1 << 31, (1 << 32) - 1][rng.random_range(0..9)];
                body[word..word + 8].copy_from_slice(&value.to_le_bytes());
            }
            5 => {
                let value: i32 = [0, 1, -1, 4, 4096, i32::MAX, i32::MIN][rng.random_range(0..7)];
                body[word..word + 4].copy_from_slice(&value.to_le_bytes());
            }
            6 => body.truncate(at),
            _ => {
                let stretch = body[word..(word + 8 * rng.random_range(1..8)).min(body.len())].to_vec();
                let to = rng.random_range(0..body.len() / 8) * 8;
                let end = (to + stretch.len()).min(body.len());
                body[to..end].copy_from_slice(&stretch[..end - to]);
            }
        }
    }
}
