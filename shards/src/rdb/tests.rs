use super::format::type_code;
use super::writer::*;
use super::*;
use crate::error::{ErrorKind, Result};
use crate::types::{Limits, Str, Value};

fn string(bytes: &[u8]) -> Value {
    Value::Str(Str::new(bytes))
}

fn strings() -> Vec<Vec<u8>> {
    let numbers = ["0", "-1", "127", "128", "-128", "-129", "32767", "32768", "2147483647", "-2147483648", "9223372036854775807"];
    let mut all: Vec<Vec<u8>> = numbers.iter().map(|n| n.as_bytes().to_vec()).collect();
    all.extend([b"".to_vec(), b"a".repeat(20), b"a".repeat(21), b"ab".repeat(5000), vec![0, 255, 13, 10], vec![b'x'; 3 << 20]]);
    let mut random = fastrand::Rng::with_seed(5);
    for len in [63, 64, 16383, 16384, 300_000] {
        all.push((0..len).map(|_| random.u8(..)).collect());
    }
    all
}

type Entry = (u16, Vec<u8>, Vec<u8>, Option<i64>);

fn file(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_header(&mut out, 9, &[("redis-ver", "7.2.0"), ("ctime", "1")]);
    for (db, key, value, expire) in entries {
        encode_select_db(&mut out, *db);
        encode_entry(&mut out, key, &string(value), *expire);
    }
    let crc = Crc64::of(&out);
    encode_eof(&mut out, crc);
    out
}

fn items(bytes: &[u8]) -> Result<Vec<Item>> {
    let mut reader = Reader::new(bytes, "test.rdb")?;
    let mut items = Vec::new();
    while let Some(item) = reader.next_item()? {
        items.push(item);
    }
    Ok(items)
}

fn kind(bytes: &[u8]) -> Option<ErrorKind> {
    items(bytes).err().map(|error| error.kind)
}

#[test]
fn strings_come_back_as_they_were_written() {
    let entries: Vec<_> = strings()
        .into_iter()
        .enumerate()
        .map(|(i, value)| {
            ((i % 3) as u16, format!("key{i}").into_bytes(), value, (i % 2 == 0).then_some(1_900_000_000_000 + i as i64))
        })
        .collect();
    let read: Vec<_> = items(&file(&entries))
        .expect("reads")
        .into_iter()
        .filter_map(|item| match item {
            Item::Entry { db, key, value, expire_at_ms } => Some((db, key, value.as_str()?.bytes().to_vec(), expire_at_ms)),
            _ => None,
        })
        .collect();
    assert!(read == entries);
}

#[test]
fn every_truncation_is_corrupt() {
    let bytes = file(&[(0, b"key".to_vec(), b"value".repeat(10), Some(5)), (3, b"1".to_vec(), b"2".to_vec(), None)]);
    for len in 0..bytes.len() {
        assert_eq!(kind(&bytes[..len]), Some(ErrorKind::Corrupt), "{len} bytes");
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let bytes = file(&[(0, b"key".to_vec(), b"value".repeat(10), Some(5)), (3, b"1".to_vec(), b"2".to_vec(), None)]);
    // Not in the version: one below 5 has no checksum.
    for bit in format::HEADER_BYTES * 8..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(kind(&damaged).is_some(), "bit {bit}");
    }
}

#[test]
fn a_checksum_of_zero_is_not_checked() {
    let mut bytes = file(&[(0, b"key".to_vec(), b"value".to_vec(), None)]);
    let footer = bytes.len() - 8;
    bytes[footer..].fill(0);
    assert_eq!(kind(&bytes), None);
}

#[test]
fn a_huge_claimed_length_takes_no_memory() {
    for claim in
        [&[0x81, 0x7f, 255, 255, 255, 255, 255, 255, 255][..], &[0xc3, 0x80, 255, 255, 255, 255, 0x81, 1, 0, 0, 0, 0, 0, 0, 0]]
    {
        let bytes = [b"REDIS0009", &[type_code::STRING][..], claim, b"short"].concat();
        assert_eq!(kind(&bytes), Some(ErrorKind::Corrupt));
    }
}

