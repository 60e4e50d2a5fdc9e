//! What a file for readers of an older version will hold, and what it can't say: found before it is written, because its header says
//! how many keys there are.

use super::bodies::{DbMeta, add};
use super::format::WRITE_VERSION_MIN;
use super::values::{Loss, loss, value_version};
use crate::ids::DbIndex;
use crate::types::Value;
use std::fmt;

/// Counts of all entries for readers of versions up to one.
pub struct Survey {
    version_max: u32,
    pub dbs: Vec<DbMeta>,
    /// The lowest version that holds what is written.
    pub version: u32,
    pub losses: Losses,
}

/// What readers of an older version don't get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub keys_left_out: u64,
    /// Of keys that are written.
    pub fields_left_out: u64,
    /// Keys of which a part is left out.
    pub keys_with_less: u64,
    /// The first of them.
    pub named: Vec<NamedLoss>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedLoss {
    pub db: DbIndex,
    pub key: Vec<u8>,
    pub type_name: &'static str,
    pub loss: Loss,
}

/// So many keys are named; the others are only counted.
const NAMED_MAX: usize = 20;

impl Survey {
    pub fn new(version_max: u32) -> Survey {
        Survey { version_max, dbs: Vec::new(), version: WRITE_VERSION_MIN, losses: Losses::default() }
    }

    /// Whether the entry is to be written at all.
    pub fn keeps(&self, value: &Value) -> bool {
        loss(value, self.version_max) != Some(Loss::Key)
    }

    pub fn count(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
        let loss = loss(value, self.version_max);
        if let Some(loss) = loss {
            self.losses.add(NamedLoss { db, key: key.to_vec(), type_name: value.type_name(), loss });
        }
        if loss != Some(Loss::Key) {
            self.version = self.version.max(value_version(value).min(self.version_max));
            add(&mut self.dbs, DbMeta { db, keys: 1, expires: expire_at_ms.is_some() as u64 });
        }
    }
}

impl Losses {
    fn add(&mut self, named: NamedLoss) {
        match named.loss {
            Loss::Key => self.keys_left_out += 1,
            Loss::ExpiringFields(fields) => self.fields_left_out += fields as u64,
            Loss::ActiveTimes | Loss::History | Loss::HistoryAndActiveTimes => {}
        }
        self.keys_with_less += (named.loss != Loss::Key) as u64;
        if self.named.len() < NAMED_MAX {
            self.named.push(named);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.keys_left_out + self.keys_with_less == 0
    }

    /// Whether more is lost than what streams remember of their past.
    pub fn have_data(&self) -> bool {
        self.keys_left_out + self.fields_left_out > 0
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys left out, {} written with less", self.keys_left_out, self.keys_with_less)
    }
}

impl fmt::Display for NamedLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "db{} {} ({}): {}", self.db, self.key.escape_ascii(), self.type_name, self.loss)
    }
}
