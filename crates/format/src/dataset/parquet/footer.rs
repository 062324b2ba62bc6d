//! The footer of a file, reduced to what reading needs: the rows and the byte ranges of each row group.
//!
//! Memory is 32 bytes per row group, whatever the number of columns, plus 16 bytes per additional range of a row
//! group if columns are selected. If the content is checked, the data for that check is kept with the footer.

use std::ops::Range;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::ArrowReaderMetadata;
use dlio_config::workload::ColumnSelection;

use super::options::SelectedColumns;
use super::plan::FilePlan;
use super::schema::{Column, physical_name};
use super::thrift::{self, Reader};
use crate::error::Error;

/// The rows and the byte ranges of a file's row groups.
#[derive(Debug, Clone, Default)]
pub struct Footer {
    /// Number of rows up to the end of each row group.
    ends: Vec<u64>,
    /// Byte ranges of the row groups, in order.
    ranges: Vec<Range<u64>>,
    /// Number of ranges up to the end of each row group.
    marks: Vec<usize>,
    /// Selected leaf columns.
    selected: Vec<usize>,
    /// Number of rows of the first row group, and its number of values per leaf column.
    first: (u64, Vec<u64>),
    /// Size of the file in bytes.
    pub(super) size: u64,
    /// The plan by which this program would write the file, if the content is compared.
    pub(super) plan: Option<Arc<FilePlan>>,
    /// Metadata for decoding the values, if they are decoded.
    pub(super) values: Option<ArrowReaderMetadata>,
}

impl Footer {
    /// Returns the number of rows in the file.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Returns the number of row groups.
    #[must_use]
    pub fn row_groups(&self) -> usize {
        self.ends.len()
    }

    /// Returns the row group that contains a row, or `None` beyond the last row.
    #[must_use]
    pub fn row_group(&self, row: u64) -> Option<usize> {
        Some(self.ends.partition_point(|&end| end <= row)).filter(|&group| group < self.ends.len())
    }

    /// Returns the byte ranges to read for a row group, in the order of the file.
    #[must_use]
    pub fn ranges(&self, group: usize) -> &[Range<u64>] {
        let from = group.checked_sub(1).and_then(|before| self.marks.get(before)).copied().unwrap_or(0);
        self.marks.get(group).and_then(|&to| self.ranges.get(from..to)).unwrap_or_default()
    }

    /// Returns the number of rows from `row` to the end of `groups` row groups, of which the first contains `row`; 0
    /// beyond the last row.
    pub(crate) fn rows_ahead(&self, row: u64, groups: usize) -> u64 {
        let end = |group: usize| self.ends.get(group.saturating_add(groups.max(1) - 1)).or(self.ends.last());
        self.row_group(row).and_then(end).map_or(0, |end| end - row)
    }

    /// Returns the first column whose number of values per row differs from the workload's: the expected and the
    /// found number.
    pub(super) fn row_width_difference(&self, columns: &[Column]) -> Option<(String, String)> {
        let (rows, values) = &self.first;
        let per_row = |values: &u64| values.checked_div(*rows).unwrap_or(0);
        let mut pairs = columns.iter().zip(values.iter().map(per_row));
        let (column, found) = pairs.find(|(column, found)| *rows > 0 && column.per_row() != *found)?;
        Some((format!("{} in {}", column.per_row(), column.name), found.to_string()))
    }

    pub(super) fn selected(&self) -> &[usize] {
        &self.selected
    }
}

/// A leaf of the schema.
#[derive(Debug)]
struct Leaf {
    path: Vec<String>,
    physical: i64,
}

/// An element of the schema as stored.
#[derive(Debug, Default)]
struct Element {
    name: String,
    physical: Option<i64>,
    children: u64,
}

