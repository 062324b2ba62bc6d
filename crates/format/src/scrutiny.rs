//! How closely a decoder looks at what passes.

use dlio_config::vocabulary::{Decode, Format, VerifyBy};

use crate::error::Error;

/// How closely a decoder looks at what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scrutiny {
    /// The structure only.
    Structure,
    /// Every byte is compared with what the seed makes.
    Payload,
    /// The checksums of the format are computed.
    Checksums,
    /// The work of a training reader.
    Full,
}

impl Scrutiny {
    /// What a layout asks of its decoders.
    ///
    /// # Errors
    /// Checksums of a format that has none.
    pub(crate) fn new(format: Format, verify_by: VerifyBy, decode: Decode) -> Result<Self, Error> {
        match (decode, verify_by) {
            (Decode::None, _) => Ok(Self::Structure),
            (Decode::Full, _) => Ok(Self::Full),
            (Decode::Verify, VerifyBy::Payload) => Ok(Self::Payload),
            (Decode::Verify, VerifyBy::Checksum) if has_checksums(format) => Ok(Self::Checksums),
            (Decode::Verify, VerifyBy::Checksum) => Err(Error::Option {
                option: "dlio_rs.verify_by: checksum".to_owned(),
                reason: format!(
                    "{} files carry no checksum of their content; use payload for a data set of this program",
                    format
                ),
            }),
        }
    }

    /// Whether the checksums of the format are computed.
    pub(crate) fn sums(self) -> bool {
        matches!(self, Self::Checksums | Self::Full)
    }
}

/// Formats whose files carry checksums of their content.
fn has_checksums(format: Format) -> bool {
    matches!(format, Format::Npz | Format::TfRecord | Format::Png)
}
