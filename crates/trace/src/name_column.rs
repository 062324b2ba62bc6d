//! Columns of names, stored as numbers and the strings for which they stand.

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, DictionaryArray, RecordBatch, StringArray};

/// A column of names. Each row refers to one of a few strings, or to none.
#[derive(Debug, Clone)]
pub struct NameColumn {
    keys: Vec<u32>,
    values: StringArray,
}

/// Value in [`NameColumn::keys`] of a row without a name.
const NO_NAME: u32 = u32::MAX;

impl NameColumn {
    pub(crate) fn none(rows: usize) -> Self {
        Self { keys: vec![NO_NAME; rows], values: StringArray::new_null(0) }
    }

    /// Replaces the contents with the column `name` of a record batch.
    pub(crate) fn fill(&mut self, record: &RecordBatch, name: &str) -> Result<(), String> {
        let column = record.column_by_name(name);
        self.keys.clear();
        if let Some(texts) = column.and_then(|column| column.as_string_opt::<i32>()) {
            // The file has no dictionary: each row has a string of its own.
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

    /// Returns a column without rows that has the same strings.
    #[must_use]
    pub fn without_rows(&self) -> Self {
        Self { keys: Vec::new(), values: self.values.clone() }
    }

    /// Whether keys have the same meaning in both columns. The check is cheap: it may return false for equal strings in different
    /// memory.
    #[must_use]
    pub fn numbered_like(&self, other: &Self) -> bool {
        std::ptr::eq(self.values.value_data(), other.values.value_data())
            && std::ptr::eq(self.values.value_offsets(), other.values.value_offsets())
    }

    /// Returns the name of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        self.key(row).map(|key| self.values.value(key))
    }

    /// Returns the key of a row's name, an argument for [`NameColumn::value`].
    #[must_use]
    #[inline]
    pub fn key(&self, row: usize) -> Option<usize> {
        self.keys.get(row).copied().filter(|key| *key != NO_NAME).map(|key| key as usize)
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.keys.len()
    }

    /// Returns the number of strings, some of which may be unused.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// Returns the string of a key.
    #[must_use]
    pub fn value(&self, key: usize) -> Option<&str> {
        (key < self.values.len()).then(|| self.values.value(key))
    }
}

/// Returns a text column as an array of keys and the array of its strings.
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
