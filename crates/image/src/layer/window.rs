//! Zstandard's memory: a decoder keeps a window of what it has written, as long as the frame's header wants it.
//!
//! What builders make by default has 8 MiB at most, and several layers are decoded side by side. A layer that wants more
//! (`--long`, `--ultra`) waits for its turn, so that there is one of them at a time.
//!
//! The window is the floor: any byte of it may be asked for next. Measured, the peak of a pull is the window and 6 MiB: 14 MiB for
//! a window of 8, 38 for 32, 70 for 64, 134 for 128, beyond which layers are refused.

use std::io::{BufReader, Cursor, Read};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::{Result, SysContext};

/// Log2 of what needs no turn; RFC 8878 wants every decoder to support it.
const COMMON: u32 = 23;
/// Log2 of the most that is decoded, as by the `zstd` program; only `--long=28` and up make more.
const MOST: u32 = 27;
/// The longest header of a frame.
const HEADER: u64 = 18;
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

static TAKEN: Mutex<bool> = Mutex::new(false);
static FREED: Condvar = Condvar::new();

/// The right to decode with a large window.
struct Turn;

impl Turn {
    fn wait() -> Turn {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        *FREED.wait_while(taken, |taken| *taken).unwrap_or_else(PoisonError::into_inner) = true;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = false;
        FREED.notify_one();
    }
}

/// A decoder; its turn ends after its memory is freed, since fields are dropped in order.
struct Decoder<R: Read> {
    inner: zstd::Decoder<'static, BufReader<R>>,
    _turn: Option<Turn>,
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.inner.read(buffer)
    }
}

/// The uncompressed bytes of `blob`. Waits for its turn if the first frame wants a large window; if it does not, none of
/// the later ones may.
pub fn open<R: Read>(mut blob: R) -> Result<impl Read + use<R>> {
    let mut begin = Vec::new();
    blob.by_ref().take(HEADER).read_to_end(&mut begin).sys("read", "layer")?;
    // What is no frame, but may be skipped before one, says nothing about the frame.
    let common = wanted(&begin).is_some_and(|window| window <= 1 << COMMON);
    let (turn, most) = if common { (None, COMMON) } else { (Some(Turn::wait()), MOST) };
    let mut inner = zstd::Decoder::new(Cursor::new(begin).chain(blob)).sys("zstd", "layer")?;
    inner.window_log_max(most).sys("zstd", "window")?;
    Ok(Decoder { inner, _turn: turn })
}

/// The window that a frame wants by its header (RFC 8878, section 3.1.1.1), if it is one.
fn wanted(frame: &[u8]) -> Option<u64> {
    let (descriptor, rest) = frame.strip_prefix(&MAGIC)?.split_first()?;
    if descriptor & 0x20 == 0 {
        let byte = rest.first()?;
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * u64::from(byte & 7));
    }
    // A single segment: the window is the content, whose size comes after a dictionary's id.
    let id = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let width = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let size = rest.get(id..id + width)?.iter().rev().fold(0, |size, byte| size << 8 | u64::from(*byte));
    Some(if width == 2 { size + 256 } else { size })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn compressed(length: usize, window: u32) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("encoder");
        encoder.window_log(window).expect("window");
        encoder.write_all(&vec![7; length]).expect("write");
        encoder.finish().expect("finish")
    }

    #[test]
    fn a_frame_says_what_it_wants() {
        for log in [10, 20, 23, 25, 27] {
            assert_eq!(wanted(&compressed(1 << 20, log)), Some(1 << log));
        }
        // Sizes in one, two and four bytes.
        for length in [200, 60_000, 1 << 20] {
            let whole = zstd::bulk::compress(&vec![7; length], 19).expect("compress");
            assert_eq!(wanted(&whole), Some(length as u64));
        }
        for nothing in [&b""[..], b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18\0\0\0\0", b"\x28\xb5\x2f\xfd\xe0\0"] {
            assert_eq!(wanted(nothing), None);
        }
    }

    #[test]
    fn one_large_window_at_a_time() {
        let (large, small) = (compressed(1 << 20, 25), compressed(1 << 20, 23));
        let length = |frame: &[u8]| std::io::copy(&mut open(frame).expect("open"), &mut std::io::sink()).expect("read");
        let first = open(&large[..]).expect("open");
        std::thread::scope(|scope| {
            let second = scope.spawn(|| length(&large));
            std::thread::sleep(std::time::Duration::from_millis(200));
            assert!(!second.is_finished());
            assert_eq!(length(&small), 1 << 20);
            drop(first);
            assert_eq!(second.join().expect("join"), 1 << 20);
        });
    }

    #[test]
    fn what_wants_more_than_it_said_is_refused() {
        for frames in [[compressed(1 << 20, 23), compressed(1 << 20, 24)].concat(), compressed(1 << 20, 28)] {
            assert!(std::io::copy(&mut open(&frames[..]).expect("open"), &mut std::io::sink()).is_err());
        }
    }
}
