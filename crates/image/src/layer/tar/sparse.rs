//! Maps of sparse files, in GNU tar's four forms.

use super::header::{BLOCK, Header};
use super::{Segment, number, pax};
use crate::error::{Error, Result};

/// No file that tar wrote comes near this many pieces; a map of them takes 16 MiB.
const MOST: usize = 1 << 20;

/// Where the map begins in a header of type `S`; it has four pieces, and then says whether blocks with more follow.
const IN_HEADER: (usize, usize) = (386, 4);
/// Such a block has 21, and then the same.
const IN_BLOCK: (usize, usize) = (0, 21);
/// The size with the holes, in a header of type `S`.
const REAL_SIZE: std::ops::Range<usize> = 483..495;

fn bad(why: &str) -> Error {
    Error::corrupt("sparse map", why)
}

/// The old form: in the header and the blocks after it, which `next` reads. Gives the real size too.
pub fn from_header(header: &Header, mut next: impl FnMut() -> Result<[u8; BLOCK]>) -> Result<(Vec<Segment>, u64)> {
    let mut map = Vec::new();
    let size = number::unsigned(&header.bytes()[REAL_SIZE], "size of the sparse file")?;
    let mut more = pieces(header.bytes(), IN_HEADER, &mut map)?;
    while more {
        more = pieces(&next()?, IN_BLOCK, &mut map)?;
    }
    Ok((map, size))
}

/// Adds the pieces of one block; says whether another block follows.
fn pieces(block: &[u8; BLOCK], (begin, count): (usize, usize), map: &mut Vec<Segment>) -> Result<bool> {
    let end = begin + count * 24;
    for piece in block[begin..end].chunks_exact(24) {
        if piece[0] == 0 {
            break;
        }
        let (offset, length) = piece.split_at(12);
        add(map, number::unsigned(offset, "sparse map")?, number::unsigned(length, "sparse map")?)?;
    }
    Ok(block[end] != 0)
}

fn add(map: &mut Vec<Segment>, offset: u64, length: u64) -> Result<()> {
    if map.len() >= MOST {
        return Err(bad("has too many pieces"));
    }
    map.push(Segment { offset, length });
    Ok(())
}

/// PAX 0.1: `offset,length,offset,length…`.
pub fn from_list(value: &[u8]) -> Result<Vec<Segment>> {
    let mut map = Vec::new();
    let mut numbers = value.split(|byte| *byte == b',');
    while let Some(offset) = numbers.next() {
        let length = numbers.next().ok_or_else(|| bad("ends with an offset"))?;
        add(&mut map, pax::decimal(offset)?, pax::decimal(length)?)?;
    }
    Ok(map)
}

/// PAX 1.0: decimal numbers, each on a line, in the first blocks of the data, which `next` reads.
pub fn from_data(mut next: impl FnMut() -> Result<[u8; BLOCK]>) -> Result<Vec<Segment>> {
    let (mut numbers, mut line): (Vec<u64>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut wanted = None;
    loop {
        for byte in next()? {
            if byte != b'\n' {
                line.push(byte);
                if line.len() > 20 {
                    return Err(bad("has a line that is no number"));
                }
                continue;
            }
            let value = pax::decimal(&line)?;
            line.clear();
            match wanted {
                None => {
                    wanted = Some(usize::try_from(value).ok().filter(|n| *n <= MOST).ok_or_else(|| bad("is too long"))?)
                }
                Some(_) => numbers.push(value),
            }
            if wanted.is_some_and(|count| numbers.len() == 2 * count) {
                // What is left of the block is padding.
                return Ok(numbers.chunks_exact(2).map(|p| Segment { offset: p[0], length: p[1] }).collect());
            }
        }
    }
}

/// The map without empty pieces, if it is ordered, lies within `size`, and has as many bytes as the archive, `stored`.
pub fn check(mut map: Vec<Segment>, size: u64, stored: u64) -> Result<Vec<Segment>> {
    let (mut end, mut sum) = (0, 0_u64);
    for Segment { offset, length } in &map {
        let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= size);
        end = next.ok_or_else(|| bad("is not in order, or goes beyond the file"))?;
        sum += length;
    }
    if sum != stored {
        return Err(bad("does not have as many bytes as the archive"));
    }
    map.retain(|segment| segment.length > 0);
    Ok(map)
}
