//! Columns of a Parquet file: their schema elements, and the representation of their values in pages.

use arrow_schema::{DataType, Field, Schema};
use dlio_config::vocabulary::ColumnType;
use dlio_config::workload::ParquetColumn;

use super::thrift::{self, Writer};

/// Physical types of Parquet.
pub(super) mod physical {
    pub(in super::super) const BOOLEAN: i32 = 0;
    pub(in super::super) const INT32: i32 = 1;
    pub(in super::super) const INT64: i32 = 2;
    pub(in super::super) const FLOAT: i32 = 4;
    pub(in super::super) const DOUBLE: i32 = 5;
    pub(in super::super) const BYTE_ARRAY: i32 = 6;
    pub(in super::super) const FIXED: i32 = 7;
}

/// Length of a text value in bytes: `s_` and ten digits. The fork writes `s_{number}`; numbers here always have ten
/// digits, so that the length of a file does not depend on its content.
pub(super) const TEXT: u64 = 12;

/// How plain values are generated from payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Payload without conversion, this many bytes per value.
    Raw(u64),
    /// Integers of one or two bytes, each widened to four.
    Widened { bytes: u64, signed: bool },
    /// One bit per value.
    Bits,
    /// A length and a text.
    Texts,
    /// A length and this many bytes.
    Bytes(u64),
}

impl Values {
    /// Returns the size of `count` plain values in bytes.
    pub(super) fn plain(self, count: u64) -> Option<u64> {
        match self {
            Self::Raw(bytes) => count.checked_mul(bytes),
            Self::Widened { .. } => count.checked_mul(4),
            Self::Bits => Some(count.div_ceil(8)),
            Self::Texts => count.checked_mul(4 + TEXT),
            Self::Bytes(size) => count.checked_mul(4 + size),
        }
    }

    /// Returns the size of the payload for `count` values in bytes.
    pub(super) fn payload(self, count: u64) -> Option<u64> {
        match self {
            Self::Widened { bytes, .. } => count.checked_mul(bytes),
            Self::Texts => count.checked_mul(8),
            Self::Bytes(size) => count.checked_mul(size),
            Self::Raw(_) | Self::Bits => self.plain(count),
        }
    }
}

/// A column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) dtype: ColumnType,
    /// Number of elements of a fixed-size list, or `None` for a single value.
    pub(super) list: Option<u64>,
    pub(super) values: Values,
    /// Whether dialect `native` reads the column.
    pub(super) read: bool,
}

impl Column {
    pub(super) fn new(column: &ParquetColumn) -> Self {
        let raw = |bytes| (Values::Raw(bytes), (column.size > 1).then_some(column.size));
        let widened = |bytes, signed| (Values::Widened { bytes, signed }, (column.size > 1).then_some(column.size));
        let (values, list) = match column.dtype {
            ColumnType::Int8 => widened(1, true),
            ColumnType::Uint8 => widened(1, false),
            ColumnType::Int16 => widened(2, true),
            ColumnType::Uint16 => widened(2, false),
            ColumnType::Float16 => raw(2),
            ColumnType::Int32 | ColumnType::Uint32 | ColumnType::Float32 => raw(4),
            ColumnType::Int64 | ColumnType::Uint64 | ColumnType::Float64 => raw(8),
            ColumnType::List => (Values::Raw(4), Some(column.size)),
            ColumnType::String => (Values::Texts, None),
            ColumnType::Binary => (Values::Bytes(column.size), None),
            ColumnType::Bool => (Values::Bits, None),
        };
        Self { name: column.name.clone(), dtype: column.dtype, list, values, read: column.read }
    }

    /// Returns the column of datasets without `columns`: a list of bytes.
    pub(super) fn bytes(size: u64) -> Self {
        let values = Values::Widened { bytes: 1, signed: false };
        Self { name: "data".to_owned(), dtype: ColumnType::Uint8, list: Some(size), values, read: true }
    }

    /// Returns the number of values in a row.
    pub(super) fn per_row(&self) -> u64 {
        self.list.unwrap_or(1)
    }

    pub(super) fn physical(&self) -> i32 {
        match self.dtype {
            ColumnType::Bool => physical::BOOLEAN,
            ColumnType::Int64 | ColumnType::Uint64 => physical::INT64,
            ColumnType::Float32 | ColumnType::List => physical::FLOAT,
            ColumnType::Float64 => physical::DOUBLE,
            ColumnType::Float16 => physical::FIXED,
            ColumnType::String | ColumnType::Binary => physical::BYTE_ARRAY,
            _ => physical::INT32,
        }
    }