/// Parses the footer `bytes`, which begins at offset `base` of the file.
pub(super) fn parse(
    bytes: &[u8],
    base: u64,
    columns: Option<&[Column]>,
    selected: &SelectedColumns,
) -> Result<Footer, Error> {
    let mut leaves = Vec::new();
    let mut rows = None;
    let mut footer = Footer::default();
    Reader::new(bytes, base).fields(|r, id, kind| {
        match (id, kind) {
            (2, thrift::LIST) => {
                leaves = schema(r)?;
                check_schema(&leaves, columns)?;
                footer.selected = select(&leaves, selected)?;
            }
            (3, thrift::I64) => rows = Some(r.size()?),
            (4, thrift::LIST) => {
                let (_, len) = r.list()?;
                for _ in 0..len {
                    row_group(r, base, leaves.len(), selected, &mut footer)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    match rows {
        _ if leaves.is_empty() => Err(Reader::new(bytes, base).malformed("a schema with columns")),
        Some(rows) if rows == footer.rows() => Ok(footer),
        rows => Err(Error::Malformed {
            noun: "footer of the Parquet file",
            offset: base,
            expected: format!("as many rows as its row groups have, {}", footer.rows()),
            found: rows.map_or("no number of rows".to_owned(), |rows| rows.to_string()),
        }),
    }
}

fn schema(r: &mut Reader<'_>) -> Result<Vec<Leaf>, Error> {
    let (kind, len) = r.list()?;
    if kind != thrift::STRUCT || len == 0 {
        return Err(r.malformed("a schema"));
    }
    let mut leaves = Vec::new();
    // Names of the enclosing groups, each with the number of its remaining children.
    let mut groups: Vec<(String, u64)> = Vec::new();
    for at in 0..len {
        let element = element(r)?;
        if at > 0 {
            let parent = groups.last_mut().ok_or_else(|| r.malformed("a schema that ends with its last child"))?;
            parent.1 -= 1;
        }
        if element.children > 0 {
            groups.push((element.name, element.children));
        } else {
            let physical = element.physical.ok_or_else(|| r.malformed("a type for every column of the schema"))?;
            let path = groups.iter().skip(1).map(|(name, _)| name.clone()).chain([element.name]).collect();
            leaves.push(Leaf { path, physical });
        }
        while groups.last().is_some_and(|(_, left)| *left == 0) {
            groups.pop();
        }
    }
    if groups.is_empty() { Ok(leaves) } else { Err(r.malformed("as many schema elements as they have children")) }
}

fn element(r: &mut Reader<'_>) -> Result<Element, Error> {
    let mut element = Element::default();
    r.fields(|r, id, kind| {
        match (id, kind) {
            (1, thrift::I32) => element.physical = Some(r.number()?),
            (4, thrift::BINARY) => element.name = String::from_utf8_lossy(r.text()?).into_owned(),
            (5, thrift::I32) => element.children = r.size()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(element)
}

/// Checks that the columns have the names and physical types of the workload, in its order, if it names any.
fn check_schema(leaves: &[Leaf], columns: Option<&[Column]>) -> Result<(), Error> {
    let Some(columns) = columns else { return Ok(()) };
    let found = leaves.iter().map(|leaf| (leaf.path.first().map_or("", String::as_str), leaf.physical));
    let expected = columns.iter().map(|column| (column.name.as_str(), i64::from(column.physical())));
    if found.clone().eq(expected.clone()) {
        return Ok(());
    }
    if leaves.len() != columns.len() {
        let (expected, found) = (columns.len().to_string(), leaves.len().to_string());
        return Err(Error::Differs { noun: "number of columns", expected, found });
    }
    let (found, expected) = found.zip(expected).find(|(found, expected)| found != expected).unwrap_or_default();
    let shown = |(name, physical): (&str, i64)| format!("{name:?} of type {}", physical_name(physical));
    Err(Error::Differs { noun: "a column", expected: shown(expected), found: shown(found) })
}

fn select(leaves: &[Leaf], selected: &SelectedColumns) -> Result<Vec<usize>, Error> {
    let by_name = |name: &String| {
        let is = |leaf: &Leaf| leaf.path.first() == Some(name) || leaf.path.join(".") == *name;
        let at = leaves.iter().position(is);
        at.ok_or_else(|| Error::Differs {
            noun: "a column that is to be read",
            expected: format!("{name:?}"),
            found: "missing".to_owned(),
        })
    };
    let by_number = |number: &u64| {
        let at = usize::try_from(*number).ok().filter(|&number| number < leaves.len());
        at.ok_or_else(|| Error::Differs {
            noun: "the number of a column that is to be read",
            expected: number.to_string(),
            found: format!("at most {}", leaves.len() - 1),
        })
    };
    match selected {
        SelectedColumns::All => Ok((0..leaves.len()).collect()),
        SelectedColumns::Span(ColumnSelection::Names(names)) | SelectedColumns::Only(names) => {
            names.iter().map(by_name).collect()
        }
        SelectedColumns::Span(ColumnSelection::Indices(numbers)) => numbers.iter().map(by_number).collect(),
    }
}

fn row_group(
    r: &mut Reader<'_>,
    limit: u64,
    leaves: usize,
    selected: &SelectedColumns,
    footer: &mut Footer,
) -> Result<(), Error> {
    let (mut chunks, mut values, mut rows) = (Vec::with_capacity(leaves), Vec::new(), None);
    r.fields(|r, id, kind| {
        match (id, kind) {
            (1, thrift::LIST) => {
                let (_, len) = r.list()?;
                for _ in 0..len {
                    let (range, count) = chunk(r)?;
                    chunks.push(range.filter(|chunk| chunk.start >= 4 && chunk.end <= limit));
                    values.push(count);
                }
            }
            (3, thrift::I64) => rows = Some(r.size()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if chunks.len() != leaves {
        return Err(r.malformed("a column chunk for every column"));
    }
    if let (Some(rows), true) = (rows, footer.ends.is_empty()) {
        footer.first = (rows, values);
    }
    let rows = rows.and_then(|rows| footer.rows().checked_add(rows));
    let Some((rows, mut ranges)) = rows.zip(footer.selected.iter().map(|&leaf| chunks[leaf].clone()).collect()) else {
        return Err(r.malformed("column chunks that lie between the magic bytes and the footer"));
    };
    merge(&mut ranges, !matches!(selected, SelectedColumns::Only(_)));
    footer.ends.push(rows);
    footer.ranges.append(&mut ranges);
    footer.marks.push(footer.ranges.len());
    Ok(())
}

/// Joins ranges that touch, or all ranges.
pub(super) fn merge(ranges: &mut Vec<Range<u64>>, all: bool) {
    ranges.sort_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let join = all || next.start <= last.end;
        if join {
            last.end = last.end.max(next.end);
        }
        join
    });
}

/// Returns the byte range of a column chunk, or `None` if its offsets are invalid, and the number of its values.
fn chunk(r: &mut Reader<'_>) -> Result<(Option<Range<u64>>, u64), Error> {
    let (mut data, mut dictionary, mut len, mut values) = (None, None, None, 0);
    r.fields(|r, id, kind| {
        if (id, kind) != (3, thrift::STRUCT) {
            return Ok(false);
        }
        r.fields(|r, id, kind| {
            match (id, kind) {
                (5, thrift::I64) => values = r.size()?,
                (7, thrift::I64) => len = Some(r.size()?),
                (9, thrift::I64) => data = Some(r.size()?),
                (11, thrift::I64) => dictionary = Some(r.size()?).filter(|&offset| offset > 0),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(true)
    })?;
    let start = data.map(|data| dictionary.map_or(data, |dictionary| data.min(dictionary)));
    Ok((start.zip(len).and_then(|(start, len)| Some(start..start.checked_add(len)?)), values))
}
