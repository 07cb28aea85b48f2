//! A blob on its way: read, verified and stored in one pass, and resumed where it broke off.

use std::io::Read;

use ureq::BodyReader;
use ureq::http::{Uri, header};

use super::Registry;
use super::failure::{Failure, LONGEST_PAUSE};
use super::http::{self, Answer};
use crate::error::{Error, Kind, Result};
use crate::manifest::Descriptor;
use crate::store::{Held, Ingest};

/// Reads a blob from a registry and writes what it reads to the store. Its bytes are not to be trusted before `finish`.
pub struct Download<'a> {
    registry: &'a Registry,
    descriptor: &'a Descriptor,
    ingest: Ingest,
    /// Bytes that an earlier process had stored, and that come first.
    resumed: u64,
    stream: Option<BodyReader<'static>>,
    failures: u32,
    /// Why it is over; whoever reads on is told again.
    failed: Option<Error>,
    advance: Box<dyn FnMut(u64) -> Result<()> + Send + 'a>,
}

impl<'a> Download<'a> {
    /// Begins; `advance` is told how many bytes came, and may stop it.
    pub fn new(
        registry: &'a Registry,
        descriptor: &'a Descriptor,
        ingest: Ingest,
        advance: impl FnMut(u64) -> Result<()> + Send + 'a,
    ) -> Result<Self> {
        let resumed = ingest.left_over()?;
        Ok(Download {
            registry,
            descriptor,
            ingest,
            resumed,
            stream: None,
            failures: 0,
            failed: None,
            advance: Box::new(advance),
        })
    }

    /// How many bytes an earlier process had stored.
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Reads what was not read yet, verifies size and digest, and makes it a blob.
    pub fn finish(mut self) -> Result<Held> {
        let mut buffer = vec![0; 64 * 1024];
        while self.next(&mut buffer)? > 0 {}
        self.ingest.finish()
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.advance_by(buffer).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn advance_by(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.ingest.written() < self.resumed {
            let count = self.ingest.replay(buffer)?;
            (self.advance)(count as u64)?;
            return Ok(count);
        }
        let most = usize::try_from(self.ingest.missing()).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        loop {
            match self.receive(&mut buffer[..most]) {
                Ok(count) => {
                    self.ingest.write(&buffer[..count])?;
                    self.failures = 0;
                    (self.advance)(count as u64)?;
                    return Ok(count);
                }
                Err(failure) => {
                    self.stream = None;
                    self.failures += 1;
                    let Some(pause) = failure.pause(self.failures) else {
                        return Err(failure.error.within(&self.descriptor.digest));
                    };
                    std::thread::sleep(pause.min(LONGEST_PAUSE));
                }
            }
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(open(self.registry, self.descriptor, self.ingest.written())?),
        };
        match stream.read(buffer) {
            Ok(0) => {
                Err(Failure::network(format!("the connection ended {} bytes before the end", self.ingest.missing())))
            }
            Ok(count) => Ok(count),
            Err(error) => Err(Failure::network(format!(
                "the connection ended {} bytes before the end: {error}",
                self.ingest.missing()
            ))),
        }
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Ok(self.next(buffer)?)
    }
}

/// Opens the blob at `offset`: at the mirrors, the registry, and where its descriptor says that it lies as well.
fn open(registry: &Registry, descriptor: &Descriptor, offset: u64) -> Result<BodyReader<'static>, Failure> {
    let path = format!("blobs/{}", descriptor.digest);
    let range = format!("bytes={offset}-");
    let headers: &[http::Header] = if offset > 0 { &[(header::RANGE, &range)] } else { &[] };
    let mut last = Failure::network("no registry");
    for endpoint in &registry.endpoints {
        match endpoint.get(&path, headers).and_then(|answer| at_offset(answer, descriptor, offset)) {
            Ok(stream) => return Ok(stream),
            Err(failure) => last = failure,
        }
    }
    if last.error.kind() != Kind::NotFound {
        return Err(last);
    }
    let secure = registry.endpoints.iter().all(|endpoint| endpoint.is_secure());
    for url in &descriptor.urls {
        if secure && !url.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https")) {
            last =
                Error::new(Kind::Denied, format!("{url}: only https is fetched for a registry that is https")).into();
            continue;
        }
        let answer = registry.anywhere()?.get(url, None, headers);
        let checked = answer.and_then(|answer| match answer.status().as_u16() {
            200 | 206 => at_offset(answer, descriptor, offset),
            _ => Err(http::refused(answer, url)),
        });
        match checked {
            Ok(stream) => return Ok(stream),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// Checks the announced size and place, and skips what a server sends that does not know ranges.
fn at_offset(answer: Answer, descriptor: &Descriptor, offset: u64) -> Result<BodyReader<'static>, Failure> {
    let partial = answer.status().as_u16() == 206;
    let (start, total) = match partial {
        true => content_range(http::text(&answer, header::CONTENT_RANGE).unwrap_or_default()),
        false => (Some(0), http::text(&answer, header::CONTENT_LENGTH).and_then(|text| text.parse().ok())),
    };
    if let Some(total) = total.filter(|total| *total != descriptor.size) {
        let text = format!("the registry has {total} bytes of it, and the manifest says {}", descriptor.size);
        return Err(Error::corrupt(&descriptor.digest, text).into());
    }
    match start {
        Some(start) if start <= offset => {
            let mut stream = answer.into_body().into_reader();
            let skipped = std::io::copy(&mut stream.by_ref().take(offset - start), &mut std::io::sink());
            match skipped {
                Ok(count) if count == offset - start => Ok(stream),
                Ok(_) => Err(Failure::network("the connection ended before the bytes that were missing")),
                Err(error) => Err(Failure::network(error)),
            }
        }
        _ => Err(Error::new(Kind::Network, "the registry sent another range than it was asked for").into()),
    }
}

/// `bytes START-END/TOTAL`
fn content_range(text: &str) -> (Option<u64>, Option<u64>) {
    let Some((range, total)) = text.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')) else {
        return (None, None);
    };
    (range.split_once('-').and_then(|(start, _)| start.parse().ok()), total.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 7-99/100"), (Some(7), Some(100)));
        assert_eq!(content_range("bytes 7-99/*"), (Some(7), None));
        assert_eq!((content_range("bytes */100"), content_range("7-9/10")), ((None, Some(100)), (None, None)));
    }
}
