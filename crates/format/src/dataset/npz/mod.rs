//! numpy's zip archives with the members `x.npy` and `y.npy`: stored, byte for byte as `numpy.savez` writes them, or
//! deflated, as `numpy.savez_compressed` writes them.

mod deflated;
mod numpy_order;
mod read;

use super::npy;
use super::python_zip::{Member, directory};
use crate::buffer::clamp;
use crate::crc::Crc32;
use crate::encode::preset_crc::PresetPayload;
use crate::encode::{Encoder, Method, Piece, compress};
use crate::error::Error;
use crate::layout::Layout;
use crate::payload::Stream;
use crate::shape::FileShape;

pub(crate) use numpy_order::NumpyOrderReader;
pub(crate) use read::ArchiveReader;

pub(crate) fn encoder(layout: &Layout, is_deflated: bool, shape: &FileShape) -> Result<Encoder, Error> {
    let data = layout.data_bytes(shape)?;
    let x_header = npy::header(npy::descr(layout.dtype), &npy::array_shape(shape));
    let y_header = npy::header("<i8", &[shape.samples]);
    let labels = shape.samples.checked_mul(8).filter(|&bytes| bytes < 1 << 62).ok_or_else(|| Error::Shape {
        dims: shape.dims.to_vec(),
        samples: shape.samples,
        reason: "its labels exceed 2^62 bytes".to_owned(),
    })?;
    let payload = layout.payload.stream(shape.file, layout.element, data);
    if is_deflated {
        return Ok(compressed_archive(x_header, payload, y_header, labels));
    }
    let wanted = layout.payload.number(shape.file) as u32;
    let (payload, crc) = PresetPayload::crc32(&layout.preset_crc, &x_header, payload, wanted);

    let x = Member::stored("x.npy", crc, x_header.len() as u64 + data, 0);
    let x_local = x.local();
    let y_offset = x_local.len() as u64 + x.size;
    let y_crc = crc_with_zeros(&y_header, labels);
    let y = Member::stored("y.npy", y_crc, y_header.len() as u64 + labels, y_offset);
    let y_local = y.local();
    let end = y_offset + y_local.len() as u64 + y.size;
    Ok(Encoder::pieces([
        Piece::bytes([x_local, x_header].concat()),
        Piece::Preset(Box::new(payload)),
        Piece::bytes([y_local, y_header].concat()),
        Piece::zeros(labels),
        Piece::bytes(directory(&[x, y], end)),
    ]))
}

/// Returns the archive that `numpy.savez_compressed` writes.
fn compressed_archive(x_header: Vec<u8>, payload: Stream, y_header: Vec<u8>, labels: u64) -> Encoder {
    let x = Encoder::pieces([Piece::bytes(x_header), Piece::payload(payload)]);
    let y = Encoder::pieces([Piece::bytes(y_header), Piece::zeros(labels)]);
    let (mut members, mut pieces, mut offset) = (Vec::new(), Vec::new(), 0);
    for (name, plain) in [("x.npy", x), ("y.npy", y)] {
        let packed = compress(&plain, Method::Deflate);
        let member = Member { offset, ..Member::deflated(name, packed.crc, plain.len(), packed.bytes) };
        let local = member.local();
        offset += local.len() as u64 + packed.bytes;
        pieces.extend([Piece::bytes(local), packed.piece]);
        members.push(member);
    }
    pieces.push(Piece::bytes(directory(&members, offset)));
    Encoder::pieces(pieces)
}

fn crc_with_zeros(prefix: &[u8], mut zeros: u64) -> u32 {
    let mut crc = Crc32::new();
    crc.update(prefix);
    let block = [0; 4096];
    while zeros > 0 {
        let count = clamp(zeros, block.len());
        crc.update(&block[..count]);
        zeros -= count as u64;
    }
    crc.value()
}
