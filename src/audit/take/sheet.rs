//! The files of an export: records in lines of JSON, in CSV, or in Parquet.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use arrow_array::builder::{Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::row::Row;

/// Rows that are made into columns at a time, and the bytes of them at most.
const BATCH: usize = 8192;
const BATCH_BYTES: usize = 16 << 20;
/// What of a group of rows is held in memory at most, in bytes.
const GROUP_BYTES: usize = 64 << 20;
/// The longest record that is read back, in bytes.
const LONGEST: usize = 256 << 20;

/// What an export is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line for each record: `{"n":7,"record":{...}}`, the record as it is in the log; `opened` is the record with its
    /// texts, where these are sealed.
    Jsonl,
    /// RFC 4180, with a line of names. What a spreadsheet would take for a formula has a `'` in front.
    Csv,
    /// Parquet, compressed with Zstandard.
    Parquet,
}

impl Format {
    /// The file's name.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Jsonl => "records.jsonl",
            Self::Csv => "records.csv",
            Self::Parquet => "records.parquet",
        }
    }

    /// The format of a file.
    pub(crate) fn of(file: &str) -> Option<Self> {
        [Self::Jsonl, Self::Csv, Self::Parquet].into_iter().find(|format| format.file() == file)
    }
}

/// The columns between the number of a record and its text. A list is one text with commas in it.
const COLUMNS: [(&str, Kind); 29] = [
    ("time", Kind::Time),
    ("type", Kind::Text),
    ("run", Kind::Text),
    ("seq", Kind::Number),
    ("query", Kind::Text),
    ("principal", Kind::Text),
    ("impersonator", Kind::Text),
    ("actor", Kind::Text),
    ("auth_method", Kind::Text),
    ("groups", Kind::Text),
    ("peer", Kind::Text),
    ("source", Kind::Text),
    ("kind", Kind::Text),
    ("catalog", Kind::Text),
    ("schema", Kind::Text),
    ("text", Kind::Text),
    ("rewritten", Kind::Text),
    ("relations", Kind::Text),
    ("tags", Kind::Text),
    ("decision", Kind::Text),
    ("policy_revision", Kind::Text),
    ("reason", Kind::Text),
    ("detail", Kind::Text),
    ("state", Kind::Text),
    ("error", Kind::Text),
    ("trino_query", Kind::Text),
    ("rows", Kind::Number),
    ("bytes", Kind::Number),
    ("elapsed_ms", Kind::Number),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Time,
}

/// One value of a row.
enum Value<'a> {
    Text(std::borrow::Cow<'a, str>),
    Number(Option<u64>),
    Time(&'a str),
}

fn values<'a>(row: &'a Row<'_>) -> [Value<'a>; COLUMNS.len()] {
    let text = |text: &'a str| Value::Text(text.into());
    let list = |list: Vec<&str>| Value::Text(list.join(",").into());
    [
        Value::Time(&row.time),
        text(&row.kind),
        text(&row.run),
        Value::Number(Some(row.seq)),
        text(&row.query),
        text(&row.principal),
        text(&row.impersonator),
        text(row.actor()),
        text(&row.auth_method),
        list(row.groups.iter().map(|group| &**group).collect()),
        text(&row.peer),
        text(&row.source),
        text(&row.statement),
        text(&row.catalog),
        text(&row.schema),
        text(&row.text),
        text(&row.rewritten),
        list(row.relations.iter().map(|name| &**name).collect()),
        list(row.tags().into_iter().collect()),
        text(&row.decision),
        text(&row.policy_revision),
        text(&row.reason),
        text(&row.detail),
        text(&row.state),
        text(&row.error),
        text(&row.trino_query),
        Value::Number(row.rows),
        Value::Number(row.bytes),
        Value::Number(row.elapsed_ms),
    ]
}

/// A file of records that is being written.
pub(crate) enum Sheet {
    Jsonl(BufWriter<File>),
    Csv(BufWriter<File>),
    Parquet(Box<Columns<File>>),
}

impl Sheet {
    pub(crate) fn create(format: Format, path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(path)?;
        let buffered = |file| BufWriter::with_capacity(1 << 20, file);
        Ok(match format {
            Format::Jsonl => Self::Jsonl(buffered(file)),
            Format::Csv => {
                let mut out = buffered(file);
                write!(out, "n")?;
                COLUMNS.iter().try_for_each(|(name, _)| write!(out, ",{name}"))?;
                write!(out, ",record\r\n")?;
                Self::Csv(out)
            }
            Format::Parquet => Self::Parquet(Box::new(Columns::to(file)?)),
        })
    }

