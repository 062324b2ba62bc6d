//! Conversion of the columns that the Parquet reader delivers into plain vectors.

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int32Type, Int64Type};
use arrow_array::{Array, PrimitiveArray, RecordBatch};

use crate::name_column::{NameColumn, dictionary};

/// Columns of 64-bit integers that traces of format 1.0 do not have.
const LATER: &[&str] = &["t_issue_ns", "t_last_byte_ns", "object_size"];

/// The columns of one record batch. Every error is a text that names the column.
pub(crate) struct RecordColumns<'a> {
    pub(crate) record: &'a RecordBatch,
}

impl RecordColumns<'_> {
    fn typed<T: ArrowPrimitiveType>(&self, name: &str) -> Result<Option<&PrimitiveArray<T>>, String> {
        let Some(column) = self.record.column_by_name(name) else { return Ok(None) };
        let wrong = || format!("column {name} is {} and not {}", column.data_type(), T::DATA_TYPE);
        column.as_primitive_opt::<T>().ok_or_else(wrong).map(Some)
    }

    fn required<T: ArrowPrimitiveType>(&self, name: &str) -> Result<&PrimitiveArray<T>, String> {
        self.typed(name)?.ok_or_else(|| format!("it has no column {name}"))
    }

    /// Converts a column of 32-bit integers; a row without a value counts as 0.
    pub(crate) fn int32<T>(&self, name: &str, into: &mut Vec<T>, convert: impl Fn(i32) -> T) -> Result<(), String> {
        let array = self.required::<Int32Type>(name)?;
        into.clear();
        if array.null_count() == 0 {
            into.extend(array.values().iter().map(|value| convert(*value)));
        } else {
            into.extend(array.iter().map(|value| convert(value.unwrap_or(0))));
        }
        Ok(())
    }

    /// Converts a column of 64-bit integers; a row without a value becomes `none`, and so do all rows of a file whose format does
    /// not have the column yet.
    pub(crate) fn int64<T: Copy>(
        &self,
        name: &str,
        into: &mut Vec<T>,
        none: T,
        convert: impl Fn(i64) -> T,
    ) -> Result<(), String> {
        into.clear();
        let array = match self.typed::<Int64Type>(name)? {
            Some(array) => array,
            None if LATER.contains(&name) => {
                into.resize(self.record.num_rows(), none);
                return Ok(());
            }
            None => self.required::<Int64Type>(name)?,
        };
        if array.null_count() == 0 {
            into.extend(array.values().iter().map(|value| convert(*value)));
        } else if array.null_count() == array.len() {
            into.resize(array.len(), none);
        } else {
            into.extend(array.iter().map(|value| value.map_or(none, &convert)));
        }
        Ok(())
    }

    /// Checks columns of byte counts and positions: a recorder writes none below 0.
    pub(crate) fn are_byte_counts(&self, names: &[&str]) -> Result<(), String> {
        for name in names {
            let values = self.required::<Int64Type>(name)?.values();
            if let Some(odd) = values.iter().find(|value| **value < 0) {
                return Err(format!("column {name} holds {odd}, which is no number of bytes"));
            }
        }
        Ok(())
    }

    /// Converts the numbers of connections, which files of format 1.0 do not have; a row without one becomes `none`.
    pub(crate) fn connections(&self, into: &mut Vec<u32>, none: u32) -> Result<(), String> {
        into.clear();
        let rows = self.record.num_rows();
        let Some(array) = self.typed::<Int32Type>("conn_id")?.filter(|array| array.null_count() < rows) else {
            into.resize(rows, none);
            return Ok(());
        };
        let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(none);
        into.extend(array.iter().map(number));
        Ok(())
    }

    /// Converts a column of words of a closed set.
    pub(crate) fn word<T: Copy>(
        &self,
        name: &str,
        into: &mut Vec<T>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<(), String> {
        let (array, values) = dictionary(self.record, name)?;
        let known: Vec<Option<T>> = values.iter().map(|word| word.and_then(&parse)).collect();
        let unknown = |key: i32| {
            let word = usize::try_from(key).ok().filter(|key| *key < values.len()).map(|key| values.value(key));
            format!("column {name} holds {:?}, which this version does not know", word.unwrap_or("no value"))
        };
        if array.keys().null_count() > 0 {
            return Err(format!("column {name} has rows without a value"));
        }
        into.clear();
        into.reserve(array.len());
        for key in array.keys().values() {
            let found = usize::try_from(*key).ok().and_then(|key| known.get(key).copied().flatten());
            into.push(found.ok_or_else(|| unknown(*key))?);
        }
        Ok(())
    }

    /// Takes a column of names. If it is missing and not required, no row has a name.
    pub(crate) fn names(&self, name: &str, into: &mut NameColumn, required: bool) -> Result<(), String> {
        if required || self.record.column_by_name(name).is_some() {
            return into.fill(self.record, name);
        }
        *into = NameColumn::none(self.record.num_rows());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn a_negative_offset_is_an_error_that_names_it() {
        let record = |values: Vec<i64>| {
            RecordBatch::try_from_iter([("offset", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap()
        };
        let check = |values| RecordColumns { record: &record(values) }.are_byte_counts(&["offset"]);
        assert_eq!(check(vec![0, 7]), Ok(()));
        let refused = check(vec![0, -5]).unwrap_err();
        assert!(refused.contains("offset") && refused.contains("-5"), "{refused}");
    }
}
