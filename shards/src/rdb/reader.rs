//! Reads an RDB item by item, from any source of bytes, of any version and vendor in `format`.
//!
//! A file is good when: 1. its magic and version are known; 2. every item is whole and of a known kind; 3. it ends with EOF;
//! 4. from version 5 on, the checksum behind EOF is 0 or that of all bytes before it. Bytes behind that are not looked at.

use super::format::{self, CHECKSUM_SINCE, HEADER_BYTES, length, module_opcode, opcode, special};
use super::input::{Input, Source};
use super::lzf;
use super::values;
use crate::error::{Error, Result};
use crate::ids::DbIndex;
use crate::types::{Limits, Str, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    Redis,
    /// The header is `VALKEY080`; type codes from 22 on mean something else than in Redis's files.
    Valkey,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Aux {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    SelectDb(DbIndex),
    ResizeDb {
        keys: u64,
        expires: u64,
    },
    /// Also when the expiry is in the past: what that means is the caller's matter.
    Entry {
        db: DbIndex,
        key: Vec<u8>,
        value: Value,
        expire_at_ms: Option<i64>,
    },
    /// Source text of a library of functions.
    Function(Vec<u8>),
    /// State of a module that is not there; its bytes were skipped.
    ModuleAux {
        module_id: u64,
    },
    /// The stored checksum, compared already; 0 = the writer computed none.
    Eof {
        crc: u64,
    },
}

pub struct Reader<S> {
    input: Input<S>,
    vendor: Vendor,
    version: u32,
    db: DbIndex,
    ended: bool,
    limits: Limits,
}

enum Length {
    Plain(u64),
    Special(u8),
}

impl<S: Source> Reader<S> {
    /// Reads the header.
    pub fn new(source: S, path: impl Into<String>) -> Result<Reader<S>> {
        Reader::from_input(Input::new(source, path))
    }

    /// For an RDB that stands at the beginning of another file.
    pub fn from_input(mut input: Input<S>) -> Result<Reader<S>> {
        let offset = input.offset();
        let header: [u8; HEADER_BYTES] = input.array()?;
        let (vendor, version) = parse_header(&header, input.path(), offset)?;
        Ok(Reader { input, vendor, version, db: 0, ended: false, limits: Limits::default() })
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Of the next item.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Whether an AUX field comes next.
    pub fn at_aux(&mut self) -> Result<bool> {
        Ok(self.input.peek(1)?.first() == Some(&opcode::AUX))
    }

    /// What follows the RDB, after `Eof`.
    pub fn into_input(self) -> Input<S> {
        self.input
    }

    /// `None` after `Eof` only: a file that ends without it is corrupt.
    pub fn next_item(&mut self) -> Result<Option<Item>> {
        if self.ended {
            return Ok(None);
        }
        loop {
            let offset = self.input.offset();
            let code = self.input.u8()?;
            if code != opcode::SLOT_INFO {
                return self.item(code, offset).map(Some);
            }
            for _ in 0..3 {
                self.plain_length()?;
            }
        }
    }

    fn item(&mut self, code: u8, offset: u64) -> Result<Item> {
        match code {
            opcode::AUX => Ok(Item::Aux { name: self.string()?, value: self.string()? }),
            opcode::SELECTDB => self.select_db(offset),
            opcode::RESIZEDB => Ok(Item::ResizeDb { keys: self.plain_length()?, expires: self.plain_length()? }),
            opcode::FUNCTION2 => self.string().map(Item::Function),
            opcode::MODULE_AUX => self.module_aux(),
            opcode::EOF => self.eof(),
            _ => self.entry(code, offset),
        }
    }

    fn select_db(&mut self, offset: u64) -> Result<Item> {
        let db = self.plain_length()?;
        self.db = DbIndex::try_from(db).map_err(|_| self.input.corrupt(offset, format!("database number {db}")))?;
        Ok(Item::SelectDb(self.db))
    }

    fn eof(&mut self) -> Result<Item> {
        self.ended = true;
        if self.version < CHECKSUM_SINCE {
            return Ok(Item::Eof { crc: 0 });
        }
        let computed = self.input.crc();
        let offset = self.input.offset();
        let stored = u64::from_le_bytes(self.input.array()?);
        if stored != 0 && stored != computed {
            return Err(self.input.corrupt(offset, format!("checksum {stored:016x}, expected {computed:016x}")));
        }
        Ok(Item::Eof { crc: stored })
    }

    /// `code` is the first byte of the entry: its type, or what stands before that.
    fn entry(&mut self, mut code: u8, offset: u64) -> Result<Item> {
        let mut expire_at_ms = None;
        loop {
            match code {
                opcode::EXPIRETIME_MS => expire_at_ms = Some(i64::from_le_bytes(self.input.array()?)),
                opcode::EXPIRETIME => expire_at_ms = Some(i32::from_le_bytes(self.input.array()?) as i64 * 1000),
                opcode::IDLE => _ = self.plain_length()?,
                opcode::FREQ => _ = self.input.u8()?,
                opcode::FIRST.. => return Err(self.unknown_opcode(code, offset)),
                _ => break,
            }
            code = self.input.u8()?;
        }
        let key = self.string()?;
        let value = values::read_value(self, code).map_err(|error| error.of_key(&key))?;
        Ok(Item::Entry { db: self.db, key, value, expire_at_ms })
    }

    fn unknown_opcode(&self, code: u8, offset: u64) -> Error {
        Error::unsupported(self.input.path(), offset, format!("opcode {code} in an RDB of version {}", self.version))
    }

    /// The error for a type code that is unknown, or that belongs to a module.
    pub(super) fn unsupported_type(&self, code: u8) -> Error {
        Error::unsupported(self.input.path(), self.input.offset(), format!("value type {code} is not supported"))
    }

    /// Damage at `offset`.
    pub(super) fn corrupt(&self, offset: u64, cause: impl Into<String>) -> Error {
        self.input.corrupt(offset, cause)
    }

    /// The thresholds by which collections choose their encoding.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.input.array()
    }

    fn module_aux(&mut self) -> Result<Item> {
        let module_id = self.plain_length()?;
        loop {
            let offset = self.input.offset();
            match self.plain_length()? {
                module_opcode::EOF => return Ok(Item::ModuleAux { module_id }),
                module_opcode::SINT | module_opcode::UINT => _ = self.plain_length()?,
                module_opcode::FLOAT => self.input.skip(4)?,
                module_opcode::DOUBLE => self.input.skip(8)?,
                module_opcode::STRING => _ = self.string()?,
                other => return Err(self.input.corrupt(offset, format!("module data of kind {other}"))),
            }
        }
    }

    fn length(&mut self) -> Result<Length> {
        let offset = self.input.offset();
        let first = self.input.u8()?;
        match first {
            0..=0x3f => Ok(Length::Plain(first as u64)),
            0x40..=0x7f => Ok(Length::Plain(u16::from_be_bytes([first & 0x3f, self.input.u8()?]) as u64)),
            length::BITS_32 => Ok(Length::Plain(u32::from_be_bytes(self.input.array()?) as u64)),
            length::BITS_64 => Ok(Length::Plain(u64::from_be_bytes(self.input.array()?))),
            length::SPECIAL.. => Ok(Length::Special(first & 0x3f)),
            _ => Err(self.input.corrupt(offset, format!("byte {first:#04x} begins no length"))),
        }
    }

    pub(super) fn plain_length(&mut self) -> Result<u64> {
        let offset = self.input.offset();
        match self.length()? {
            Length::Plain(len) => Ok(len),
            Length::Special(form) => Err(self.input.corrupt(offset, format!("string form {form} where a length is expected"))),
        }
    }

    /// A string in any of its forms.
    pub(super) fn string(&mut self) -> Result<Vec<u8>> {
        let offset = self.input.offset();
        match self.length()? {
            Length::Plain(len) => self.input.bytes(len),
            Length::Special(form) => self.special_string(form, offset),
        }
    }

    fn special_string(&mut self, form: u8, offset: u64) -> Result<Vec<u8>> {
        match form {
            special::INT8 => Ok(decimal(i8::from_le_bytes(self.input.array()?))),
            special::INT16 => Ok(decimal(i16::from_le_bytes(self.input.array()?))),
            special::INT32 => Ok(decimal(i32::from_le_bytes(self.input.array()?))),
            special::LZF => self.lzf_string(offset),
            form => Err(self.input.corrupt(offset, format!("unknown string form {form}"))),
        }
    }

    /// A string's value is made from the buffer: most need no memory between.
    pub(super) fn str_value(&mut self) -> Result<Value> {
        let offset = self.input.offset();
        match self.length()? {
            Length::Plain(len) => {
                if let Some(bytes) = self.input.borrow(len) {
                    return Ok(Value::Str(Str::new(bytes)));
                }
                Ok(Value::Str(Str::new(&self.input.bytes(len)?)))
            }
            Length::Special(form) => Ok(Value::Str(Str::new(&self.special_string(form, offset)?))),
        }
    }

    fn lzf_string(&mut self, offset: u64) -> Result<Vec<u8>> {
        let stream_len = self.plain_length()?;
        let original_len = self.plain_length()?;
        let stream = self.input.bytes(stream_len)?;
        lzf::decompress(&stream, original_len as usize)
            .ok_or_else(|| self.input.corrupt(offset, format!("LZF string of {stream_len} bytes does not give {original_len}")))
    }
}

/// The value of a DUMP payload: a type code and the value. Bytes behind it are an error.
pub(super) fn read_single_value(payload: &[u8], vendor: Vendor, limits: &Limits) -> Result<Value> {
    let (&type_code, value) = payload.split_first().ok_or_else(|| Error::corrupt("payload", 0, "empty"))?;
    let version = format::REDIS_VERSION_MAX;
    let input = Input::with_buffer(value, "payload", value.len().clamp(16, 16 * 1024));
    let mut reader = Reader { input, vendor, version, db: 0, ended: false, limits: *limits };
    let value = values::read_value(&mut reader, type_code)?;
    match reader.input.peek(1)?.len() {
        0 => Ok(value),
        _ => Err(reader.input.corrupt(reader.input.offset(), "bytes behind the value")),
    }
}

fn parse_header(header: &[u8; HEADER_BYTES], path: &str, offset: u64) -> Result<(Vendor, u32)> {
    let vendor_and_digits = match header {
        [b'R', b'E', b'D', b'I', b'S', digits @ ..] => Some((Vendor::Redis, &digits[..])),
        [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => Some((Vendor::Valkey, &digits[..])),
        _ => None,
    };
    let parsed = vendor_and_digits.and_then(|(vendor, digits)| Some((vendor, parse_digits(digits)?)));
    let Some((vendor, version)) = parsed else {
        return Err(Error::corrupt(path, offset, format!("'{}' is no header of an RDB", header.escape_ascii())));
    };
    let known = match vendor {
        Vendor::Redis => (1..=format::REDIS_VERSION_MAX).contains(&version),
        Vendor::Valkey => version == format::VALKEY_VERSION,
    };
    if !known {
        return Err(Error::unsupported(path, offset, format!("{vendor:?} RDB version {version}")));
    }
    Ok((vendor, version))
}

fn parse_digits(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + (digit - b'0') as u32))
}

fn decimal(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}