    pub(crate) fn add(&mut self, n: u64, line: &[u8], shown: &[u8], row: &Row<'_>) -> io::Result<()> {
        match self {
            Self::Jsonl(out) => {
                write!(out, "{{\"n\":{n},\"record\":")?;
                out.write_all(line)?;
                if shown != line {
                    out.write_all(b",\"opened\":")?;
                    out.write_all(shown)?;
                }
                out.write_all(b"}\n")
            }
            Self::Csv(out) => {
                write!(out, "{n}")?;
                for value in values(row) {
                    match value {
                        Value::Text(text) => quoted(out, &text, true)?,
                        Value::Time(text) => quoted(out, text, false)?,
                        Value::Number(Some(number)) => write!(out, ",{number}")?,
                        Value::Number(None) => out.write_all(b",")?,
                    }
                }
                quoted(out, text(line)?, false)?;
                out.write_all(b"\r\n")
            }
            Self::Parquet(columns) => columns.add(n, text(line)?, row),
        }
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::Jsonl(out) | Self::Csv(out) => {
                out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
            }
            Self::Parquet(columns) => columns.into_inner()?.sync_all(),
        }
    }
}

fn text(line: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(line).map_err(io::Error::other)
}

/// Whether a spreadsheet would take a text for a formula.
pub(crate) fn is_formula(text: &str) -> bool {
    text.trim_start_matches([' ', '\n', '\u{feff}'])
        .starts_with(['=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
}

fn quoted(out: &mut impl Write, text: &str, guarded: bool) -> io::Result<()> {
    if text.is_empty() {
        return out.write_all(b",");
    }
    out.write_all(b",\"")?;
    if guarded && is_formula(text) {
        out.write_all(b"'")?;
    }
    let mut parts = text.split('"');
    out.write_all(parts.next().unwrap_or_default().as_bytes())?;
    for part in parts {
        out.write_all(b"\"\"")?;
        out.write_all(part.as_bytes())?;
    }
    out.write_all(b"\"")
}

enum Column {
    Text(StringBuilder),
    Number(Int64Builder),
    Time(TimestampMicrosecondBuilder),
}

/// A Parquet file that is being written. What its columns are made of is compressed and written by a thread of its own.
pub(crate) struct Columns<W> {
    schema: Arc<Schema>,
    n: Int64Builder,
    values: Vec<Column>,
    record: StringBuilder,
    rows: usize,
    bytes: usize,
    /// For the thread: the next rows, then none. A file that was not ended has no footer and is none.
    ready: SyncSender<Option<RecordBatch>>,
    /// None when it was waited for.
    thread: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Write + Send + 'static> Columns<W> {
    pub(crate) fn to(file: W) -> io::Result<Self> {
        let field = |(name, kind): &(&str, Kind)| match kind {
            Kind::Text => Field::new(*name, DataType::Utf8, true),
            Kind::Number => Field::new(*name, DataType::Int64, true),
            Kind::Time => {
                Field::new(*name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
            }
        };
        let mut fields = vec![Field::new("n", DataType::Int64, false)];
        fields.extend(COLUMNS.iter().map(field));
        fields.push(Field::new("record", DataType::Utf8, false));
        let schema = Arc::new(Schema::new(fields));
        let level = ZstdLevel::try_new(1).map_err(io::Error::other)?;
        let mut properties = WriterProperties::builder().set_compression(Compression::ZSTD(level));
        // Of these no two are the same, and nobody looks for the least of them.
        for unique in ["record", "text", "rewritten", "query", "trino_query"] {
            let column = ColumnPath::from(unique);
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column, EnabledStatistics::None);
        }
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties.build()));
        let writer = writer.map_err(io::Error::other)?;
        let (ready, batches) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("audit-parquet".to_owned())
            .spawn(move || write(writer, &batches))?;
        Ok(Self {
            schema,
            n: Int64Builder::new(),
            values: COLUMNS
                .iter()
                .map(|(_, kind)| match kind {
                    Kind::Text => Column::Text(StringBuilder::new()),
                    Kind::Number => Column::Number(Int64Builder::new()),
                    Kind::Time => Column::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
                })
                .collect(),
            record: StringBuilder::new(),
            rows: 0,
            bytes: 0,
            ready,
            thread: Some(thread),
        })
    }

    pub(crate) fn add(&mut self, n: u64, line: &str, row: &Row<'_>) -> io::Result<()> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.n.append_value(signed(n));
        for (column, value) in self.values.iter_mut().zip(values(row)) {
            match (column, value) {
                (Column::Text(column), Value::Text(text)) if text.is_empty() => column.append_null(),
                (Column::Text(column), Value::Text(text)) => column.append_value(text),
                (Column::Number(column), Value::Number(number)) => column.append_option(number.map(signed)),
                (Column::Time(column), Value::Time(time)) => {
                    let at: Option<jiff::Timestamp> = time.parse().ok();
                    column.append_option(at.map(jiff::Timestamp::as_microsecond));
                }
                _ => return Err(io::Error::other("the columns are not those of the rows")),
            }
        }
        self.record.append_value(line);
        self.rows += 1;
        self.bytes += 2 * line.len();
        if self.rows == BATCH || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(self.n.finish())];
        for column in &mut self.values {
            arrays.push(match column {
                Column::Text(column) => Arc::new(column.finish()),
                Column::Number(column) => Arc::new(column.finish()),
                Column::Time(column) => Arc::new(column.finish()),
            });
        }
        arrays.push(Arc::new(self.record.finish()));
        (self.rows, self.bytes) = (0, 0);
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(io::Error::other)?;
        // A thread that takes nothing has ended, and says why.
        self.ready.send(Some(batch)).or_else(|_| self.wait().map(drop))
    }

    /// Ends the file, and gives what it was written to.
    pub(crate) fn into_inner(mut self) -> io::Result<W> {
        if self.rows > 0 {
            self.flush()?;
        }
        drop(self.ready.send(None));
        self.wait()
    }

    fn wait(&mut self) -> io::Result<W> {
        let ended = || io::Error::other("the thread that writes Parquet has ended");
        let thread = self.thread.take().ok_or_else(ended)?;
        thread.join().unwrap_or_else(|_| Err(ended()))
    }
}