#[test]
fn an_unknown_type_names_code_key_and_offset() {
    let bytes = [&b"REDIS0011"[..], &[26, 3], b"abc", &[0]].concat();
    let error = items(&bytes).expect_err("type 26");
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(error.to_string(), "reading test.rdb @ 14: key 'abc': value type 26 is not supported");
}

#[test]
fn versions_are_told_by_magic_and_number() {
    for (header, expected) in [
        ("REDIS0001", None),
        ("REDIS0012", None),
        ("VALKEY080", None),
        ("REDIS0000", Some(ErrorKind::Unsupported)),
        ("REDIS0013", Some(ErrorKind::Unsupported)),
        ("VALKEY081", Some(ErrorKind::Unsupported)),
        ("REDIS00x1", Some(ErrorKind::Corrupt)),
        ("PREDIS001", Some(ErrorKind::Corrupt)),
    ] {
        let bytes = [header.as_bytes(), &[255, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(kind(&bytes), expected, "{header}");
    }
    assert_eq!(kind(b"REDIS0004\xff"), None, "no checksum before version 5");
}

#[test]
fn what_old_and_clustered_servers_write_besides_entries_is_understood() {
    let module_aux = [247, 0x81, 0, 1, 2, 3, 4, 5, 6, 7, 2, 1, 5, 1, b'x', 3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0];
    let bytes = [
        &b"REDIS0012"[..],
        &module_aux,
        &[245, 2, b'f', b'n', 244, 1, 2, 3, 251, 1, 1],
        &[253, 100, 0, 0, 0, 248, 5, 249, 7, 0, 1, b'k', 1, b'v'],
        &[255, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let expected = vec![
        Item::ModuleAux { module_id: 0x0001_0203_0405_0607 },
        Item::Function(b"fn".to_vec()),
        Item::ResizeDb { keys: 1, expires: 1 },
        Item::Entry { db: 0, key: b"k".to_vec(), value: string(b"v"), expire_at_ms: Some(100_000) },
        Item::Eof { crc: 0 },
    ];
    assert_eq!(items(&bytes).expect("reads"), expected);
}

#[test]
fn dumped_values_are_restored_and_damaged_ones_refused() {
    for bytes in strings() {
        let payload = dump_value(&string(&bytes));
        assert!(restore_value(&payload, &Limits::default()) == Ok(string(&bytes)));
        for at in 0..payload.len().min(100) {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            assert_eq!(restore_value(&damaged, &Limits::default()), Err(dump::RestoreError::VersionOrChecksum));
        }
    }
    assert_eq!(restore_value(b"", &Limits::default()), Err(dump::RestoreError::VersionOrChecksum));
}

#[test]
fn payloads_of_redis_7_0_are_restored() {
    let number = b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb";
    assert_eq!(restore_value(number, &Limits::default()), Ok(string(b"10")));
    let compressed = b"\x00\xc3\t@d\x01aa\xe0W\x00\x01aa\n\x00\xe8\xa3\xb5\x07\xb0m\xf2q";
    assert_eq!(restore_value(compressed, &Limits::default()), Ok(string(&[b'a'; 100])));
}

#[test]
fn damaged_files_without_a_checksum_never_panic() {
    let mut random = fastrand::Rng::with_seed(9);
    let mut good = file(&[(0, b"key".to_vec(), b"value".repeat(10), Some(5)), (3, b"1".to_vec(), b"2".to_vec(), None)]);
    let footer = good.len() - 8;
    good[footer..].fill(0);
    for _ in 0..50_000 {
        let mut damaged = good.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(format::HEADER_BYTES..damaged.len());
            damaged[at] = random.u8(..);
        }
        _ = items(&damaged);
    }
    let endless_hints = [&b"REDIS0012"[..], &[244, 0, 0, 0].repeat(1_000_000)].concat();
    assert_eq!(kind(&endless_hints), Some(ErrorKind::Corrupt));
}
