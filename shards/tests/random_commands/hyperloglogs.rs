//! Random commands on HyperLogLogs.

use super::{Family, Mirror};

pub static HYPERLOGLOGS: Family = Family {
    templates: &[
        "PFADD :hll [:hx] [:hx :hx] [:hx :hx :hx :hx :hx :hx :hx :hx :hx :hx]",
        "PFADD :hll :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx :hx",
        "PFADD :hll",
        "PFCOUNT :hll",
        "PFCOUNT :hll :hll [:hll]",
        "PFMERGE :hll :hll [:hll :hll]",
        "PFMERGE :hll",
        "PFDEBUG (ENCODING|DECODE|FOO) :hll",
        "PFDEBUG TODENSE hll3",
        "GET :hll",
        "STRLEN :hll",
        "OBJECT ENCODING :hll",
        "SETRANGE :hll 0 HYLX",
        "COPY :hll :hll REPLACE",
        "DEL :hll",
    ],
    newer: &[],
    fill,
    same: |_, _, _, _| None,
    mirror,
    state: &[],
    keys: &["hll0", "hll1", "hll2", "hll3"],
};

/// Redis keeps the elements that it added before it met the corrupt part, without telling its log; here a PFADD that fails changes nothing.
fn mirror(args: &[Vec<u8>], ours: &[u8]) -> Option<Mirror> {
    let failed = args[0].eq_ignore_ascii_case(b"PFADD") && ours.starts_with(b"-INVALIDOBJ");
    failed.then(|| Mirror { commands: Vec::new() })
}

fn fill(word: &str, random: &mut fastrand::Rng) -> Option<Vec<u8>> {
    Some(match word {
        ":hll" if random.u8(..25) == 0 => format!("k{}", random.u8(..6)).into_bytes(),
        ":hll" => HYPERLOGLOGS.keys[random.usize(..4)].as_bytes().to_vec(),
        ":hx" if random.u8(..3) == 0 => vec![random.u8(..8); random.usize(..20)],
        ":hx" => random.u32(..5000).to_string().into_bytes(),
        _ => return None,
    })
}
