//! What layers are compressed with.

use std::io::{BufReader, Read};

use super::window;
use crate::error::{Error, Result, SysContext};
use crate::manifest::Compression;

/// What is read from the blob at once.
const INPUT: usize = 64 << 10;

/// The uncompressed bytes of `blob`.
///
/// gzip may have many members, as pigz and eStargz write it; Zstandard may have many frames (zstd:chunked), and its memory is
/// bounded too: large windows are decoded one at a time.
pub fn open<'a, R: Read + Send + 'a>(blob: R, compression: Compression) -> Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(blob),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(INPUT, blob))),
        Compression::Zstd => Box::new(window::open(blob)?),
    })
}

/// What a failed read means: the source's own error, or damage.
pub fn failed(error: std::io::Error, compression: Compression) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) || error.raw_os_error().is_some() {
        return Err::<(), _>(error).sys("read", "layer").err().unwrap_or_else(|| Error::corrupt("layer", "unreadable"));
    }
    let what = match compression {
        Compression::None => "layer",
        Compression::Gzip => "gzip data of the layer",
        Compression::Zstd => "zstd data of the layer",
    };
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::corrupt(what, "ends too early: it is cut off"),
        _ => Error::corrupt(what, error),
    }
}
