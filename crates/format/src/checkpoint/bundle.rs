//! TensorFlow's bundle: a data file with contiguous tensors, an index with their offsets and checksums, and the
//! object graph that `tf.train.Checkpoint` restores from.
//!
//! The index is encoded separately from the data, so the checksum of a tensor is chosen before the tensor exists: the
//! tensor's last bytes are adjusted to the checksum, or the checksum is computed from the length if all elements are
//! ones.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use dlio_config::vocabulary::DType;

use super::state::{Content, State, Storage, element, ones};
use super::table;
use crate::crc::{self, Crc32c};
use crate::encode::Piece;
use crate::encode::preset_crc::{PresetCrc, PresetPayload};
use crate::encode::segment::Numbers;
use crate::protobuf::{Message, varint};

/// Variable in which a TensorFlow saver counts its saves; it is 1 here.
const COUNTER: &str = "save_counter";
const GRAPH: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";
const INT64: u64 = 9;
const STRING: u64 = 7;

/// An object of the graph.
#[derive(Debug, Default)]
struct Node {
    children: Vec<(String, usize)>,
    value: Option<Variable>,
    /// Whether this object or one below it has a value.
    values: bool,
}

#[derive(Debug)]
struct Variable {
    key: String,
    full_name: &'static str,
    /// Storage number, or `None` for the save counter.
    storage: Option<u32>,
}

/// A bundle that is ready to be written.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) data: Vec<Piece>,
    pub(super) index: Vec<u8>,
}

/// A tensor's entry in the index.
struct Entry {
    dtype: u64,
    elements: Option<u64>,
    offset: u64,
    size: u64,
    crc: u32,
}

impl Entry {
    fn message(&self) -> Vec<u8> {
        let dimension = |&elements: &u64| Message::default().message(2, &Message::default().number(1, elements));
        let shape = self.elements.as_ref().map(dimension).unwrap_or_default();
        let message = Message::default().number(1, self.dtype).message(2, &shape);
        message.number(4, self.offset).number(5, self.size).fixed32(6, self.crc).0
    }
}

/// Returns TensorFlow's number of an element type.
fn number(dtype: DType) -> u64 {
    match dtype {
        DType::Float32 => 1,
        DType::Float64 => 2,
        DType::Uint8 => 4,
        DType::Bfloat16 => 14,
        DType::Float16 => 19,
        // A state has no other element types.
        _ => 6,
    }
}

/// Returns the bundle of a state.
pub(super) fn bundle(state: &State, content: Content) -> Bundle {
    let nodes = graph(state);
    let storages: Vec<Storage> = state.storages().collect();
    let mut presets = HashMap::new();
    let (mut data, mut entries, mut offset) = (Vec::new(), BTreeMap::new(), 0);
    for variable in nodes.iter().filter_map(|node| node.value.as_ref()) {
        let (piece, entry) = match variable.storage {
            None => {
                let one = 1_u64.to_le_bytes();
                let entry = Entry { dtype: INT64, elements: None, offset, size: 8, crc: crc::masked_crc32c(&one) };
                (Piece::bytes(one.to_vec()), entry)
            }
            Some(storage) => {
                let stored = storages[storage as usize];
                let (piece, crc) = tensor(content, (storage, stored), &mut presets);
                let (dtype, elements) = (number(stored.dtype), Some(stored.elements));
                (piece, Entry { dtype, elements, offset, size: stored.bytes(), crc })
            }
        };
        offset += entry.size;
        data.push(piece);
        entries.insert(variable.key.clone(), entry.message());
    }
    let (graph, crc) = string(&serialized(&nodes));
    let entry = Entry { dtype: STRING, elements: None, offset, size: graph.len() as u64, crc };
    data.push(Piece::bytes(graph));
    entries.insert(GRAPH.to_owned(), entry.message());
    // One shard, little-endian, written by the first version of the format.
    let header = Message::default().number(1, 1).message(3, &Message::default().number(1, 1));
    entries.insert(String::new(), header.0);
    let index = table::table(entries.iter().map(|(key, value)| (key.as_bytes(), value.as_slice())));
    Bundle { data, index }
}

/// Returns the length of a state's data file in bytes.
pub(super) fn data_len(state: &State) -> u64 {
    state.bytes() + 8 + string(&serialized(&graph(state))).0.len() as u64
}

