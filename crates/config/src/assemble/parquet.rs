//! Keys `dataset.parquet.*`: the columns of Parquet files.

use crate::document::{Node, Value};
use crate::error::{Place, Problem};
use crate::fields::Fields;
use crate::notice::NoticeCode;
use crate::schema::value_type;
use crate::vocabulary::{ColumnType, Dialect};
use crate::workload::{Parquet, ParquetColumn};
use crate::{similar_words, vocabulary::Format};

const COLUMNS: &str = "dataset.parquet.columns";
/// Keys of a column.
const MEMBERS: &[&str] = &["name", "dtype", "size", "read"];
/// Maximum number of elements per value. It exceeds every embedding, and keeps the length of a row group from
/// overflowing.
const SIZE_MAX: u64 = 1 << 31;

pub(super) fn parquet(f: &mut Fields<'_>, format: Format) -> Parquet {
    let columns = columns(f);
    if format == Format::Parquet && f.given("dataset.parquet.partition_by").is_some() {
        f.refuse(
            "dataset.parquet.partition_by",
            "expected no value: hive-style folders are not written. The fork's generator gives their files random names and \
             numbers of rows, makes at most 1024 of them per file, and its training expects others; remove the key, or use \
             dataset.num_subfolders_train",
        );
    }
    if f.dialect != Dialect::Native && columns.iter().any(|column| !column.read) && format == Format::Parquet {
        let text = "`read: false` has no effect, as in the MLPerf fork: whole row groups are read; \
                    storage.storage_options.columns selects columns there, dialect native honours `read`";
        f.note(NoticeCode::Quirk, COLUMNS, text);
    }
    Parquet { columns, row_group_size: f.whole("dataset.parquet.row_group_size") }
}

fn columns(f: &mut Fields<'_>) -> Vec<ParquetColumn> {
    let Some(node) = f.given(COLUMNS) else { return Vec::new() };
    let Value::List(items) = &node.value else {
        f.refuse(
            COLUMNS,
            format!("expected a list of columns, each {{name, dtype, size, read}}; found {}", node.value.found()),
        );
        return Vec::new();
    };
    let columns: Vec<ParquetColumn> = items.iter().filter_map(|item| column(f, item)).collect();
    let mut names = std::collections::BTreeSet::new();
    if let Some(twice) = columns.iter().find(|column| !names.insert(column.name.as_str())) {
        let message = format!("expected every name once; {:?} comes twice", twice.name);
        f.refuse(COLUMNS, message);
    }
    columns
}

/// Place and reason of an invalid column.
type Refusal = (Place, String);

fn column(f: &mut Fields<'_>, node: &Node) -> Option<ParquetColumn> {
    let refused = |(place, message): Refusal| f.refuse_at(COLUMNS, Problem::new(&place, COLUMNS, message));
    parse(node).map_err(refused).ok()
}

/// Parses a column. A bare text is the name of a float32 column.
fn parse(node: &Node) -> Result<ParquetColumn, Refusal> {
    if let Value::Text(name) = &node.value {
        return Ok(ParquetColumn { name: name.clone(), dtype: ColumnType::Float32, size: 1, read: true });
    }
    let Some(map) = node.map() else {
        return Err(refusal(
            node,
            &format!("expected {{name, dtype, size, read}} for each, found {}", node.value.found()),
        ));
    };
    if let Some((name, unknown)) = map.iter().find(|(name, _)| !MEMBERS.contains(name)) {
        let hint = similar_words::word(name, MEMBERS).map_or(String::new(), |near| format!("; did you mean {near}?"));
        return Err(refusal(unknown, &format!("a column has no {name}, only {}{hint}", MEMBERS.join(", "))));
    }
    let member = |name: &str| map.get(name).filter(|member| member.value != Value::Null);
    let name = member("name").map_or(Ok("data".to_owned()), |node| {
        let name = value_type::text(node).filter(|name| !name.is_empty());
        name.ok_or_else(|| refusal(node, &format!("name: expected text, found {}", node.value.found())))
    })?;
    let wrong = |node: &Node, member: &str, expected: &str| {
        let found = node.value.found();
        refusal(node, &format!("column {name:?}: {member}: expected {expected}, found {found}"))
    };
    let dtype = member("dtype").map_or(Ok(ColumnType::Float32), |node| {
        let dtype = value_type::word(node).as_deref().and_then(ColumnType::from_word);
        dtype.ok_or_else(|| wrong(node, "dtype", &format!("one of {}", ColumnType::WORDS.join(", "))))
    })?;
    let size = member("size").map_or(Ok(1), |node| {
        let size = value_type::whole(node).and_then(|size| u64::try_from(size).ok());
        let size = size.filter(|size| (1..=SIZE_MAX).contains(size));
        size.ok_or_else(|| wrong(node, "size", &format!("a whole number from 1 to {SIZE_MAX}")))
    })?;
    let read = member("read")
        .map_or(Ok(true), |node| value_type::flag(node).ok_or_else(|| wrong(node, "read", "true or false")))?;
    Ok(ParquetColumn { name, dtype, size, read })
}

fn refusal(node: &Node, message: &str) -> Refusal {
    (node.place.clone(), message.to_owned())
}
