//! The files of an export: records in lines of JSON, in CSV, or in Parquet.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::iter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type, ZstdLevel};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema;
use parquet::schema::types::{ColumnPath, TypePtr};

use super::row::Row;

/// The rows of a group, and their bytes, at most. There are up to three in memory.
const GROUP: usize = 1 << 16;
const GROUP_BYTES: usize = 32 << 20;
/// How many records are read back at a time.
const AT_A_TIME: usize = 1024;
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

/// The values of a column in a group of rows.
enum Column {
    Text(Texts),
    Number(Vec<i64>),
}

/// Texts, one behind the other.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    fn into_values(self) -> Vec<ByteArray> {
        let (bytes, mut begin) = (Bytes::from(self.bytes), 0);
        let piece = |end| bytes.slice(std::mem::replace(&mut begin, end)..end).into();
        self.ends.into_iter().map(piece).collect()
    }
}

/// Rows that are written together.
struct Group {
    n: Vec<i64>,
    /// With, for each row, whether it has a value.
    values: Vec<(Column, Vec<i16>)>,
    record: Texts,
    bytes: usize,
}

impl Default for Group {
    fn default() -> Self {
        let column = |kind| match kind {
            Kind::Text => Column::Text(Texts::default()),
            Kind::Number | Kind::Time => Column::Number(Vec::new()),
        };
        Self {
            n: Vec::new(),
            values: COLUMNS.iter().map(|(_, kind)| (column(*kind), Vec::new())).collect(),
            record: Texts::default(),
            bytes: 0,
        }
    }
}

impl Group {
    fn write<W: Write + Send>(self, file: &mut SerializedFileWriter<W>) -> Result<(), ParquetError> {
        let mut group = file.next_row_group()?;
        let first = (Column::Number(self.n), None);
        let values = self.values.into_iter().map(|(column, there)| (column, Some(there)));
        let last = (Column::Text(self.record), None);
        for (column, there) in iter::once(first).chain(values).chain(iter::once(last)) {
            let missing = || ParquetError::General("the file has too few columns".to_owned());
            let mut out = group.next_column()?.ok_or_else(missing)?;
            match column {
                Column::Number(values) => {
                    out.typed::<Int64Type>().write_batch(&values, there.as_deref(), None)?
                }
                Column::Text(texts) => {
                    out.typed::<ByteArrayType>().write_batch(&texts.into_values(), there.as_deref(), None)?
                }
            };
            out.close()?;
        }
        group.close()?;
        Ok(())
    }
}

