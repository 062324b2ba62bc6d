//! A column of names as numbers and the strings that they stand for.

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, DictionaryArray, RecordBatch, StringArray};

/// A column of names: every row refers to one of a few strings, or to none.
#[derive(Debug, Clone)]
pub struct NameColumn {
    keys: Vec<u32>,
    values: StringArray,
}

/// No name in [`NameColumn::keys`].
const NO_NAME: u32 = u32::MAX;

impl NameColumn {
    pub(crate) fn none(rows: usize) -> Self {
        Self { keys: vec![NO_NAME; rows], values: StringArray::new_null(0) }
    }

    /// Takes the names of other rows.
    pub(crate) fn fill(&mut self, record: &RecordBatch, name: &str) -> Result<(), String> {
        let column = record.column_by_name(name);
        self.keys.clear();
        if let Some(texts) = column.and_then(|column| column.as_string_opt::<i32>()) {
            // Each row has its own.
            let key = |(row, key): (usize, u32)| if texts.is_null(row) { NO_NAME } else { key };
            self.keys.extend((0..texts.len()).zip(0..).map(key));
            self.values = texts.clone();
            return Ok(());
        }
        let (array, values) = dictionary(record, name)?;
        let keys = array.keys();
        let known = |key: i32| u32::try_from(key).unwrap_or(NO_NAME);
        match keys.null_count() {
            0 => self.keys.extend(keys.values().iter().map(|key| known(*key))),
            _ => self.keys.extend(keys.iter().map(|key| key.map_or(NO_NAME, known))),
        }
        self.values = values.clone();
        Ok(())
    }

    /// The same names, of no rows.
    #[must_use]
    pub fn without_rows(&self) -> Self {
        Self { keys: Vec::new(), values: self.values.clone() }
    }

    /// Whether numbers mean the same as in the other, which has to be asked only where that costs nothing.
    #[must_use]
    pub fn numbered_like(&self, other: &Self) -> bool {
        std::ptr::eq(self.values.value_data(), other.values.value_data())
            && std::ptr::eq(self.values.value_offsets(), other.values.value_offsets())
    }

    /// The name of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        self.key(row).map(|key| self.values.value(key))
    }

    /// The number of a row's name within this batch: an index into [`NameColumn::value`].
    #[must_use]
    #[inline]
    pub fn key(&self, row: usize) -> Option<usize> {
        self.keys.get(row).copied().filter(|key| *key != NO_NAME).map(|key| key as usize)
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.keys.len()
    }

    /// How many names the batch can refer to; not all need be in use.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// A name by its number within this batch.
    #[must_use]
    pub fn value(&self, key: usize) -> Option<&str> {
        (key < self.values.len()).then(|| self.values.value(key))
    }
}

/// A column of text: a number per row, and the texts.
pub(crate) fn dictionary<'a>(
    record: &'a RecordBatch,
    name: &str,
) -> Result<(&'a DictionaryArray<Int32Type>, &'a StringArray), String> {
    let wrong = || format!("column {name} is not text");
    let column = record.column_by_name(name).ok_or_else(|| format!("it has no column {name}"))?;
    let array = column.as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
    let values = array.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    Ok((array, values))
}
