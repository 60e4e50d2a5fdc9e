//! The manifest: what is read, is written and read the same.
//!
//! ```text
//! input   its lines; the last one, with the checksum, is added
//! ```

use shards::log::format::crc64;
use shards::manifest::Manifest;

pub fn check(data: &[u8]) {
    _ = Manifest::decode(data);
    let mut sealed = data.to_vec();
    sealed.extend_from_slice(format!("crc {:016x}\n", crc64(&[data])).as_bytes());
    let Ok(manifest) = Manifest::decode(&sealed) else { return };
    let encoded = manifest.encode();
    assert_eq!(Manifest::decode(&encoded).as_ref(), Ok(&manifest), "it reads back");
    _ = manifest.files();
}
