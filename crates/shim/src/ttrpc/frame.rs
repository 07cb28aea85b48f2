//! The frame: ten bytes of header (length, stream, kind, flags; numbers big-endian), then a protobuf message.

use std::os::fd::AsFd;

use rustix::io::Errno;

/// Its length.
const HEADER: usize = 10;
/// The longest message that ttrpc allows.
pub const LONGEST: usize = 4 << 20;
/// How much is read at a time.
const CHUNK: usize = 4096;
/// A buffer that grew beyond this for a large message is given back after it.
const KEPT: usize = 4 * CHUNK;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From the client.
    Request,
    /// From the server.
    Response,
    /// Anything else: stream data, or what later versions may bring.
    Other(u8),
}

impl Kind {
    fn from_byte(byte: u8) -> Kind {
        match byte {
            1 => Kind::Request,
            2 => Kind::Response,
            other => Kind::Other(other),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Kind::Request => 1,
            Kind::Response => 2,
            Kind::Other(byte) => byte,
        }
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Odd for streams that the client began.
    pub stream: u32,
    /// What it is.
    pub kind: Kind,
    /// The message; `None` if it was longer than [`LONGEST`] and left out.
    pub message: Option<Vec<u8>>,
}

/// Appends a frame to `out`.
pub fn put(out: &mut Vec<u8>, stream: u32, kind: Kind, message: &[u8]) {
    // Messages are our own, or were checked: they are far shorter than a u32 can tell.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    out.reserve(HEADER + message.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&[kind.byte(), 0]);
    out.extend_from_slice(message);
}

/// What reading has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more later.
    Open,
    /// The peer has closed its side, or is gone.
    Closed,
}

/// Frames out of the bytes of a stream.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
    /// How many of them were taken; they go before more is read, not with each frame, which would move all that comes
    /// after it.
    taken: usize,
    /// What is left of a message that is too long.
    skip: usize,
}

impl FrameReader {
    /// Reads what is there, without waiting, from a socket that does not block: no more than makes a frame whole, so that
    /// a peer that writes without end fills no memory. What is left in the socket makes it readable again.
    pub fn fill(&mut self, socket: impl AsFd) -> Progress {
        let mut chunk = [0u8; CHUNK];
        while self.bytes.len() - self.taken < HEADER + LONGEST {
            match rustix::io::read(&socket, &mut chunk[..]) {
                Ok(0) => return Progress::Closed,
                Ok(read) => self.push(&chunk[..read]),
                Err(Errno::AGAIN) => return Progress::Open,
                Err(Errno::INTR) => {}
                Err(_) => return Progress::Closed,
            }
        }
        Progress::Open
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.forget_taken();
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.bytes.extend_from_slice(&bytes[skipped..]);
    }

    /// Takes the next whole frame. Whoever needs no more than one does not have to ask for another.
    pub fn next(&mut self) -> Option<Frame> {
        let frame = self.take();
        if frame.is_none() || self.taken == self.bytes.len() {
            self.forget_taken();
        }
        frame
    }

    fn forget_taken(&mut self) {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let (header, rest) = self.bytes[self.taken..].split_first_chunk::<HEADER>()?;
        let [l0, l1, l2, l3, s0, s1, s2, s3, kind, _flags] = *header;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let (stream, kind) = (u32::from_be_bytes([s0, s1, s2, s3]), Kind::from_byte(kind));
        if length > LONGEST {
            let here = rest.len().min(length);
            self.skip = length - here;
            self.taken += HEADER + here;
            return Some(Frame { stream, kind, message: None });
        }
        let message = rest.get(..length)?.to_vec();
        self.taken += HEADER + length;
        Some(Frame { stream, kind, message: Some(message) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u32, message: &[u8]) -> Frame {
        Frame { stream, kind: Kind::Request, message: Some(message.to_vec()) }
    }

    #[test]
    fn the_header_is_as_the_protocol_says() {
        let mut out = Vec::new();
        put(&mut out, 0x0102_0305, Kind::Response, b"abc");
        assert_eq!(out, [0, 0, 0, 3, 1, 2, 3, 5, 2, 0, b'a', b'b', b'c']);
    }

    #[test]
    fn frames_are_found_however_the_bytes_come() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, Kind::Request, b"first");
        put(&mut bytes, 3, Kind::Request, b"");
        put(&mut bytes, 5, Kind::Request, &[7; 10_000]);
        for size in [1, 9, 10, 11, 4096, bytes.len()] {
            let mut reader = FrameReader::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                reader.push(piece);
                found.extend(std::iter::from_fn(|| reader.next()));
            }
            assert_eq!(found, [frame(1, b"first"), frame(3, b""), frame(5, &[7; 10_000])], "in pieces of {size}");
            assert!(reader.bytes.is_empty());
        }
    }

    #[test]
    fn a_message_too_long_is_told_and_skipped_without_being_kept() {
        let mut reader = FrameReader::default();
        reader.push(&[0, 0x40, 0, 1, 0, 0, 0, 9, 1, 0]);
        reader.push(b"the beginning");
        assert_eq!(reader.next(), Some(Frame { stream: 9, kind: Kind::Request, message: None }));
        while reader.skip > CHUNK {
            reader.push(&[0; CHUNK]);
            assert_eq!(reader.next(), None);
            assert!(reader.bytes.is_empty());
        }
        let mut rest = vec![0; reader.skip];
        put(&mut rest, 11, Kind::Request, b"next");
        reader.push(&rest);
        assert_eq!(reader.next(), Some(frame(11, b"next")));
    }

    #[test]
    fn many_small_frames_cost_no_more_than_their_bytes() {
        let mut reader = FrameReader::default();
        let frames = LONGEST / HEADER;
        let mut bytes = Vec::new();
        (0..frames).for_each(|_| put(&mut bytes, 1, Kind::Request, b""));
        reader.push(&bytes);
        // Moving all that comes after each frame would move 800 GB here.
        let begin = std::time::Instant::now();
        assert_eq!(std::iter::from_fn(|| reader.next()).count(), frames);
        assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
        assert_eq!(reader.bytes.capacity(), 0);
    }

    #[test]
    fn who_takes_one_frame_at_a_time_keeps_none() {
        // As the events' client does: it has its answer, and does not look for another. A second comes with the first.
        let mut reader = FrameReader::default();
        let mut bytes = Vec::new();
        (0..2).for_each(|_| put(&mut bytes, 1, Kind::Response, b"answer"));
        let (half, rest) = bytes.split_at(HEADER + 9);
        reader.push(half);
        for _ in 0..1000 {
            assert!(reader.next().is_some());
            reader.push(rest);
            assert!(reader.next().is_some());
            assert!(reader.bytes.is_empty());
            reader.push(half);
            assert!(reader.bytes.len() <= half.len());
        }
    }

    #[test]
    fn a_peer_that_writes_without_end_fills_no_memory() {
        let endless = std::fs::File::open("/dev/zero").expect("open");
        let mut reader = FrameReader::default();
        assert_eq!(reader.fill(&endless), Progress::Open);
        assert!(reader.bytes.len() <= HEADER + LONGEST + CHUNK);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        let mut state = 1u32;
        for _ in 0..200 {
            let mut reader = FrameReader::default();
            let bytes: Vec<u8> = (0..300)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.to_be_bytes()[0]
                })
                .collect();
            bytes.chunks(7).for_each(|piece| {
                reader.push(piece);
                while reader.next().is_some() {}
            });
        }
    }
}