/// Writes what comes until the end of the file.
fn write<W: Write + Send>(
    mut writer: ArrowWriter<W>,
    batches: &Receiver<Option<RecordBatch>>,
) -> io::Result<W> {
    loop {
        match batches.recv() {
            Ok(Some(batch)) => writer.write(&batch).map_err(io::Error::other)?,
            Ok(None) => return writer.into_inner().map_err(io::Error::other),
            Err(_) => return Err(io::Error::other("the file was not ended")),
        }
        if writer.in_progress_size() > GROUP_BYTES {
            writer.flush().map_err(io::Error::other)?;
        }
    }
}

/// Reads an export's file: the number and the text of each record. What is no record is an error in its place.
pub(crate) fn read(
    format: Format,
    path: &Path,
    mut record: impl FnMut(Result<(u64, &[u8]), String>) -> io::Result<()>,
) -> io::Result<()> {
    let file = File::open(path)?;
    match format {
        Format::Jsonl => {
            let mut reader = BufReader::with_capacity(1 << 20, file);
            let (mut line, mut at) = (Vec::new(), 0_u64);
            loop {
                line.clear();
                at += 1;
                if reader.by_ref().take(LONGEST as u64).read_until(b'\n', &mut line)? == 0 {
                    return Ok(());
                }
                record(of_line(&line).ok_or_else(|| format!("line {at} is not a record")))?;
            }
        }
        Format::Csv => {
            let mut reader = BufReader::with_capacity(1 << 20, file);
            let mut fields = Vec::new();
            let mut at = 1_u64;
            let mut more = fields_of(&mut reader, &mut fields)?;
            while more {
                more = fields_of(&mut reader, &mut fields)?;
                at += 1;
                if more {
                    record(of_fields(&fields).ok_or_else(|| format!("row {at} is not a record")))?;
                }
            }
            Ok(())
        }
        Format::Parquet => {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(io::Error::other)?;
            let mask = parquet::arrow::ProjectionMask::columns(builder.parquet_schema(), ["n", "record"]);
            let reader = builder.with_projection(mask).with_batch_size(1024).build();
            for batch in reader.map_err(io::Error::other)? {
                let batch = batch.map_err(io::Error::other)?;
                let n = batch.column_by_name("n").and_then(|n| n.as_primitive_opt::<Int64Type>());
                let lines = batch.column_by_name("record").and_then(|lines| lines.as_string_opt::<i32>());
                let (Some(n), Some(lines)) = (n, lines) else {
                    return Err(io::Error::other("it has no columns n and record"));
                };
                for (n, line) in n.values().iter().zip(lines) {
                    let number = u64::try_from(*n).ok();
                    let found = number.zip(line).map(|(n, line)| (n, line.as_bytes()));
                    record(found.ok_or_else(|| "a row is not a record".to_owned()))?;
                }
            }
            Ok(())
        }
    }
}

fn of_line(line: &[u8]) -> Option<(u64, &[u8])> {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        n: u64,
        #[serde(borrow)]
        record: &'a serde_json::value::RawValue,
    }
    let Line { n, record } = serde_json::from_slice(line.strip_suffix(b"\n")?).ok()?;
    Some((n, record.get().as_bytes()))
}

fn of_fields(fields: &[Vec<u8>]) -> Option<(u64, &[u8])> {
    let number = std::str::from_utf8(fields.first()?).ok()?.parse().ok()?;
    (fields.len() == COLUMNS.len() + 2).then_some((number, fields.last()?))
}

/// Reads one row of CSV; false at the end.
fn fields_of(reader: &mut impl BufRead, fields: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    fields.clear();
    let (mut line, mut quotes) = (Vec::new(), 0);
    loop {
        let before = line.len();
        if line.len() > LONGEST || reader.by_ref().take(LONGEST as u64).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        // A row ends at a line's end outside of quotes.
        quotes += memchr::memchr_iter(b'"', line.get(before..).unwrap_or_default()).count();
        if quotes % 2 == 0 {
            break;
        }
    }
    if line.is_empty() {
        return Ok(false);
    }
    let text = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(&line);
    let (mut field, mut quoted, mut bytes) = (Vec::new(), false, text.iter().peekable());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&&b'"') => {
                bytes.next();
                field.push(b'"');
            }
            b'"' => quoted = !quoted,
            b',' if !quoted => fields.push(std::mem::take(&mut field)),
            byte => field.push(*byte),
        }
    }
    fields.push(field);
    Ok(true)
}