/// A Parquet file that is being written. What its rows are made of is compressed and written by a thread of its own.
pub(crate) struct Columns<W> {
    group: Group,
    /// For the thread: the next rows, then none. A file that was not ended has no footer and is none.
    ready: SyncSender<Option<Group>>,
    /// None when it was waited for.
    thread: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Write + Send + 'static> Columns<W> {
    pub(crate) fn to(file: W) -> io::Result<Self> {
        let level = ZstdLevel::try_new(1).map_err(io::Error::other)?;
        let mut properties = WriterProperties::builder().set_compression(Compression::ZSTD(level));
        // Of these no two are the same, and nobody looks for the least of them.
        for unique in ["record", "text", "rewritten", "query", "trino_query"] {
            let column = ColumnPath::from(unique);
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column, EnabledStatistics::None);
        }
        let schema = schema().map_err(io::Error::other)?;
        let file = SerializedFileWriter::new(file, schema, Arc::new(properties.build()));
        let file = file.map_err(io::Error::other)?;
        let (ready, groups) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("audit-parquet".to_owned());
        let thread = thread.spawn(move || write(file, &groups).map_err(io::Error::other))?;
        Ok(Self { group: Group::default(), ready, thread: Some(thread) })
    }

    pub(crate) fn add(&mut self, n: u64, line: &str, row: &Row<'_>) -> io::Result<()> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let number = |out: &mut Vec<i64>, number: Option<i64>| {
            out.extend(number);
            i16::from(number.is_some())
        };
        self.group.n.push(signed(n));
        for ((column, there), value) in self.group.values.iter_mut().zip(values(row)) {
            there.push(match (column, value) {
                (Column::Text(_), Value::Text(text)) if text.is_empty() => 0,
                (Column::Text(column), Value::Text(text)) => {
                    column.push(&text);
                    1
                }
                (Column::Number(column), Value::Number(value)) => number(column, value.map(signed)),
                (Column::Number(column), Value::Time(time)) => {
                    let at: Option<jiff::Timestamp> = time.parse().ok();
                    number(column, at.map(jiff::Timestamp::as_microsecond))
                }
                _ => return Err(io::Error::other("the columns are not those of the rows")),
            });
        }
        self.group.record.push(line);
        self.group.bytes += 2 * line.len();
        let is_full = self.group.n.len() == GROUP || self.group.bytes >= GROUP_BYTES;
        if is_full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A thread that takes nothing has ended, and says why.
        self.ready.send(Some(std::mem::take(&mut self.group))).or_else(|_| self.wait().map(drop))
    }

    /// Ends the file, and gives what it was written to.
    pub(crate) fn into_inner(mut self) -> io::Result<W> {
        if !self.group.n.is_empty() {
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
    mut file: SerializedFileWriter<W>,
    groups: &Receiver<Option<Group>>,
) -> Result<W, ParquetError> {
    loop {
        match groups.recv() {
            Ok(Some(group)) => group.write(&mut file)?,
            Ok(None) => return file.into_inner(),
            Err(_) => return Err(ParquetError::General("the file was not ended".to_owned())),
        }
    }
}

/// The columns of a file.
fn schema() -> Result<TypePtr, ParquetError> {
    let column = |name, kind, repetition| {
        let (physical, logical) = match kind {
            Kind::Text => (Type::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Number => (Type::INT64, None),
            Kind::Time => (Type::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        };
        let column = schema::types::Type::primitive_type_builder(name, physical);
        column.with_logical_type(logical).with_repetition(repetition).build().map(Arc::new)
    };
    let mut columns = vec![column("n", Kind::Number, Repetition::REQUIRED)?];
    for (name, kind) in COLUMNS {
        columns.push(column(name, kind, Repetition::OPTIONAL)?);
    }
    columns.push(column("record", Kind::Text, Repetition::REQUIRED)?);
    schema::types::Type::group_type_builder("record").with_fields(columns).build().map(Arc::new)
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
            let file = SerializedFileReader::new(file).map_err(io::Error::other)?;
            for group in 0..file.num_row_groups() {
                read_group(&*file.get_row_group(group).map_err(io::Error::other)?, &mut record)?;
            }
            Ok(())
        }
    }
}

/// Reads the numbers and texts of a group of rows.
fn read_group(
    group: &dyn RowGroupReader,
    record: &mut impl FnMut(Result<(u64, &[u8]), String>) -> io::Result<()>,
) -> io::Result<()> {
    let column = |name: &str| {
        let columns = group.metadata().columns();
        // One that may be empty is not of an export.
        let at = columns.iter().position(|column| {
            column.column_path().parts() == [name] && column.column_descr().max_def_level() == 0
        });
        at.map(|at| group.get_column_reader(at).map_err(io::Error::other)).transpose()
    };
    let (Some(ColumnReader::Int64ColumnReader(mut n)), Some(ColumnReader::ByteArrayColumnReader(mut lines))) =
        (column("n")?, column("record")?)
    else {
        return Err(io::Error::other("it has no columns n and record"));
    };
    loop {
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        n.read_records(AT_A_TIME, None, None, &mut numbers).map_err(io::Error::other)?;
        lines.read_records(AT_A_TIME, None, None, &mut texts).map_err(io::Error::other)?;
        if numbers.len() != texts.len() {
            return Err(io::Error::other("its columns are not of one length"));
        }
        if numbers.is_empty() {
            return Ok(());
        }
        for (n, line) in numbers.into_iter().zip(&texts) {
            let number = u64::try_from(n).map_err(|_| "a row is not a record".to_owned());
            record(number.map(|n| (n, line.data())))?;
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