/// Returns a tensor's bytes and its masked CRC-32C.
fn tensor(
    content: Content,
    (number, storage): (u32, Storage),
    presets: &mut HashMap<DType, Arc<PresetCrc>>,
) -> (Piece, u32) {
    let bytes = storage.bytes();
    if !content.randomize {
        let word = ones(storage.dtype);
        return (Piece::numbers(Numbers::repeated(word, bytes)), crc::mask(crc::crc32c_repeated(word, bytes)));
    }
    let stream = content.number.wrapping_add(u64::from(number));
    let payload = content.payload.stream(stream, element(storage.dtype), bytes);
    let preset = presets.entry(storage.dtype).or_insert_with(|| Arc::new(PresetCrc::crc32c(element(storage.dtype))));
    let (payload, crc) = PresetPayload::crc32c(preset, payload, content.payload.number(stream) as u32);
    (Piece::Preset(Box::new(payload)), crc::mask(crc.into()))
}

/// Returns the objects of a state in breadth-first order, as TensorFlow numbers them.
fn graph(state: &State) -> Vec<Node> {
    let mut nodes = vec![Node::default()];
    let mut variables: HashMap<u32, usize> = HashMap::new();
    // Node, tensors below it, empty mappings below it, and depth.
    let mut open = VecDeque::new();
    let mut items: Vec<(&[String], Option<u32>)> = state
        .tensors
        .iter()
        .map(|tensor| (tensor.path.as_slice(), Some(tensor.storage)))
        .chain(state.empty.iter().map(|path| (path.as_slice(), None)))
        .collect();
    // The saver sorts the top-level keys; nested mappings keep their order.
    items.sort_by(|one, other| one.0.first().cmp(&other.0.first()));
    open.push_back((0, items, 0));
    while let Some((node, items, depth)) = open.pop_front() {
        let groups = items.chunk_by(|one, other| one.0.get(depth) == other.0.get(depth));
        for group in groups.filter(|group| group[0].0.len() > depth) {
            let (path, storage) = group[0];
            let storage = storage.filter(|_| path.len() == depth + 1);
            let known = storage.and_then(|storage| variables.get(&storage).copied());
            let child = known.unwrap_or_else(|| {
                nodes.push(Node::default());
                nodes.len() - 1
            });
            nodes[node].children.push((path[depth].clone(), child));
            match storage {
                Some(storage) if known.is_none() => {
                    variables.insert(storage, child);
                    nodes[child].value =
                        Some(Variable { key: key(&path.join("/")), full_name: "Variable", storage: Some(storage) });
                }
                Some(_) => {}
                None => open.push_back((child, group.to_vec(), depth + 1)),
            }
        }
        if node == 0 {
            let child = nodes.len();
            let value = Some(Variable { key: key(COUNTER), full_name: COUNTER, storage: None });
            nodes.push(Node { value, ..Node::default() });
            nodes[0].children.push((COUNTER.to_owned(), child));
        }
    }
    // Children have higher numbers than their parents, except variables, which have no children.
    for node in (0..nodes.len()).rev() {
        let below = nodes[node].children.iter().any(|&(_, child)| nodes[child].values || nodes[child].value.is_some());
        nodes[node].values = below || nodes[node].value.is_some();
    }
    nodes
}

fn key(path: &str) -> String {
    format!("{path}/.ATTRIBUTES/VARIABLE_VALUE")
}

fn serialized(nodes: &[Node]) -> Vec<u8> {
    let mut graph = Message::default();
    for node in nodes {
        let mut message = Message::default();
        for (name, child) in &node.children {
            message = message.message(1, &Message::default().number(1, *child as u64).text(2, name));
        }
        if let Some(variable) = &node.value {
            let value = Message::default().text(1, "VARIABLE_VALUE").text(2, variable.full_name).text(3, &variable.key);
            message = message.message(2, &value);
        }
        let values = Message::default().number(1, node.values.into());
        graph = graph.message(1, &message.message(5, &values));
    }
    graph.0
}

/// Returns a string tensor with one element and its masked checksum, which covers the length, the length's checksum
/// and the text.
fn string(text: &[u8]) -> (Vec<u8>, u32) {
    let mut bytes = Vec::new();
    varint(&mut bytes, text.len() as u64);
    let mut crc = Crc32c::new();
    match u32::try_from(text.len()) {
        Ok(length) => crc.update(&length.to_le_bytes()),
        Err(_) => crc.update(&(text.len() as u64).to_le_bytes()),
    }
    let length = crc.masked().to_le_bytes();
    bytes.extend(length);
    crc.update(&length);
    bytes.extend(text);
    crc.update(text);
    (bytes, crc.masked())
}

/// Returns the content of the file that names the latest checkpoint of a folder.
pub(super) fn latest(name: &str) -> Vec<u8> {
    format!("model_checkpoint_path: \"{name}\"\nall_model_checkpoint_paths: \"{name}\"\n").into_bytes()
}
