//! Two threads: one inflates, the other (the caller's) hashes and writes. Between them go a few buffers, back and forth.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope};

use super::decompress;
use crate::digest::{Algorithm, Digest, Verifier};
use crate::error::{Result, SysContext};
use crate::manifest::Compression;

/// Bytes in a buffer. Smaller ones cost more switches, larger ones leave the second-level cache (measured: 64 KiB to
/// 256 KiB are the same, 1 MiB is a tenth slower).
const BUFFER: usize = 128 << 10;
/// Buffers on their way; the writer may fall back by so many before the inflater waits.
const IN_FLIGHT: usize = 4;
/// The inflater reads from the network too; TLS takes more stack than inflating.
const STACK: usize = 1 << 20;

/// The uncompressed bytes, hashed as they pass.
pub struct Stream {
    full: Receiver<Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
    hash: Verifier,
    size: u64,
}

/// Begins to inflate `blob` in a thread of `scope`, which ends with the blob or with the stream.
pub fn start<'scope, 'env, R: Read + Send + 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    blob: R,
    compression: Compression,
) -> Result<Stream> {
    let mut reader = decompress::open(blob, compression)?;
    let (full_to, full) = sync_channel(IN_FLIGHT);
    let (empty, empty_from) = channel();
    let thread = Builder::new().name("inflate".into()).stack_size(STACK);
    let inflate = move || inflate(&mut reader, compression, &full_to, &empty_from);
    thread.spawn_scoped(scope, inflate).sys("clone", "the inflating thread")?;
    let hash = Verifier::new(Algorithm::Sha256);
    Ok(Stream { full, empty, current: Vec::new(), position: 0, hash, size: 0 })
}

fn inflate(
    reader: &mut dyn Read,
    compression: Compression,
    full: &SyncSender<Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) {
    loop {
        let mut buffer = empty.try_recv().unwrap_or_else(|_| vec![0; BUFFER]);
        buffer.resize(BUFFER, 0);
        let message = match read_full(reader, &mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                Ok(buffer)
            }
            Err(error) => Err(decompress::failed(error, compression)),
        };
        let last = !matches!(&message, Ok(buffer) if !buffer.is_empty());
        // If nobody listens any more, the other side has failed, and says so.
        if full.send(message).is_err() || last {
            return;
        }
    }
}

/// Fills `buffer` as far as the stream goes.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Stream {
    /// Reads what is left, and gives the digest and the number of all bytes.
    pub fn finish(mut self) -> Result<(Digest, u64)> {
        loop {
            let length = self.fill_buf().sys("read", "layer")?.len();
            if length == 0 {
                return Ok((self.hash.finish(), self.size));
            }
            self.consume(length);
        }
    }

    fn next(&mut self) -> io::Result<()> {
        // The sender goes away after it has sent the end or an error.
        let Ok(buffer) = self.full.recv() else { return Ok(()) };
        let old = std::mem::replace(&mut self.current, buffer?);
        self.position = 0;
        self.hash.update(&self.current);
        self.size += self.current.len() as u64;
        // It may have ended meanwhile, and then needs no buffers.
        let _ = self.empty.send(old);
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.current.len() {
            self.next()?;
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, length: usize) {
        self.position = (self.position + length).min(self.current.len());
    }
}
