//! The RDB format.
//!
//! ```text
//! header    "REDIS" or "VALKEY", then the version in decimal: 9 bytes together (REDIS0011, VALKEY080)
//! items     any number of:
//!             AUX        250  name:string  value:string
//!             SELECTDB   254  db:length                      entries from here on belong to this database
//!             RESIZEDB   251  keys:length  expires:length    a hint for the size of the tables
//!             FUNCTION2  245  library:string
//!             MODULE_AUX 247  see `reader`
//!             SLOT_INFO  244  slot:length  keys:length  expires:length    a hint, like RESIZEDB
//!             entry      [expiry] [IDLE 248 seconds:length | FREQ 249 counter:u8]  type:u8  key:string  value
//! expiry    EXPIRETIME_MS 252  i64 little-endian, or EXPIRETIME 253  i32 little-endian seconds (old files)
//! end       EOF 255, then from version 5 on: CRC-64/REDIS of all bytes before it, EOF included, little-endian; 0 = not computed
//!
//! length    00xxxxxx                  6 bits
//!           01xxxxxx xxxxxxxx         14 bits, big-endian
//!           10000000 + 4 bytes        32 bits, big-endian
//!           10000001 + 8 bytes        64 bits, big-endian
//!           11xxxxxx                  no length: a string in the special form x
//! string    length, then so many bytes; or special form
//!           0: i8   1: i16 little-endian   2: i32 little-endian     its decimal form is the string
//!           3: LZF: compressed:length  original:length  compressed bytes
//! ```

/// Versions read: 1 to 12, whoever wrote them with the magic `REDIS`.
pub const REDIS_VERSION_MAX: u32 = 12;
/// The version that Valkey 9 writes after its own magic.
pub const VALKEY_VERSION: u32 = 80;
/// Every supported peer (Redis 6 and later) reads 9; lower ones are not worth writing.
pub const WRITE_VERSION_MIN: u32 = 9;
/// Before this version a file ends without a checksum.
pub const CHECKSUM_SINCE: u32 = 5;

pub const HEADER_BYTES: usize = 9;
pub const CRC_BYTES: usize = 8;

/// One byte before each item.
pub mod opcode {
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION2: u8 = 245;
    pub const FUNCTION_PRE_GA: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZEDB: u8 = 251;
    pub const EXPIRETIME_MS: u8 = 252;
    pub const EXPIRETIME: u8 = 253;
    pub const SELECTDB: u8 = 254;
    pub const EOF: u8 = 255;
    /// Codes from here on are opcodes; below are types. 242 and 243 mean different things to Redis and Valkey.
    pub const FIRST: u8 = 242;
}

/// How a value is encoded. The number of the RDB version that brought it stands behind.
pub mod type_code {
    pub const STRING: u8 = 0; // 1
    pub const LIST: u8 = 1; // 1
    pub const SET: u8 = 2; // 1
    pub const ZSET: u8 = 3; // 1
    pub const HASH: u8 = 4; // 1
    pub const ZSET_2: u8 = 5; // 8
    pub const MODULE: u8 = 6; // 8
    pub const MODULE_2: u8 = 7; // 8
    pub const HASH_ZIPMAP: u8 = 9; // 2
    pub const LIST_ZIPLIST: u8 = 10; // 2
    pub const SET_INTSET: u8 = 11; // 2
    pub const ZSET_ZIPLIST: u8 = 12; // 2
    pub const HASH_ZIPLIST: u8 = 13; // 4
    pub const LIST_QUICKLIST: u8 = 14; // 7
    pub const STREAM: u8 = 15; // 9
    pub const HASH_LISTPACK: u8 = 16; // 10
    pub const ZSET_LISTPACK: u8 = 17; // 10
    pub const LIST_QUICKLIST_2: u8 = 18; // 10
    pub const STREAM_2: u8 = 19; // 10
    pub const SET_LISTPACK: u8 = 20; // 11
    pub const STREAM_3: u8 = 21; // 11
    /// Redis: a hash with field expiries before 7.4 was finished. Valkey 9: its hash with field expiries.
    pub const HASH_22: u8 = 22;
    pub const HASH_LISTPACK_PRE_GA: u8 = 23; // Redis before 7.4 was finished
    pub const HASH_TTL: u8 = 24; // 12, Redis only
    pub const HASH_LISTPACK_TTL: u8 = 25; // 12, Redis only
}

/// First bytes of a length.
pub mod length {
    pub const BITS_14: u8 = 0b0100_0000;
    pub const BITS_32: u8 = 0b1000_0000;
    pub const BITS_64: u8 = 0b1000_0001;
    pub const SPECIAL: u8 = 0b1100_0000;
}

/// Special forms of a string, in the low six bits of `length::SPECIAL`.
pub mod special {
    pub const INT8: u8 = 0;
    pub const INT16: u8 = 1;
    pub const INT32: u8 = 2;
    pub const LZF: u8 = 3;
}

/// Value opcodes inside MODULE_AUX (and module values).
pub mod module_opcode {
    pub const EOF: u64 = 0;
    pub const SINT: u64 = 1;
    pub const UINT: u64 = 2;
    pub const FLOAT: u64 = 3;
    pub const DOUBLE: u64 = 4;
    pub const STRING: u64 = 5;
}