    /// Returns the integer annotation: (converted type, bits, signed).
    fn integer(&self) -> Option<(i32, u8, bool)> {
        Some(match self.dtype {
            ColumnType::Uint8 => (11, 8, false),
            ColumnType::Uint16 => (12, 16, false),
            ColumnType::Uint32 => (13, 32, false),
            ColumnType::Uint64 => (14, 64, false),
            ColumnType::Int8 => (15, 8, true),
            ColumnType::Int16 => (16, 16, true),
            _ => return None,
        })
    }

    /// Returns the names from the root to the leaf.
    pub(super) fn path(&self) -> Vec<&str> {
        match self.list {
            Some(_) => vec![&self.name, "list", "element"],
            None => vec![&self.name],
        }
    }

    /// Returns the number of schema elements.
    pub(super) fn elements(&self) -> u64 {
        self.path().len() as u64
    }

    /// Writes the schema elements: three for a list, otherwise one.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        const OPTIONAL: i32 = 1;
        const REPEATED: i32 = 2;
        if self.list.is_some() {
            thrift::structure(out, |w| {
                w.i32(3, OPTIONAL);
                w.text(4, &self.name);
                w.i32(5, 1);
                w.i32(6, 3);
                w.inner(10, |w| w.inner(3, |_| ()));
            });
            thrift::structure(out, |w| {
                w.i32(3, REPEATED);
                w.text(4, "list");
                w.i32(5, 1);
            });
        }
        thrift::structure(out, |w| {
            w.i32(1, self.physical());
            if self.physical() == physical::FIXED {
                w.i32(2, 2);
            }
            w.i32(3, OPTIONAL);
            w.text(4, if self.list.is_some() { "element" } else { &self.name });
            self.annotate(w);
        });
    }

    fn annotate(&self, w: &mut Writer<'_>) {
        if let Some((converted, bits, signed)) = self.integer() {
            w.i32(6, converted);
            w.inner(10, |w| {
                w.inner(10, |w| {
                    w.byte(1, bits);
                    w.flag(2, signed);
                });
            });
        } else if self.dtype == ColumnType::String {
            w.i32(6, 0);
            w.inner(10, |w| w.inner(1, |_| ()));
        } else if self.dtype == ColumnType::Float16 {
            w.inner(10, |w| w.inner(15, |_| ()));
        }
    }

    fn field(&self) -> Field {
        let element = match self.dtype {
            ColumnType::Int8 => DataType::Int8,
            ColumnType::Int16 => DataType::Int16,
            ColumnType::Int32 => DataType::Int32,
            ColumnType::Int64 => DataType::Int64,
            ColumnType::Uint8 => DataType::UInt8,
            ColumnType::Uint16 => DataType::UInt16,
            ColumnType::Uint32 => DataType::UInt32,
            ColumnType::Uint64 => DataType::UInt64,
            ColumnType::Float16 => DataType::Float16,
            ColumnType::Float32 | ColumnType::List => DataType::Float32,
            ColumnType::Float64 => DataType::Float64,
            ColumnType::String => DataType::Utf8,
            ColumnType::Binary => DataType::Binary,
            ColumnType::Bool => DataType::Boolean,
        };
        let dtype = match self.list {
            // A list has at most 2^31 − 1 elements; larger lists are refused when a file is planned.
            Some(size) => DataType::FixedSizeList(
                Field::new("element", element, true).into(),
                i32::try_from(size).unwrap_or(i32::MAX),
            ),
            None => element,
        };
        Field::new(&self.name, dtype, true)
    }
}

/// Returns the Arrow schema that readers expect in the footer. Without it, fixed-size lists are read as lists.
pub(super) fn arrow_schema(columns: &[Column]) -> String {
    let fields: Vec<Field> = columns.iter().map(Column::field).collect();
    ::parquet::arrow::encode_arrow_schema(&Schema::new(fields))
}

/// Returns the name of a physical type.
pub(super) fn physical_name(number: i64) -> &'static str {
    let names = ["BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"];
    usize::try_from(number).ok().and_then(|number| names.get(number)).copied().unwrap_or("unknown")
}
