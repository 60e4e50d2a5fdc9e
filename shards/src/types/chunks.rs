//! The bytes of a big string, in reference-counted chunks.
//!
//! ```text
//! len = 150000          chunks: [ 64 KiB ][ 64 KiB ][ 18928 bytes ]     all but the last are full
//! ```
//! A clone shares the chunks; a write to a shared chunk copies that chunk first. So a snapshot can hold a big value as it was
//! at the cut for the price of a pointer per chunk, and one SETBIT meanwhile copies 64 KiB, not the value.

use std::borrow::Cow;
use std::sync::Arc;

/// Size of all chunks but the last.
pub const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Clone, Debug, Default)]
pub struct Chunks {
    len: usize,
    chunks: Vec<Arc<Vec<u8>>>,
}

impl Chunks {
    pub fn new(bytes: &[u8]) -> Chunks {
        let mut chunks = Chunks::default();
        chunks.append(bytes);
        chunks
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(|chunk| &chunk[..])
    }

    /// Doubling within the last chunk is `Vec`'s; a new chunk starts small, so that many strings just above a chunk stay small.
    pub fn append(&mut self, mut tail: &[u8]) {
        while !tail.is_empty() {
            let used = self.len % CHUNK_BYTES;
            if used == 0 {
                self.chunks.push(Arc::new(Vec::new()));
            }
            let (now, later) = tail.split_at(tail.len().min(CHUNK_BYTES - used));
            self.last_mut().extend_from_slice(now);
            self.len += now.len();
            tail = later;
        }
    }

    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.grow(end);
        let mut at = offset;
        while at < end {
            let chunk_start = at - at % CHUNK_BYTES;
            let until = end.min(chunk_start + CHUNK_BYTES);
            let chunk = Arc::make_mut(&mut self.chunks[at / CHUNK_BYTES]);
            chunk[at - chunk_start..until - chunk_start].copy_from_slice(&bytes[at - offset..until - offset]);
            at = until;
        }
    }

    /// Zero bytes up to `len`. Whole chunks of zeros are one chunk, shared: SETBIT at bit 2^32 - 1 allocates 64 KiB, not 512 MiB.
    fn grow(&mut self, len: usize) {
        let fill = |from: usize| (len.max(from) - from).min((CHUNK_BYTES - from % CHUNK_BYTES) % CHUNK_BYTES);
        self.append(&[0; CHUNK_BYTES][..fill(self.len)]);
        if len.saturating_sub(self.len) >= CHUNK_BYTES {
            let zeros = Arc::new(vec![0; CHUNK_BYTES]);
            while len - self.len >= CHUNK_BYTES {
                self.chunks.push(zeros.clone());
                self.len += CHUNK_BYTES;
            }
        }
        self.append(&[0; CHUNK_BYTES][..len.saturating_sub(self.len)]);
    }

    pub fn range(&self, start: usize, end: usize) -> Cow<'_, [u8]> {
        let (first, offset) = (start / CHUNK_BYTES, start % CHUNK_BYTES);
        if offset + (end - start) <= CHUNK_BYTES && start < end {
            return Cow::Borrowed(&self.chunks[first][offset..offset + (end - start)]);
        }
        let mut joined = Vec::with_capacity(end - start);
        let mut at = start;
        while at < end {
            let until = end.min(at - at % CHUNK_BYTES + CHUNK_BYTES);
            let chunk = &self.chunks[at / CHUNK_BYTES];
            joined.extend_from_slice(&chunk[at % CHUNK_BYTES..at % CHUNK_BYTES + (until - at)]);
            at = until;
        }
        Cow::Owned(joined)
    }

    pub fn byte_at(&self, index: usize) -> u8 {
        self.chunks.get(index / CHUNK_BYTES).and_then(|chunk| chunk.get(index % CHUNK_BYTES)).copied().unwrap_or(0)
    }

    /// An estimate in O(1): shared chunks count as if they were not.
    pub fn heap_bytes(&self) -> usize {
        let per_chunk = size_of::<Arc<Vec<u8>>>() + size_of::<Vec<u8>>() + 2 * size_of::<usize>();
        self.len + self.chunks.len() * per_chunk + size_of::<Chunks>()
    }

    /// Frees up to `chunks` chunks from the end; true when none is left. The bytes are gone afterwards.
    pub fn free_some(&mut self, chunks: usize) -> bool {
        self.chunks.truncate(self.chunks.len().saturating_sub(chunks));
        self.len = self.len.min(self.chunks.len() * CHUNK_BYTES);
        self.chunks.is_empty()
    }

    fn last_mut(&mut self) -> &mut Vec<u8> {
        Arc::make_mut(self.chunks.last_mut().expect("the caller made sure of a chunk with room"))
    }
}

/// All chunks but the last are full, so equal strings have equal chunks; shared ones are equal without a look.
impl PartialEq for Chunks {
    fn eq(&self, other: &Chunks) -> bool {
        self.len == other.len && self.chunks.iter().zip(&other.chunks).all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
    }
}
