//! The subset of protocol buffers that TFRecord examples and TensorFlow bundles use.

/// A message whose fields are appended in ascending order of their numbers. Fields with their default value are left
/// out.
#[derive(Debug, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn number(mut self, field: u8, number: u64) -> Self {
        if number > 0 {
            self.0.push(field << 3);
            varint(&mut self.0, number);
        }
        self
    }

    pub(crate) fn fixed32(mut self, field: u8, number: u32) -> Self {
        if number > 0 {
            self.0.push(field << 3 | 5);
            self.0.extend(number.to_le_bytes());
        }
        self
    }

    pub(crate) fn text(self, field: u8, text: &str) -> Self {
        if text.is_empty() { self } else { self.bytes(field, text.as_bytes()) }
    }

    /// Appends a nested message, which is written even if it is empty.
    pub(crate) fn message(self, field: u8, message: &Message) -> Self {
        self.bytes(field, &message.0)
    }

    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        self.0.push(field << 3 | 2);
        varint(&mut self.0, bytes.len() as u64);
        self.0.extend(bytes);
        self
    }
}

/// Appends a varint: groups of seven bits, lowest group first.
pub(crate) fn varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
