//! CSV as pandas writes it: one row per sample, no header, no index; `,` between values and a newline after each row.
//!
//! In dialect `dlio` all rows of a file are equal, as in the reference. The length of the text depends on the values,
//! so an encoder generates it twice, once to measure it (a row of integers is measured without being written); it
//! holds a thousand values. Compressed text is streamed through `encode::compress`; the file name does not show the
//! compression, as in the reference.

pub(crate) mod compression;
mod decompress;
mod number;
mod read;
pub(crate) mod text;

use dlio_config::vocabulary::Dialect;

use super::python_zip::{Member, directory};
use crate::encode::{Encoder, Method, Piece, compress};
use crate::error::Error;
use crate::layout::Layout;
use crate::shape::FileShape;
use compression::Compression;
use text::CsvText;

pub(crate) use read::Reader;

/// Name of the member in a zip archive; readers take the only member, whatever its name.
const MEMBER: &str = "records.csv";

pub(crate) fn encoder(layout: &Layout, compression: Compression, shape: &FileShape) -> Result<Encoder, Error> {
    let payload = layout.payload.stream(shape.file, layout.element, layout.data_bytes(shape)?);
    let text = CsvText::new(layout.dtype, payload, shape.samples, layout.dialect == Dialect::Dlio);
    let plain = Encoder::pieces([Piece::CsvText(Box::new(text))]);
    Ok(match compression {
        Compression::None => plain,
        Compression::Gzip => {
            let packed = compress(&plain, Method::Deflate);
            // Gzip head: deflate, no name, no time, unknown system. Checksum and length follow the data.
            let head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
            let tail = [packed.crc.to_le_bytes(), (plain.len() as u32).to_le_bytes()].concat();
            Encoder::pieces([Piece::bytes(head), packed.piece, Piece::bytes(tail)])
        }
        Compression::Zstd => Encoder::pieces([compress(&plain, Method::Zstd).piece]),
        Compression::Bzip2 => Encoder::pieces([compress(&plain, Method::Bzip2).piece]),
        Compression::Xz => Encoder::pieces([compress(&plain, Method::Xz).piece]),
        Compression::Zip => {
            let packed = compress(&plain, Method::Deflate);
            let member = Member::deflated(MEMBER, packed.crc, plain.len(), packed.bytes);
            let local = member.local();
            let end = local.len() as u64 + packed.bytes;
            Encoder::pieces([Piece::bytes(local), packed.piece, Piece::bytes(directory(&[member], end))])
        }
    })
}
