//! Parquet: written page by page with a length that is known in advance, read row group by row group.
//!
//! The pages are written here and not by a library, because a library holds a row group and knows the length of a file
//! when it is written, and because payload goes into plain pages as it is. Reading only needs the footer, and of that
//! only where the row groups are; values are decoded by the `parquet` crate, when they are decoded at all.

mod footer;
pub(crate) mod options;
mod page;
pub(crate) mod pages;
mod part;
mod plan;
mod read;
mod schema;
mod thrift;
mod values;

use std::sync::Arc;

use crate::encode::Encoder;
use crate::error::Error;
use crate::layout::Layout;
use crate::shape::FileShape;
use options::Options;
use pages::Pages;
use plan::{FilePlan, MAGIC};

pub use footer::Footer;
pub(crate) use read::Reader;

/// The encoder of a file.
pub(crate) fn encoder(layout: &Layout, options: &Options, shape: &FileShape) -> Result<Encoder, Error> {
    let plan = Arc::new(FilePlan::measured(layout, options, shape)?);
    let (mut offset, mut footer) = (MAGIC.len() as u64, 0);
    for group in 0..plan.groups() {
        footer += plan.group_meta(group, offset).len() as u64;
        offset += plan.group_stored(group);
    }
    footer += plan.footer_head().len() as u64 + plan.footer_tail().len() as u64;
    let len = offset + footer + 8;
    let footer = u32::try_from(footer).ok().filter(|&footer| footer < i32::MAX as u32);
    let footer = footer.ok_or_else(|| plan.refuse(shape, "its footer has more than 2 GiB; use larger row groups"))?;
    Ok(Encoder::pages(len, Pages::whole_file(plan, footer)))
}
