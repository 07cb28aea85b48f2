//! One 512-byte header: its checksum, its dialect, its fields.

use super::number;
use crate::error::{Error, Result};

/// Archives consist of blocks of this many bytes.
pub const BLOCK: usize = 512;

/// A header block whose checksum is right.
pub struct Header(Box<[u8; BLOCK]>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// POSIX, with a prefix for long names; PAX is ustar with extended headers.
    Ustar,
    /// GNU, which has times and a sparse map where ustar has the prefix.
    Gnu,
    /// What there was before.
    V7,
}

impl Header {
    /// Takes a block that is not all zeros.
    pub fn check(block: &[u8; BLOCK]) -> Result<Header> {
        let header = Header(Box::new(*block));
        let wanted = number::parse(&header.0[148..156], "checksum")?;
        // Some old tools took the bytes as signed.
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (index, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&index) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if wanted != unsigned && wanted != signed {
            return Err(Error::corrupt("checksum", "a header was expected, and this is none"));
        }
        Ok(header)
    }

    fn dialect(&self) -> Dialect {
        match &self.0[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar\0") => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    fn text(&self, from: usize, width: usize) -> &[u8] {
        until_nul(&self.0[from..from + width])
    }

    /// The member's name.
    pub fn name(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        match self.text(345, 155) {
            prefix if self.dialect() == Dialect::Ustar && !prefix.is_empty() => [prefix, b"/", name].concat(),
            _ => name.to_owned(),
        }
    }

    /// What a link leads to.
    pub fn link(&self) -> Vec<u8> {
        self.text(157, 100).to_owned()
    }

    /// The letter that says what the member is.
    pub fn flag(&self) -> u8 {
        self.0[156]
    }

    /// Permissions; some tools add the type of the file, which the flag has.
    pub fn mode(&self) -> Result<u32> {
        Ok((number::parse(&self.0[100..108], "mode")? & 0o7777) as u32)
    }

    /// The owner.
    pub fn uid(&self) -> Result<u64> {
        number::unsigned(&self.0[108..116], "uid")
    }

    /// The group.
    pub fn gid(&self) -> Result<u64> {
        number::unsigned(&self.0[116..124], "gid")
    }

    /// How many bytes of data follow.
    pub fn size(&self) -> Result<u64> {
        number::unsigned(&self.0[124..136], "size")
    }

    /// Seconds since 1970.
    pub fn mtime(&self) -> Result<i64> {
        number::parse(&self.0[136..148], "mtime")
    }

    /// The numbers of a device.
    pub fn device(&self) -> Result<(u32, u32)> {
        let number = |from: usize, what| {
            let value = number::unsigned(&self.0[from..from + 8], what)?;
            u32::try_from(value).map_err(|_| Error::corrupt(what, "the number is out of range"))
        };
        Ok((number(329, "devmajor")?, number(337, "devminor")?))
    }

    /// Whether it may be one of GNU's sparse files, whose map lies where ustar has the prefix.
    pub fn is_gnu(&self) -> bool {
        self.dialect() == Dialect::Gnu
    }

    /// The bytes, for the sparse map.
    pub fn bytes(&self) -> &[u8; BLOCK] {
        &self.0
    }
}

/// What comes before the first NUL.
pub fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
