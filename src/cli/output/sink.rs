//! The content of files on its way to stdout, from whatever thread reads it.

use crate::model::text;
use std::io::{self, Stdout, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Longest piece that is made safe at a time: its escapes must not be cut for length.
const PIECE: usize = 512;

/// Writes to stdout; on a terminal every control character but line ends and tabs is spelled out.
pub(in crate::cli) struct Sink<W = Stdout> {
    out: W,
    closed: Closed,
    safe: bool,
    pending: Vec<u8>,
}

/// Whether nobody reads what a sink writes any more.
#[derive(Clone, Default)]
pub(in crate::cli) struct Closed(Arc<AtomicBool>);

impl Closed {
    pub(in crate::cli) fn is_closed(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Sink {
    pub(super) fn new(safe: bool) -> (Self, Closed) {
        let closed = Closed::default();
        (Self { out: io::stdout(), closed: closed.clone(), safe, pending: Vec::new() }, closed)
    }
}

impl<W: Write> Sink<W> {
    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.safe {
            return self.out.write_all(bytes);
        }
        for &byte in bytes {
            if matches!(byte, b'\n' | b'\t') {
                self.emit(self.pending.len())?;
                self.out.write_all(&[byte])?;
            } else {
                self.pending.push(byte);
                if self.pending.len() >= PIECE {
                    self.emit(whole_characters(&self.pending))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the first `count` pending bytes.
    fn emit(&mut self, count: usize) -> io::Result<()> {
        self.out.write_all(text::safe_bytes(&self.pending[..count]).as_bytes())?;
        self.pending.drain(..count);
        Ok(())
    }

    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
            self.closed.0.store(true, Relaxed);
        }
        result
    }
}

/// How many of the bytes can be written without cutting a character that goes on later.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => bytes.len(),
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let passed = self.pass(bytes);
        self.noted(passed).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.emit(self.pending.len()).and_then(|()| self.out.flush());
        self.noted(flushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(safe: bool, pieces: &[&[u8]]) -> Vec<u8> {
        let mut sink = Sink { out: Vec::new(), closed: Closed::default(), safe, pending: Vec::new() };
        pieces.iter().for_each(|piece| sink.write_all(piece).unwrap());
        sink.flush().unwrap();
        sink.out
    }

    #[test]
    fn pipes_get_every_byte() {
        assert_eq!(through(false, &[b"a\x1b[31m\xff", b"\n"]), b"a\x1b[31m\xff\n");
    }

    #[test]
    fn terminals_get_no_escapes_and_no_broken_characters() {
        let text = "ä".repeat(600);
        let bytes = text.as_bytes();
        assert_eq!(through(true, &[&bytes[..333], &bytes[333..]]), bytes);
        assert_eq!(
            through(true, &[b"a\tb\n\x1b]0;x\x07\r"]),
            br"a	b
\x1b]0;x\x07\r"
        );
        let escapes = through(true, &[&[0x1b; 5000]]);
        assert_eq!(escapes.len(), 5000 * 4);
    }
}
